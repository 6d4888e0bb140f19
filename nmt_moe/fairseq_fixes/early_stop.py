"""``--patience`` where a training goes on: fairseq counts the validations anew then.

The count is kept in meters of fairseq, which are saved with the checkpoints.
"""

import sys
from collections.abc import Callable, Mapping
from typing import Any

from fairseq.logging import metrics

from nmt_moe.fairseq_fixes.fix import Fix

_METERS = "early_stop"
_COUNTED = ("best", "num_runs")
"""Attributes of fairseq's function."""


def begins(extra_state: Mapping[str, Any] | None, reset: bool) -> None:
    """A training is about to begin, or to go on, as restored.

    Args:
        extra_state: of the checkpoint, None without one. fairseq restores no meters of a checkpoint
            from the end of an epoch.
        reset: whether meters shall be new ones.
    """
    if "fairseq_cli.train" not in sys.modules:
        return
    _KEEP.apply()
    before = (extra_state or {}).get("metrics", {}).get(_METERS, [])
    metrics.load_state_dict({_METERS: [] if reset else before})
    counter, kept = sys.modules["fairseq_cli.train"].should_stop_early, metrics.get_meters(_METERS)
    for name in _COUNTED:
        vars(counter).pop(name, None)  # of a training before it in this process
        if kept:
            setattr(counter, name, kept[name].val)


def stopped(cfg: Any) -> bool:
    """Whether a training that is restored was at the end of its patience."""
    kept = metrics.get_meters(_METERS)
    return bool(kept) and 0 < cfg.checkpoint.patience <= kept["num_runs"].val


def _keeping(should_stop_early: Callable[..., bool]) -> Callable[..., bool]:
    def should_stop_early_and_keep(cfg: Any, valid_loss: float | None) -> bool:
        stop = should_stop_early(cfg, valid_loss)
        if valid_loss is not None and cfg.checkpoint.patience > 0:
            # fairseq's function counts in attributes of what has its name, which is this one.
            with metrics.aggregate(_METERS, new_root=True):
                for name in _COUNTED:
                    count = getattr(should_stop_early_and_keep, name)
                    metrics.log_scalar(name, count, weight=0)  # 0: the latest replaces the others
        return stop

    return should_stop_early_and_keep


_KEEP = Fix(
    "fairseq_cli.train:should_stop_early",
    _keeping,
    "--patience counts on where a training goes on.",
    "a training has been restored",
)
FIXES = (_KEEP,)
