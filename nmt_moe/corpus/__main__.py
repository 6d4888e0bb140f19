"""``python -m nmt_moe.corpus``: the same as ``nmt-moe corpus``."""

from nmt_moe.common.door import door

main = door(__name__, "corpus")
