"""Any usual file of parallel text as aligned pairs: two files, tables, TMX, JSON lines, folders."""

from nmt_moe.corpus.sources.finding import check_columns, find
from nmt_moe.corpus.sources.pair import Pair
from nmt_moe.corpus.sources.source import SPLITS, Source

__all__ = ["SPLITS", "Pair", "Source", "check_columns", "find"]
