"""``python -m nmt_moe.score``: the same as ``nmt-moe score``."""

from nmt_moe.common.door import door

main = door(__name__, "score")
