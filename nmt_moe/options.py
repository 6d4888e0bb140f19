"""``python -m nmt_moe.options``: the same as ``nmt-moe options``."""

from nmt_moe.common.door import door

main = door(__name__, "options")
