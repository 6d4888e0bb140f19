"""``python -m nmt_moe.claims``: the same as ``nmt-moe claims``."""

from nmt_moe.common.door import door

main = door(__name__, "claims")
