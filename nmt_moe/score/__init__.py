"""Scores of a translation: BLEU of detokenised and of tokenised text, significance, perplexity.

``python -m nmt_moe.score`` prints them, each with what it is. ``testset`` finds the test set that
belongs to a checkpoint.
"""
