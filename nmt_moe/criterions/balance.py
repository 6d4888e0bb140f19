"""The balance losses of a batch, and what the log says about the experts."""

from typing import Any

import torch
from fairseq.logging import meters, metrics
from torch import Tensor

from nmt_moe.moe.balance import cv_squared, max_over_mean
from nmt_moe.moe.routing import Routing

_VECTORS = ("importance", "load", "counts")


def balance_losses(routing: dict[str, Routing]) -> tuple[Tensor | float, Tensor | float]:
    """``CV(importance)^2`` (section 4) and ``CV(load)^2`` (appendix A), summed over layers."""
    importance = sum(cv_squared(layer.importance_E) for layer in routing.values())
    load = sum(cv_squared(layer.load_E) for layer in routing.values())
    return importance, load


def threshold_loss(routing: dict[str, Routing]) -> Tensor | None:
    """The loss of the thresholds (appendix F) over all layers, a sum over tokens and experts.

    None where nothing learns thresholds: other gatings, and evaluation.
    """
    losses = [routed.threshold_loss for routed in routing.values()]
    found = [loss for loss in losses if loss is not None]
    return torch.stack(found).sum() if found else None


def logging_vectors(routing: dict[str, Routing]) -> dict[str, Tensor]:
    """Per layer and expert the importance, load and assignments of a batch.

    Sums over batches and processes of these are those of all the tokens together, so that
    fairseq may add them up on the way to :func:`log_balance`.
    """
    return {
        f"moe_{vector}/{layer}": getattr(routed, f"{vector}_E").detach()
        for layer, routed in routing.items()
        for vector in _VECTORS
    }


def log_balance(logging_outputs: list[dict[str, Any]]) -> None:
    """Log the balance of each MoE layer over all tokens since the last line of the log."""
    for key in logging_outputs[0] if logging_outputs else ():
        if not key.startswith("moe_counts/"):
            continue
        layer = key.removeprefix("moe_counts/")
        for vector in _VECTORS:
            name = f"moe_{vector}/{layer}"
            # "_": kept and summed by the log's meters, and not shown.
            total_E = sum(torch.as_tensor(log[name]).cpu().double() for log in logging_outputs)
            metrics.log_custom(meters.SumMeter, f"_{name}", total_E)
        _log_layer(layer)


def _log_layer(layer: str) -> None:
    shown = f"moe_{layer.replace('.', '_')}"

    def derive(name: str, vector: str, function: Any, priority: int) -> None:
        metrics.log_derived(
            f"{shown}_{name}",
            lambda found: function(found[f"_moe_{vector}/{layer}"].sum),
            priority=priority,
        )

    derive("importance_cv", "importance", lambda v: round(cv_squared(v).sqrt().item(), 3), 60)
    derive("load_cv", "load", lambda v: round(cv_squared(v).sqrt().item(), 3), 61)
    derive("load_max", "counts", lambda v: round(max_over_mean(v).item(), 2), 62)
    derive("unused", "counts", lambda v: int((v == 0).sum()), 63)
