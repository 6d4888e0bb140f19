"""Makers of parallel text; each one is a subpackage with its own command line."""
