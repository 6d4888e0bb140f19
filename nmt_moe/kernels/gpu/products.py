"""The experts' products on a GPU, in Triton, with what follows a product done where it is made.

A tile is a block of one expert's rows times a block of its matrix's columns. Which expert a tile
belongs to is computed on the GPU: the host never waits for the sizes of the groups.
"""

import triton
import triton.language as tl
from torch import Tensor
from triton.tools.tensor_descriptor import TensorDescriptor

ROWS = 128  # of a tile
_CONFIG = dict(COLUMNS=128, DEPTH=64, num_warps=4, num_stages=3)


@triton.jit
def _product(
    x,
    w,
    out,
    positive,
    first,
    end,
    expert,
    experts,
    N,
    K: tl.constexpr,
    BACKWARD: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    DEPTH: tl.constexpr,
):
    blocks = tl.cdiv(N, COLUMNS)
    tile = tl.program_id(0) // blocks
    column = tl.program_id(0) % blocks * COLUMNS
    e = tl.load(expert + tile)
    if e == experts:
        return
    row = tl.load(first + tile)
    total = tl.zeros([ROWS, COLUMNS], tl.float32)
    for k in range(0, K, DEPTH):
        x_part = x.load([row, k])
        w_part = w.load([e * N + column, k]).T if BACKWARD else w.load([e * K + k, column])
        total = tl.dot(x_part, w_part, total)
    rows = row + tl.arange(0, ROWS)
    columns = column + tl.arange(0, COLUMNS)
    inside = (rows < tl.load(end + tile))[:, None] & (columns < N)[None, :]
    at = rows.to(tl.int64)[:, None] * N + columns[None, :]
    if BACKWARD:
        total = tl.where(tl.load(positive + at, inside, 0) > 0, total, 0)
    else:
        total = tl.maximum(total, 0)
    tl.store(out + at, total.to(out.dtype.element_ty), inside)


@triton.jit
def _find_tiles(
    ends, first, end, expert, most, experts, ROWS: tl.constexpr, E: tl.constexpr, M: tl.constexpr
):
    """Each expert writes those of its tiles, and one more the ones that are left over."""
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
        here = most - before
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
        found_3M: ``found_3M`` of the same tiles, where they are known.
    """

    def __init__(self, ends_E: Tensor, rows: int, found_3M: Tensor | None = None) -> None:
        self.experts = len(ends_E)
        self.most = rows // ROWS + min(self.experts, rows)
        self.found_3M = ends_E.new_empty(3, self.most) if found_3M is None else found_3M
        self.first_M, self.end_M, self.expert_M = self.found_3M
        if found_3M is not None:
            return
        size = triton.next_power_of_2(self.experts)
        _find_tiles[(self.experts + 1,)](
            ends_E, self.first_M, self.end_M, self.expert_M, self.most, self.experts, ROWS, size, 64
        )


def product(x_AK: Tensor, w: Tensor, tiles: Tiles, positive_AN: Tensor | None = None) -> Tensor:
    """Each row times the matrix of its expert, ``[A, N]``.

    Args:
        x_AK: sorted by expert.
        w: ``[E, K, N]``; or, with ``positive_AN``, ``[E, N, K]``, which is transposed.
        tiles: of the rows.
        positive_AN: where it is not above 0 the result is 0: the backward pass of a ReLU. Without
            it, the result goes through a ReLU.
    """
    backward = positive_AN is not None
    n, k = w.shape[1:] if backward else (w.shape[2], w.shape[1])
    out_AN = x_AK.new_empty(len(x_AK), n)
    if not len(x_AK):
        return out_AN
    columns, depth = _CONFIG["COLUMNS"], _CONFIG["DEPTH"]
    w_block = [columns, depth] if backward else [depth, columns]
    _product[(tiles.most * triton.cdiv(n, columns),)](
        TensorDescriptor.from_tensor(x_AK, [ROWS, depth]),
        TensorDescriptor.from_tensor(w.reshape(-1, w.shape[2]), w_block),
        out_AN,
        out_AN if positive_AN is None else positive_AN,
        tiles.first_M,
        tiles.end_M,
        tiles.expert_M,
        tiles.experts,
        n,
        k,
        backward,
        ROWS=ROWS,
        **_CONFIG,
    )
    return out_AN
