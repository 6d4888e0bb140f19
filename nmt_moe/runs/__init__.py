"""A run's folder: settings, stages, lock, logs and tables, and how its processes are started."""
