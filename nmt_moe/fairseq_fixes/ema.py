"""The exponential moving average of ``--store-ema`` of matrices that have two names.

fairseq takes each name in turn, so a shared matrix would move towards the model's twice in an
update, and its average would be over half as many of them.
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from nmt_moe.fairseq_fixes.fix import Fix


class _OnceEach:
    """A model's state with one name for each tensor; ``names`` has the first of every name."""

    def __init__(self, model: Any) -> None:
        firsts: dict[Any, str] = {}
        self.names, self.state = {}, model.state_dict()
        for name, x in self.state.items():
            self.names[name] = firsts.setdefault(_place(x) or name, name)

    def state_dict(self) -> dict[str, Any]:
        """Under their first names."""
        return {name: self.state[name] for name in dict.fromkeys(self.names.values())}


def _place(x: Any) -> tuple | None:
    """Where a tensor is in memory; None: nowhere."""
    if not isinstance(x, Tensor) or not x.numel():
        return None
    return x.device, x.data_ptr(), x.shape, x.stride()


def _once_each(step: Callable[..., None]) -> Callable[..., None]:
    def _step_internal(self: Any, new_model: Any, updates: int | None = None) -> None:
        model = _OnceEach(new_model)
        step(self, model, updates)
        for name, first in model.names.items():
            if name in self.fp32_params:
                self.fp32_params[name] = self.fp32_params[first]

    return _step_internal


FIXES = (
    Fix(
        "fairseq.models.ema.ema:EMA._step_internal",
        _once_each,
        "--store-ema averages a matrix that has two names, as shared embeddings have, once in each "
        "update.",
    ),
)
