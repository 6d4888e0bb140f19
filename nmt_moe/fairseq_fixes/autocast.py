"""``--amp`` on CPUs: the forward pass of a training in bfloat16 where the processor has it.

fairseq asks for autocast on GPUs only, so that ``--amp`` had no effect. Weights, gradients and the
optimizer stay float32, and validation is float32 as on GPUs.
"""

import logging
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from fairseq.optim.amp_optimizer import AMPOptimizer

from nmt_moe.fairseq_fixes.fix import Fix
from nmt_moe.kernels.cpu.bfloat16 import pays

_logger = logging.getLogger(__name__)


class _Autocast:
    """A criterion whose call is in bfloat16."""

    def __init__(self, criterion: Any) -> None:
        self.criterion = criterion

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with torch.autocast("cpu", torch.bfloat16):
            return self.criterion(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.criterion, name)


@cache
def _has() -> bool:
    if pays():
        return True
    _logger.info("this processor has no fast bfloat16: --amp trains in float32")
    return False


def _on_cpu(step: Callable[..., Any]) -> Callable[..., Any]:
    def train_step(
        self: Any, sample: Any, model: Any, criterion: Any, optimizer: Any, *args: Any, **more: Any
    ) -> Any:
        device = next(model.parameters()).device.type
        if isinstance(optimizer, AMPOptimizer) and device == "cpu" and _has():
            criterion = _Autocast(criterion)
        return step(self, sample, model, criterion, optimizer, *args, **more)

    return train_step


FIXES = (
    Fix(
        "fairseq.tasks.fairseq_task:FairseqTask.train_step",
        _on_cpu,
        "--amp trains in bfloat16 on CPUs that have it; fairseq asks for it on GPUs only.",
    ),
)
