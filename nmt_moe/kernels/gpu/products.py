"""The experts' products on a GPU, in Triton, with what follows a product done where it is made.

A tile is a block of one expert's rows times a block of its matrix's columns.
"""

import triton
import triton.language as tl
from torch import Tensor
from triton.tools.tensor_descriptor import TensorDescriptor

from nmt_moe.kernels.gpu.choices import ROWS, blocks, by_descriptors, card_of
from nmt_moe.kernels.gpu.tiles import Tiles

_GROUP = 8  # tiles of rows that go through the columns together, so that these stay in the cache


# Of numbers that differ with each batch no variants are compiled.
@triton.jit(do_not_specialize=["most"], do_not_specialize_on_alignment=["first", "end", "expert"])
def _product(
    x,
    w,
    out,
    mask,
    first,
    end,
    expert,
    most,
    N,
    x_row,
    w_expert,
    w_row,
    w_column,
    scale,
    K: tl.constexpr,
    RELU: tl.constexpr,
    MASKED: tl.constexpr,
    DESCRIPTORS: tl.constexpr,
    TRANSPOSED: tl.constexpr,
    GROUP: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    DEPTH: tl.constexpr,
):
    tiles = tl.load(first + most)
    in_group = GROUP * tl.cdiv(N, COLUMNS)
    for at in range(tl.program_id(0), tiles * tl.cdiv(N, COLUMNS), tl.num_programs(0)):
        group = at // in_group * GROUP
        height = tl.minimum(tiles - group, GROUP)
        tile = group + at % in_group % height
        column = at % in_group // height * COLUMNS
        e = tl.load(expert + tile)
        row = tl.load(first + tile)
        rows = tl.arange(0, ROWS)
        columns = tl.arange(0, COLUMNS)
        depth = tl.arange(0, DEPTH)
        in_rows = (rows < tl.load(end + tile) - row)[:, None]
        in_columns = (columns < N - column)[None, :]
        if not DESCRIPTORS:
            x_tile = x + row.to(tl.int64) * x_row
            w_tile = w + e.to(tl.int64) * w_expert + column * w_column
        total = tl.zeros([ROWS, COLUMNS], tl.float32)
        for k in range(0, K, DEPTH):
            if DESCRIPTORS:
                x_part = x.load([row, k])
                if TRANSPOSED:
                    w_part = w.load([e * N + column, k]).T
                else:
                    w_part = w.load([e * K + k, column])
            else:
                in_depth = depth < K - k
                x_at = x_tile + k + (rows[:, None] * x_row + depth[None, :])
                x_part = tl.load(x_at, in_rows & in_depth[None, :], 0)
                w_at = w_tile + k * w_row + (depth[:, None] * w_row + columns[None, :] * w_column)
                w_part = tl.load(w_at, in_depth[:, None] & in_columns, 0)
            total = tl.dot(x_part, w_part, total, input_precision="ieee")
        to = row.to(tl.int64) * N + column + (rows[:, None] * N + columns[None, :])
        if RELU:
            total = tl.where(total < 0, 0.0, total)  # NaN stays
        if MASKED:
            drop = tl.load(mask + to, in_rows & in_columns, 0) <= 0
            total = tl.where(drop, 0.0, total * scale)
        tl.store(out + to, total.to(out.dtype.element_ty), in_rows & in_columns)


def product(
    x_AK: Tensor,
    w_EKN: Tensor,
    tiles: Tiles,
    relu: bool = False,
    mask_AN: Tensor | None = None,
    scale: float = 1.0,
) -> Tensor:
    """Each row times the matrix of its expert, ``[A, N]``, summed in float32.

    Args:
        x_AK: sorted by expert: bfloat16, float16 or float32.
        w_EKN: of the same type; by rows or by columns.
        tiles: of the rows.
        relu: the result goes through a ReLU.
        mask_AN: uint8 or of the rows' type, contiguous: where it is not above 0 the result is 0,
            elsewhere it is multiplied by ``scale``: dropout, or the backward pass of a ReLU.
        scale: see there.
    """
    _, k, n = w_EKN.shape
    x_AK = x_AK if x_AK.stride(1) == 1 else x_AK.contiguous()
    out_AN = x_AK.new_empty(len(x_AK), n)
    if not out_AN.numel():
        return out_AN
    sizes = blocks(len(x_AK) // ROWS, n, x_AK)
    descriptors, transposed = by_descriptors(x_AK, w_EKN), w_EKN.stride(2) != 1
    x, w = x_AK, w_EKN
    if descriptors:
        w_NK = (w.transpose(1, 2) if transposed else w).flatten(0, 1)
        w_block = [sizes.columns, sizes.depth] if transposed else [sizes.depth, sizes.columns]
        x = TensorDescriptor.from_tensor(x, [ROWS, sizes.depth])
        w = TensorDescriptor.from_tensor(w_NK, w_block)
    programs = tiles.most * triton.cdiv(n, sizes.columns)
    if sizes.persistent:
        programs = min(programs, card_of(x_AK.device).processors)
    _product[(programs,)](
        x,
        w,
        out_AN,
        out_AN if mask_AN is None else mask_AN,
        tiles.first_M,
        tiles.end_M,
        tiles.expert_M,
        tiles.most,
        n,
        x_AK.stride(0),
        *w_EKN.stride(),
        scale,
        k,
        relu,
        mask_AN is not None,
        descriptors,
        transposed,
        _GROUP if sizes.persistent else 1,
        ROWS=ROWS,
        COLUMNS=sizes.columns,
        DEPTH=sizes.depth,
        num_warps=sizes.warps,
        num_stages=sizes.stages,
    )
    return out_AN
