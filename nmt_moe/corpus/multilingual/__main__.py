"""``python -m nmt_moe.corpus.multilingual``: the same as ``nmt-moe corpus multilingual``."""

from nmt_moe.common.door import door

main = door(__name__, "corpus", "multilingual")
