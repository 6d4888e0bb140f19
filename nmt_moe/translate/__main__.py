"""``python -m nmt_moe.translate``: the same as ``nmt-moe translate``."""

from nmt_moe.common.door import door

main = door(__name__, "translate")
