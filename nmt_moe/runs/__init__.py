"""A run's folder: what its log says, its tables, and how its processes are started."""
