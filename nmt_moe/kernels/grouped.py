"""Groups of rows, sorted by group, each with matrices of its own: a loop over the groups.

Indexing a stacked parameter once per group would give autograd a full-size zero gradient per group;
here every product writes straight into its slice.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from nmt_moe.kernels.cpu import experts
from nmt_moe.kernels.cpu.buffers import empty_activations, empty_gradient
from nmt_moe.kernels.cpu.product import mm
from nmt_moe.kernels.operators import like, operator


def feed_forward(
    x_AD: Tensor,
    w_in: Tensor,
    w_out: Tensor,
    counts_E: Tensor,
    keep_hidden: bool,
    how: int | None = None,
    stays_AH: Tensor | None = None,
    scale: float = 1.0,
) -> Tensor:
    """``[A, D]``: ``relu(x @ w_in[e]) @ w_out[e]`` of each row, ``e`` being its expert.

    Args:
        x_AD: sorted by expert.
        w_in: ``[E, D, H]``.
        w_out: ``[E, H, D]``.
        counts_E: int64: the rows of each expert.
        keep_hidden: for the backward pass, which computes it again otherwise.
        how: the precision of the factors of ``product.c``, whose rows are float32; None: torch's
            products.
        stays_AH: bool: false drops a hidden activation, the others are multiplied by ``scale``.
            None: all stay as they are.
        scale: see there.
    """
    y_AD: Tensor = _experts(x_AD, w_in, w_out, counts_E, keep_hidden, how, stays_AH, scale)[0]
    return y_AD


def product(x_TD: Tensor, token_R: Tensor, w_GDE: Tensor, counts_G: Tensor) -> Tensor:
    """``[R, E]``: each row's token times the matrix of its group. No copy of all rows is made.

    Args:
        x_TD: the tokens.
        token_R: int64: the token of a row; rows are sorted by group.
        w_GDE: a matrix for each group.
        counts_G: int64: the rows of each group.
    """
    out_RE: Tensor = _grouped_product(x_TD, token_R, w_GDE, counts_G)
    return out_RE


def _segments(counts: list[int]) -> Iterator[tuple[int, slice]]:
    """``(group, its slice of the rows)`` for each group that has any."""
    start = 0
    for group, count in enumerate(counts):
        if count:
            yield group, slice(start, start + count)
        start += count


def _others(counts: list[int], in_c: experts.Groups) -> Iterator[tuple[int, slice]]:
    """The segments of the experts that are not computed in C."""
    done = {expert for expert, _, _ in in_c}
    return ((e, rows) for e, rows in _segments(counts) if e not in done)


def experts_forward(
    x_AD: Tensor,
    w_in: Tensor,
    w_out: Tensor,
    counts_E: Tensor,
    keep_hidden: bool,
    how: int | None = None,
    stays_AH: Tensor | None = None,
    scale: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """The output, and ``hidden_AH``, which has no rows if it is not kept."""
    counts = counts_E.tolist()
    hidden_AH = empty_activations(x_AD, len(x_AD) if keep_hidden else 0, w_in.shape[2])
    y_AD = empty_activations(x_AD, *x_AD.shape)
    in_c = experts.groups_for(counts, x_AD, w_in, w_out, how=how)
    kept = hidden_AH if keep_hidden else None
    experts.forward(in_c, x_AD, w_in, w_out, kept, y_AD, how, stays_AH, scale)
    for e, rows in _others(counts, in_c):
        out = hidden_AH[rows] if keep_hidden else None
        hidden = mm(x_AD[rows], w_in[e], how, out=out).relu_()
        if stays_AH is not None:
            hidden.mul_(stays_AH[rows]).mul_(scale)
        mm(hidden, w_out[e], how, out=y_AD[rows])
    return y_AD, hidden_AH


def experts_backward(
    dy_AD: Tensor,
    x_AD: Tensor,
    w_in: Tensor,
    w_out: Tensor,
    counts_E: Tensor,
    hidden_AH: Tensor,
    kept: bool,
    how: int | None = None,
    stays_AH: Tensor | None = None,
    scale: float = 1.0,
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of ``x_AD``, ``w_in`` and ``w_out``."""
    counts, dy_AD = counts_E.tolist(), dy_AD.contiguous()
    relu_backward = torch.ops.aten.threshold_backward.grad_input
    dx_AD = empty_activations(x_AD, *x_AD.shape)
    # Not zeros: writing pages twice costs more than the product where experts are many.
    dw_in, dw_out = empty_gradient(w_in), empty_gradient(w_out)
    in_c = experts.groups_for(counts, x_AD, w_in, w_out, how=how)
    hidden = hidden_AH if kept else None
    gradients = (dx_AD, dw_in, dw_out)
    experts.backward(in_c, x_AD, w_in, w_out, hidden, dy_AD, *gradients, how, stays_AH, scale)
    for e, rows in _others(counts, in_c):
        hidden = hidden_AH[rows] if kept else mm(x_AD[rows], w_in[e], how).relu_()
        if stays_AH is not None and not kept:
            hidden.mul_(stays_AH[rows]).mul_(scale)
        mm(hidden.t(), dy_AD[rows], how, out=dw_out[e])
        dhidden = mm(dy_AD[rows], w_out[e].t(), how)
        relu_backward(dhidden, hidden, 0, grad_input=dhidden)  # 0 where hidden is dropped, too
        if stays_AH is not None:
            dhidden.mul_(scale)
        mm(x_AD[rows].t(), dhidden, how, out=dw_in[e])
        mm(dhidden, w_in[e].t(), how, out=dx_AD[rows])
    for e, count in enumerate(counts):
        if not count:
            dw_in[e].zero_()
            dw_out[e].zero_()
    return dx_AD, dw_in, dw_out


def _save_experts(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    *tensors, ctx.kept, ctx.how, stays_AH, ctx.scale = inputs  # as feed_forward gives them
    ctx.save_for_backward(*tensors, output[1], stays_AH)
    ctx.mark_non_differentiable(output[1])
    ctx.set_materialize_grads(False)


def _experts_backward(ctx: Any, dy_AD: Tensor, _: Tensor | None) -> tuple[Tensor | None, ...]:
    *tensors, stays_AH = ctx.saved_tensors
    found = _experts_gradients(dy_AD, *tensors, ctx.kept, ctx.how, stays_AH, ctx.scale)
    return *found, *[None] * 5


def grouped_product(x_TD: Tensor, token_R: Tensor, w_GDE: Tensor, counts_G: Tensor) -> Tensor:
    out_RE = x_TD.new_empty(len(token_R), w_GDE.shape[2])
    for group, rows in _segments(counts_G.tolist()):
        torch.mm(x_TD.index_select(0, token_R[rows]), w_GDE[group], out=out_RE[rows])
    return out_RE


def grouped_product_backward(
    dout_RE: Tensor, x_TD: Tensor, token_R: Tensor, w_GDE: Tensor, counts_G: Tensor
) -> tuple[Tensor, Tensor]:
    dx_TD, dw_GDE = (x.new_zeros(x.shape) for x in (x_TD, w_GDE))
    with torch.autocast(x_TD.device.type, enabled=False):  # a caller's reaches backward, too
        for group, rows in _segments(counts_G.tolist()):
            tokens, dout = token_R[rows], dout_RE[rows]
            torch.mm(x_TD.index_select(0, tokens).t(), dout, out=dw_GDE[group])
            dx_TD.index_add_(0, tokens, dout @ w_GDE[group].t())
    return dx_TD, dw_GDE


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _product_backward(ctx: Any, dout_RE: Tensor) -> tuple[Tensor | None, ...]:
    dx_TD, dw_GDE = _grouped_product_gradients(dout_RE, *ctx.saved_tensors)
    return dx_TD, None, dw_GDE, None


_experts_gradients = operator(experts_backward, lambda dy, x, w_in, w_out, *_: like(x, w_in, w_out))
_experts = operator(
    experts_forward,
    lambda x, w_in, w_out, counts, keep, *_: (
        x.new_empty(x.shape),
        x.new_empty(x.shape[0] if keep else 0, w_in.shape[2]),
    ),
    save=_save_experts,
    backward=_experts_backward,
)
_grouped_product_gradients = operator(
    grouped_product_backward, lambda dout, x, token, w, counts: like(x, w)
)
_grouped_product = operator(
    grouped_product,
    lambda x, token, w, counts: x.new_empty(token.shape[0], w.shape[2]),
    save=_save,
    backward=_product_backward,
)
