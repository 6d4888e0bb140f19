"""Preparing training text: downloading, generating, cleaning, and cutting into wordpieces.

Belongs here: everything from raw text to the files that ``fairseq-preprocess`` reads. Nothing here
needs torch.
"""
