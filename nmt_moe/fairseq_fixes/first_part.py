"""The first updates of a training alone, with the schedule of all of it.

fairseq's schedules may be as long as ``--max-update`` says: with a smaller one the first updates
would be those of another training. ``NMT_MOE_STOP_AFTER=N`` in the environment ends
``fairseq-train`` after N updates, as ``--max-update N`` would, and changes nothing else; the same
command goes on where it is larger, or not there. ``nmt-moe claims search`` sets it.
"""

import math
import os
from collections.abc import Callable
from copy import deepcopy
from typing import Any

from nmt_moe.common.errors import ErrorOnEveryRank
from nmt_moe.common.ranges import integers
from nmt_moe.fairseq_fixes.fix import Fix

VARIABLE = "NMT_MOE_STOP_AFTER"


def begins() -> None:
    """A training is about to begin, or to go on, as restored.

    Raises:
        ErrorOnEveryRank: the environment has no number there.
    """
    if VARIABLE not in os.environ:
        return
    text = os.environ[VARIABLE]
    if not text.isdecimal() or int(text) not in integers(1):
        raise ErrorOnEveryRank(f"{VARIABLE} {integers(1).refusal(text)}")
    _CUT.apply()


def end(cfg: Any) -> float:
    """The number of updates with which a training is done."""
    return min(
        cfg.optimization.max_update or math.inf, int(os.environ.get(VARIABLE, 0)) or math.inf
    )


def _cut(validate_and_save: Callable[..., Any]) -> Callable[..., Any]:
    def validate_and_save_and_end(cfg: Any, trainer: Any, *args: Any, **kwargs: Any) -> Any:
        last = end(cfg)
        if trainer.get_num_updates() >= last:
            # A copy: the options of a checkpoint are those of the whole training.
            cfg = deepcopy(cfg)
            cfg.optimization.max_update = int(last)
        return validate_and_save(cfg, trainer, *args, **kwargs)

    return validate_and_save_and_end


_CUT = Fix(
    "fairseq_cli.train:validate_and_save",
    _cut,
    f"{VARIABLE}=N ends a training after N updates, with the schedule of --max-update.",
    "a training has been restored",
)
FIXES = (_CUT,)
