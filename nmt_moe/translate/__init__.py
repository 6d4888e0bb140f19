"""Translating text with a trained model: ``python -m nmt_moe.translate CHECKPOINT``."""
