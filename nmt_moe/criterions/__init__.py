"""Losses: the translation loss, and the importance and load losses of the paper."""
