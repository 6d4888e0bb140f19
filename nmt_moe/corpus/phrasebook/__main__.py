"""``python -m nmt_moe.corpus.phrasebook``: the same as ``nmt-moe corpus phrasebook``."""

from nmt_moe.common.door import door

main = door(__name__, "corpus", "phrasebook")
