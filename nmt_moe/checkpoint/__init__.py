"""Checkpoints that run no code, are never half-written, and say what is wrong with them.

A training whose experts are spread over processes writes one complete checkpoint, or, with
``--moe-sharded-checkpoint``, each process its own part. ``python -m nmt_moe.checkpoint`` merges
parts, splits complete ones, and shows what is in a file.
"""
