"""``python -m nmt_moe.checkpoint``: the same as ``nmt-moe checkpoint``."""

from nmt_moe.common.door import door

main = door(__name__, "checkpoint")
