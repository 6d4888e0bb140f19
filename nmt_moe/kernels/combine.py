"""The sum of each token's rows, weighed; each pass writes into memory that is kept."""

from typing import Any

import torch
from torch import Tensor

from nmt_moe.kernels.cpu.buffers import empty_activations
from nmt_moe.kernels.operators import like, operator


def combine(y_AD: Tensor, gate_A: Tensor, token_A: Tensor, num_tokens: int) -> Tensor:
    """``[T, D]``, in the precision of ``gate_A``: for each token the sum of ``gate * y``.

    Args:
        y_AD: a row for each assignment.
        gate_A: its weight.
        token_A: int64: its token.
        num_tokens: ``T``.
    """
    y_TD: Tensor = _combine(y_AD, gate_A, token_A, num_tokens)
    return y_TD


def weighted_sum(y_AD: Tensor, gate_A: Tensor, token_A: Tensor, num_tokens: int) -> Tensor:
    out = empty_activations(gate_A, *y_AD.shape)
    weighted_AD = torch.mul(gate_A.unsqueeze(1), y_AD, out=out)
    return gate_A.new_zeros(num_tokens, y_AD.shape[1]).index_add_(0, token_A, weighted_AD)


def weighted_sum_backward(
    dy_TD: Tensor, y_AD: Tensor, gate_A: Tensor, token_A: Tensor
) -> tuple[Tensor, Tensor]:
    dy_AD, product_AD = (empty_activations(dy_TD, *y_AD.shape) for _ in range(2))
    torch.index_select(dy_TD, 0, token_A, out=dy_AD)
    dgate_A = torch.mul(dy_AD, y_AD, out=product_AD).sum(1)
    return dy_AD.mul_(gate_A.unsqueeze(1)).to(y_AD.dtype), dgate_A


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:3])


def _backward(ctx: Any, dy_TD: Tensor) -> tuple[Tensor | None, ...]:
    return *_combine_gradients(dy_TD, *ctx.saved_tensors), None, None


_combine_gradients = operator(weighted_sum_backward, lambda dy, y, gate, token: like(y, gate))
_combine = operator(
    weighted_sum,
    lambda y, gate, token, tokens: gate.new_empty(tokens, y.shape[1]),
    save=_save,
    backward=_backward,
)
