"""``python -m nmt_moe.runs``: the same as ``nmt-moe runs``; the recipes call it."""

from nmt_moe.common.door import door

main = door(__name__, "runs")
