"""The tiles of a product on a GPU: blocks of one expert's rows.

Which expert a tile belongs to is computed on the GPU: the host never waits for the sizes of the
groups.
"""

import triton
import triton.language as tl
from torch import Tensor

from nmt_moe.kernels.gpu.choices import ROWS


# Of numbers that differ with each batch no variants are compiled.
@triton.jit(do_not_specialize=["most"], do_not_specialize_on_alignment=["first", "end", "expert"])
def _find_tiles(
    ends, first, end, expert, most, experts, ROWS: tl.constexpr, E: tl.constexpr, M: tl.constexpr
):
    """Each expert writes those of its tiles, and one more how many there are."""
    e = tl.program_id(0)
    other = tl.arange(0, E)
    inside = other < experts
    stop = tl.load(ends + other, inside, 0)
    start = tl.load(ends + other - 1, inside & (other > 0), 0)
    tiles = tl.where(inside, (stop - start + ROWS - 1) // ROWS, 0)
    before = tl.sum(tl.where(other < e, tiles, 0))
    here = tl.sum(tl.where(other == e, tiles, 0))
    row = tl.sum(tl.where(other == e, start, 0))
    last = tl.sum(tl.where(other == e, stop, 0))
    if e == experts:
        tl.store(first + most, before)
        here = 0
    for i in range(0, here, M):
        tile = i + tl.arange(0, M)
        valid = tile < here
        tl.store(expert + before + tile, tl.zeros([M], tl.int32) + e, valid)
        tl.store(first + before + tile, row + tile * ROWS, valid)
        tl.store(end + before + tile, tl.zeros([M], tl.int32) + last, valid)


class Tiles:
    """The tiles of groups of rows.

    Args:
        ends_E: int32: where the rows of each expert end.
        rows: ``A``, how many there are.
        found_3M: ``found_3M`` of the same tiles, where they are known. Last in its first row is
            how many there are.
    """

    def __init__(self, ends_E: Tensor, rows: int, found_3M: Tensor | None = None) -> None:
        self.experts = len(ends_E)
        self.most = rows // ROWS + min(self.experts, rows)
        self.found_3M = ends_E.new_empty(3, self.most + 1) if found_3M is None else found_3M
        self.first_M, self.end_M, self.expert_M = self.found_3M
        if found_3M is not None or not rows:
            return
        size = triton.next_power_of_2(self.experts)
        _find_tiles[(self.experts + 1,)](
            ends_E, self.first_M, self.end_M, self.expert_M, self.most, self.experts, ROWS, size, 64
        )
