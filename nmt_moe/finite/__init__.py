"""NaN and Inf in a training: stopped before the update, named, and kept out of checkpoints."""
