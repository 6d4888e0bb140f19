"""The gradients of the experts' weights on a GPU, in Triton: any number of experts, no atomics."""

import triton
import triton.language as tl
from torch import Tensor

from nmt_moe.kernels.gpu.choices import ROWS, blocks


@triton.jit
def _weight_gradients(
    x,
    dy,
    ends,
    out,
    x_row,
    dy_row,
    K,
    N,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    DEPTH: tl.constexpr,
):
    across = tl.cdiv(N, COLUMNS)
    of_expert = tl.cdiv(K, ROWS) * across
    e = tl.program_id(0) // of_expert
    k = tl.program_id(0) % of_expert // across * ROWS + tl.arange(0, ROWS)
    n = tl.program_id(0) % across * COLUMNS + tl.arange(0, COLUMNS)
    depth = tl.arange(0, DEPTH)
    start = tl.load(ends + e - 1, e > 0, 0)
    stop = tl.load(ends + e)
    x += start.to(tl.int64) * x_row
    dy += start.to(tl.int64) * dy_row
    total = tl.zeros([ROWS, COLUMNS], tl.float32)
    for row in range(start, stop, DEPTH):
        inside = depth < stop - row  # both: what other experts have may be NaN
        x_at = x + (depth[None, :] * x_row + k[:, None])
        x_part = tl.load(x_at, (k < K)[:, None] & inside[None, :], 0)
        dy_at = dy + (depth[:, None] * dy_row + n[None, :])
        dy_part = tl.load(dy_at, inside[:, None] & (n < N)[None, :], 0)
        total = tl.dot(x_part, dy_part, total, input_precision="ieee")
        x += DEPTH * x_row
        dy += DEPTH * dy_row
    to = out + e.to(tl.int64) * K * N + (k[:, None] * N + n[None, :])
    tl.store(to, total.to(out.dtype.element_ty), (k < K)[:, None] & (n < N)[None, :])


def weight_gradients(x_AK: Tensor, dy_AN: Tensor, ends_E: Tensor) -> Tensor:
    """``[E, K, N]``: for each expert the sum over its rows of ``x`` times ``dy``, in float32.

    Args:
        x_AK: sorted by expert: bfloat16, float16 or float32.
        dy_AN: of the same type.
        ends_E: int32: where the rows of each expert end.
    """
    x_AK, dy_AN = (x if x.stride(1) == 1 else x.contiguous() for x in (x_AK, dy_AN))
    experts, k, n = len(ends_E), x_AK.shape[1], dy_AN.shape[1]
    out_EKN = x_AK.new_empty(experts, k, n)
    tiles = experts * triton.cdiv(k, ROWS)
    sizes = blocks(tiles, n, x_AK)
    # Not persistent: some experts have more rows than others.
    _weight_gradients[(tiles * triton.cdiv(n, sizes.columns),)](
        x_AK,
        dy_AN,
        ends_E,
        out_EKN,
        x_AK.stride(0),
        dy_AN.stride(0),
        k,
        n,
        ROWS=ROWS,
        COLUMNS=sizes.columns,
        DEPTH=sizes.depth,
        num_warps=sizes.warps,
        num_stages=sizes.stages,
    )
    return out_EKN
