"""Checkpoints: read without running code, written atomically, with one-line errors.

A training whose experts are spread over processes writes one complete checkpoint, or, with
``--moe-sharded-checkpoint``, each process its own part. ``nmt-moe checkpoint`` merges parts, splits
and averages complete ones, and shows what is in a file. Commands read files into the record
:class:`nmt_moe.checkpoint.record.Checkpoint`; building the model is the matter of
:mod:`nmt_moe.trained`.
"""
