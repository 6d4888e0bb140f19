"""``python -m nmt_moe.corpus.wordpieces``: the same as ``nmt-moe corpus wordpieces``."""

from nmt_moe.common.door import door

main = door(__name__, "corpus", "wordpieces")
