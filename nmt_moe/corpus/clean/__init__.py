"""Cleaning parallel text: ``python -m nmt_moe.corpus.clean``."""
