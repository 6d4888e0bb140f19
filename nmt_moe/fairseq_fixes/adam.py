"""``--optimizer adam``: each weight is read and written once in an update, and no update is lost.

fairseq's loop makes seven passes over each weight and its moments, and of a weight in bfloat16 it
rounds away what is small. The state keeps fairseq's form; in bfloat16 it has remainders, too.
"""

import math
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim.adamw import adamw

from nmt_moe.fairseq_fixes.fix import Fix
from nmt_moe.kernels import gpu
from nmt_moe.optim.split import full, keep_

_ON_CPU = (torch.float32, torch.bfloat16)


def _fused(step: Callable[..., Any]) -> Callable[..., Any]:
    def fused_step(self: Any, closure: Callable[[], Any] | None = None) -> Any:
        if not all(_known(group) for group in self.param_groups):
            return step(self, closure)
        loss = None if closure is None else closure()
        for group in self.param_groups:
            _update(group, self.state)
        return loss

    return fused_step


def _known(group: dict[str, Any]) -> bool:
    """Whether torch's fused Adam or the kernel for GPUs can update a group of parameters."""
    return not group.get("amsgrad", False) and all(
        ((param.device.type == "cpu" and param.dtype in _ON_CPU) or gpu.can_update(param))
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
            for name in ("exp_avg", "exp_avg_sq"):
                state[name] = torch.zeros_like(param, dtype=torch.float32)
        if param.dtype == torch.bfloat16:
            if "remainder" not in state:
                state["remainder"] = torch.zeros_like(param, dtype=torch.int16)
            for name in ("exp_avg", "exp_avg_sq", "remainder"):
                state[name] = state[name].to(param.device)  # fairseq restores them on the CPU
        by_step[state["step"]].append(param)
        state["step"] += 1
    beta1, beta2 = betas = group["betas"]
    for done, params in by_step.items():
        # fairseq adds it before the correction of the second moment's bias, torch after it.
        eps = group["eps"] / math.sqrt(1 - beta2 ** (done + 1))
        options = {"weight_decay": group["weight_decay"], "eps": eps}
        if gpu.can_update(*params):
            from nmt_moe.kernels.gpu.adam import adam_  # Triton is not everywhere.

            for param in params:
                state = states[param]
                adam_(
                    param,
                    state["remainder"],
                    param.grad.contiguous(),
                    state["exp_avg"],
                    state["exp_avg_sq"],
                    1.0,
                    step=done + 1,
                    lr=group["lr"],
                    betas=betas,
                    **options,
                )
            continue
        remainders = [states[param].get("remainder") for param in params]
        whole = [full(param, left) for param, left in zip(params, remainders, strict=True)]
        adamw(
            whole,
            [full(param.grad, None) for param in params],
            [states[param]["exp_avg"] for param in params],
            [states[param]["exp_avg_sq"] for param in params],
            [],
            list(torch.full((len(params),), float(done)).unbind()),
            amsgrad=False,
            beta1=beta1,
            beta2=beta2,
            lr=group["lr"],
            maximize=False,
            fused=True,
            **options,
        )
        for x, param, left in zip(whole, params, remainders, strict=True):
            keep_(x, param, left)


FIXES = (
    Fix(
        "fairseq.optim.adam:Adam.step",
        _fused,
        "--optimizer adam makes one pass over float32 weights on CPUs, with the same result, and "
        "loses no update of weights in bfloat16 (--memory-efficient-bf16).",
    ),
)
