"""The numbers of a search, on the command line and in Python."""

from nmt_moe.common.ranges import Range, integers, numbers

BEAM, BATCH_SIZE, MAX_PIECES = 4, 64, 150
"""The defaults of commands and of Python; sentences and wordpieces."""
BUFFER_LINES = 1000
"""Lines that are read before their sentences are translated together."""
RANGES: dict[str, Range] = {
    "beam": integers(1),
    "batch_size": integers(1),
    "max_pieces": integers(1),
    "workers": integers(1),
    "gnmt_alpha": numbers(0),
    "gnmt_beta": numbers(0),
}

_MAX_TRANSLATION = 250  # pieces, as in the recipes; more where the parts may be long


def longest_translation(max_pieces: int) -> int:
    """The most pieces of a translation, where a source has at most ``max_pieces``."""
    return max(_MAX_TRANSLATION, 2 * max_pieces)
