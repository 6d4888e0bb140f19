"""``python -m nmt_moe.report``: the same as ``nmt-moe report``."""

from nmt_moe.common.door import door

main = door(__name__, "report")
