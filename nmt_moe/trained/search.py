"""The numbers of a search, on the command line and in Python."""

from nmt_moe.common.ranges import Range, integers, numbers

RANGES: dict[str, Range] = {
    "beam": integers(1),
    "batch_size": integers(1),
    "max_pieces": integers(1),
    "gnmt_alpha": numbers(0),
    "gnmt_beta": numbers(0),
}
