"""``python -m nmt_moe.plan``: the same as ``nmt-moe plan``."""

from nmt_moe.common.door import door

main = door(__name__, "plan")
