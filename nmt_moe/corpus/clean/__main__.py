"""``python -m nmt_moe.corpus.clean``: the same as ``nmt-moe corpus clean``."""

from nmt_moe.common.door import door

main = door(__name__, "corpus", "clean")
