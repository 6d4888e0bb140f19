"""A warning when experts collapse: for many updates, a few get all tokens or many get none."""

import logging
from dataclasses import dataclass

import torch
from fairseq.distributed import utils as distributed_utils
from fairseq.logging import metrics
from torch import Tensor

from nmt_moe.moe.balance import max_over_mean

_LOGGER = logging.getLogger(__name__)
_ENOUGH = 10  # tokens that the mean expert has had: fewer can pass one by for no reason


@dataclass(frozen=True)
class Limits:
    """When experts count as collapsed; with 0 in a field, that criterion is not used.

    The criterion's defaults are 5, 0.1 and 100. In the paper (table 6) the busiest expert has up to
    1.5 times the mean load with balance losses, and 17.8 times without. Where a token is sent to
    two of four experts no load exceeds 2; a collapse then shows in the experts without tokens.
    """

    load: float = 0.0
    """An expert's load over the mean."""
    dead: float = 0.0
    """The share of experts without a token."""
    updates: int = 0
    """For how many updates in a row it must be the same experts. In a single update of few tokens
    many experts have none, and at the start the balance losses have not worked yet."""


def watch(counts: dict[str, Tensor], limits: Limits) -> None:
    """Warn, once in a training, when the experts of a layer have collapsed.

    Does nothing in a validation. Its state is kept in meters of fairseq that are saved with
    checkpoints and reset only by a new training: after a resume it neither forgets nor warns again.

    Args:
        counts: the number of assignments to each expert in this update, ``[E]`` for each layer.
        limits: when experts count as collapsed.
    """
    if not limits.updates or not in_training():
        return
    with metrics.aggregate("moe_collapse", new_root=True) as kept:
        if "told" in kept:
            return
        found = [_collapsed(kept, layer, counts_E, limits) for layer, counts_E in counts.items()]
        texts = [text for text in found if text]
        if texts:
            metrics.log_scalar("told", 1)
    if texts and distributed_utils.get_global_rank() == 0:
        _LOGGER.warning(
            f"experts collapse in {' and '.join(texts)}. Raise --moe-importance-weight and "
            "--moe-load-weight, lower --lr, or use larger batches (--max-tokens); see 'When "
            "experts collapse' in docs/training.md. Not said again in this training"
        )


def in_training() -> bool:
    """Whether this is an update; a validation aggregates other meters."""
    train = metrics.get_meters("train")
    return any(active is train for active in metrics.get_active_aggregators())


def _collapsed(
    kept: metrics.MetersDict, layer: str, counts_E: Tensor, limits: Limits
) -> str | None:
    """Count this update; what to say of the layer if it is beyond the limits."""
    mean = counts_E.mean()
    none_E, many_E = counts_E == 0, counts_E > limits.load * mean
    # For how many updates in a row an expert has had no token, and how many the mean expert has
    # had meanwhile; for how many it has had too many.
    before_3E = kept[layer].val if layer in kept else 0
    more_31 = torch.stack([torch.ones_like(mean), mean, torch.ones_like(mean)]).unsqueeze(1)
    streak_3E = (before_3E + more_31) * torch.stack([none_E, none_E, many_E])
    metrics.log_scalar(layer, streak_3E, weight=0)  # 0: the latest replaces the one before

    dead_E = (streak_3E[0] >= limits.updates) & (streak_3E[1] >= _ENOUGH)
    dead, experts = int(dead_E.sum()), len(counts_E)
    crowded = limits.load and (streak_3E[2] >= limits.updates).any()
    if not crowded and not 0 < limits.dead < dead / experts:
        return None
    return (
        f"layer {layer} ({dead} of {experts} without a token for {limits.updates} updates, "
        f"the busiest with {max_over_mean(counts_E).item():.1f} times the mean load)"
    )
