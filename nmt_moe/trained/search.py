"""The numbers of a search, on the command line and in Python."""

from nmt_moe.common.ranges import Range, integers, numbers

BEAM, BATCH_SIZE, MAX_PIECES = 4, 64, 150
"""The defaults of commands and of Python; sentences and wordpieces."""
RANGES: dict[str, Range] = {
    "beam": integers(1),
    "batch_size": integers(1),
    "max_pieces": integers(1),
    "gnmt_alpha": numbers(0),
    "gnmt_beta": numbers(0),
}
