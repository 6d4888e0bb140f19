"""The balance losses of a batch, and the figures of the experts in the log."""

import math
from collections.abc import Callable
from typing import Any

import torch
from fairseq.logging import meters, metrics
from torch import Tensor

from nmt_moe.common import logged
from nmt_moe.moe.balance import cv_squared, max_over_mean
from nmt_moe.moe.routing import Routing


def balance_losses(routing: dict[str, Routing]) -> tuple[Tensor | float, Tensor | float]:
    """``CV(importance)^2`` (section 4) and ``CV(load)^2`` (appendix A), summed over layers.

    Experts that the batch could not reach do not count.
    """
    layers = routing.values()
    importance = sum(cv_squared(layer.within_reach(layer.importance_E)) for layer in layers)
    load = sum(cv_squared(layer.within_reach(layer.load_E)) for layer in layers)
    return importance, load


def threshold_loss(routing: dict[str, Routing]) -> Tensor | None:
    """The loss of the thresholds (appendix F) over all layers, a sum over tokens and experts.

    None where no thresholds are trained: with other gatings, and in evaluation.
    """
    losses = [routed.threshold_loss for routed in routing.values()]
    found = [loss for loss in losses if loss is not None]
    return torch.stack(found).sum() if found else None


def logging_vectors(
    routing: dict[str, Routing], net_input: dict[str, Tensor], padding: int
) -> dict[str, Tensor]:
    """Importance, load and number of assignments of each expert for a batch, by layer, and the
    entropy of the gates.

    The entropy is a pair: the sum over the tokens in bits, and the number of tokens. All vectors
    add up over batches and processes, so that fairseq may sum them on the way to
    :func:`log_balance`.

    Args:
        routing: the routing of each layer by its name, ``encoder.2`` or ``decoder.1``.
        net_input: the input of the model.
        padding: the padding symbol.
    """
    source = net_input["src_tokens"]
    read = {"encoder": source, "decoder": net_input.get("prev_output_tokens", source)}
    vectors = {}
    for layer, routed in routing.items():
        tokens = (read[layer.split(".")[0]] != padding).sum()
        bits = torch.special.entr(routed.gate_A.detach()).sum() / math.log(2)
        vectors[f"moe_entropy/{layer}"] = torch.stack([bits, tokens.to(bits.dtype)])
        for vector in ("importance", "load", "counts"):
            vectors[f"moe_{vector}/{layer}"] = getattr(routed, f"{vector}_E").detach()
    return vectors


def log_balance(totals: dict[str, Tensor]) -> None:
    """Log the balance of each MoE layer over all tokens since the last line of the log.

    Args:
        totals: the sums of :func:`logging_vectors`.
    """
    for name, total in totals.items():
        # "_": kept and summed by the log's meters, and not shown.
        metrics.log_custom(meters.SumMeter, f"_{name}", total)
    for layer in counts_of(totals):
        _log_layer(layer)


def counts_of(totals: dict[str, Tensor]) -> dict[str, Tensor]:
    """Of the sums of :func:`logging_vectors`, the assignments to each expert, by layer."""
    parts = {name: name.split("/") for name in totals}
    return {parts[name][1]: v for name, v in totals.items() if parts[name][0] == "moe_counts"}


def vector_totals(logging_outputs: list[dict[str, Any]]) -> dict[str, Tensor]:
    """The sums of all vectors (the entries with ``/`` in their name), in float64, where they are:
    a GPU need not be waited for until a line of the log is due."""
    vectors = {name: v for name, v in (logging_outputs or [{}])[0].items() if "/" in name}
    if not vectors:
        return {}
    rows = [torch.cat([log[name].double() for name in vectors]) for log in logging_outputs]
    sizes = [len(v) for v in vectors.values()]
    return dict(zip(vectors, torch.stack(rows).sum(0).split(sizes), strict=True))


def _log_layer(layer: str) -> None:
    def derive(name: str, vector: str, function: Callable[[Tensor], float], place: int) -> None:
        metrics.log_derived(
            logged.of_layer(layer, name),
            lambda found: function(found[f"_moe_{vector}/{layer}"].sum),
            priority=logged.AFTER_FAIRSEQS + 10 + place,
        )

    derive(logged.IMPORTANCE_CV, "importance", lambda v: round(cv_squared(v).sqrt().item(), 3), 0)
    derive(logged.LOAD_CV, "load", lambda v: round(cv_squared(v).sqrt().item(), 3), 1)
    derive(logged.LOAD_MAX, "counts", lambda v: round(max_over_mean(v).item(), 2), 2)
    derive(logged.UNUSED, "counts", lambda v: int((v == 0).sum()), 3)
    derive(logged.ENTROPY, "entropy", lambda v: round((v[0] / v[1].clamp_min(1)).item(), 3), 4)
    derive(
        logged.TOP_SHARE, "counts", lambda v: round((v.max() / v.sum().clamp_min(1)).item(), 5), 5
    )
