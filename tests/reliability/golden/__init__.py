"""Losses and translations of tiny models, kept as text: ``python -m tests.reliability.golden``."""
