"""Losses and what a training logs: cross entropy, the balance losses of the experts, and warnings
when experts collapse or attention dies."""
