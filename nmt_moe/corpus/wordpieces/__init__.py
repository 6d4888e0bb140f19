"""Wordpieces: learned by sentencepiece, cut so that the text can be given back."""
