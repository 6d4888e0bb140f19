"""Translating raw text: reading lines, finding their sentences, and writing translations in order.

The model and its search are in :mod:`nmt_moe.trained`, the command is ``nmt-moe translate``.
"""
