"""``--optimizer adam`` on CPUs: each weight is read and written once in an update.

fairseq's loop makes seven passes over each weight and its moments. The state keeps fairseq's form.
"""

import math
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim.adamw import adamw

from nmt_moe.fairseq_fixes.fix import Fix


def _fused(step: Callable[..., Any]) -> Callable[..., Any]:
    def fused_step(self: Any, closure: Callable[[], Any] | None = None) -> Any:
        if not all(_plain(group) for group in self.param_groups):
            return step(self, closure)
        loss = None if closure is None else closure()
        for group in self.param_groups:
            _update(group, self.state)
        return loss

    return fused_step


def _plain(group: dict[str, Any]) -> bool:
    """Whether torch's fused Adam can update a group of parameters."""
    return not group.get("amsgrad", False) and all(
        param.device.type == "cpu"
        and param.dtype == torch.float32
        and (param.grad is None or not param.grad.is_sparse)
        for param in group["params"]
    )


@torch.no_grad()
def _update(group: dict[str, Any], states: dict[Tensor, dict[str, Any]]) -> None:
    by_step = defaultdict(list)
    for param in group["params"]:
        if param.grad is None:
            continue
        state = states[param]
        if not state:
            state["step"] = 0
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(param), torch.zeros_like(param)
        by_step[state["step"]].append(param)
        state["step"] += 1
    beta1, beta2 = group["betas"]
    for done, params in by_step.items():
        adamw(
            params,
            [param.grad for param in params if param.grad is not None],
            [states[param]["exp_avg"] for param in params],
            [states[param]["exp_avg_sq"] for param in params],
            [],
            list(torch.full((len(params),), float(done)).unbind()),
            amsgrad=False,
            beta1=beta1,
            beta2=beta2,
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            # fairseq adds it before the correction of the second moment's bias, torch after it.
            eps=group["eps"] / math.sqrt(1 - beta2 ** (done + 1)),
            maximize=False,
            fused=True,
        )


FIXES = (
    Fix(
        "fairseq.optim.adam:Adam.step",
        _fused,
        "--optimizer adam makes one pass over float32 weights on CPUs, with the same result.",
    ),
)
