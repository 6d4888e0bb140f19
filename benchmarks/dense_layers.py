"""Dense layers of the same operations per token as a mixture, for moe_layer.py."""

import copy
from typing import Any

import torch
from mixtures import TOLERANCES, norm
from torch import Tensor, nn

from nmt_moe.models.linear import apply


class Dense(nn.Sequential):
    """Layers by the products that a dense model of this package has."""

    def forward(self, x: Tensor) -> Tensor:
        for layer in self:
            x = apply(layer, x)
        return x


class _FusedReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_TD: Tensor, w_HD: Tensor, zeros_H: Tensor) -> Tensor:
        y_TH = torch._addmm_activation(zeros_H, x_TD, w_HD.t())
        ctx.save_for_backward(x_TD, w_HD, y_TH)
        return y_TH

    @staticmethod
    def backward(ctx: Any, dy_TH: Tensor) -> tuple[Tensor, Tensor, None]:
        x_TD, w_HD, y_TH = ctx.saved_tensors
        dy_TH = torch.ops.aten.threshold_backward(dy_TH, y_TH, 0)
        return dy_TH @ w_HD, dy_TH.t() @ x_TD, None


class Fused(nn.Module):
    """The dense layer's weights; on a GPU the ReLU takes no pass of its own in the forward pass."""

    def __init__(self, dense: Dense) -> None:
        super().__init__()
        self.first, _, self.last = dense
        self.register_buffer("zeros_H", torch.zeros_like(self.first.weight[:, 0]))

    def forward(self, x_TD: Tensor) -> Tensor:
        return self.last(_FusedReLU.apply(x_TD, self.first.weight, self.zeros_H))


def check_fused(dense: Dense, x_TD: Tensor) -> None:
    """Compare the fused layer with the dense one.

    Raises:
        SystemExit: they differ.
    """
    results = []
    exact = copy.deepcopy(dense).double()
    for layer, x in ((Fused(dense), x_TD), (exact, x_TD.double())):
        y_TD = layer(x)
        results.append([y_TD, *torch.autograd.grad(y_TD.square().sum(), [*layer.parameters()])])
    for found, right in zip(*results, strict=True):
        if not norm(found - right) < TOLERANCES[x_TD.dtype] * norm(right):
            raise SystemExit("error: fused is wrong: not timed")
