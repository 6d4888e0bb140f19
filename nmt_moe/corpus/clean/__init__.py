"""Cleaning parallel text: ``nmt-moe corpus clean``."""
