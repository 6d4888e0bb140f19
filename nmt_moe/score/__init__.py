"""Scores of a translation: BLEU of detokenised and of tokenised text, significance, perplexity.

The command is ``nmt-moe score``; the test set that belongs to a checkpoint is found by
:mod:`nmt_moe.runs.testset`.
"""
