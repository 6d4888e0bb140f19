"""Figures of attention in the log, and a warning when attention has died.

Dead attention puts all of its weight on one source position, often the end of the sentence, in
every step: the translation is fluent text about something else.
"""

import logging
import math
from dataclasses import dataclass

import torch
from fairseq.distributed import utils as distributed_utils
from fairseq.logging import meters, metrics
from torch import Tensor

from nmt_moe.common import logged
from nmt_moe.criterions.collapse import in_training

_LOGGER = logging.getLogger(__name__)
VECTOR = "attention/decoder.1"
"""The key of :func:`attention_sums` in a logging output; in the meters with ``_`` before it."""
_ALL = 0.99
"""A step with more than this on one position reads nothing else."""
_POSITIONS = 4
"""Of a shorter source (two pieces and the end) one position can tell all."""

_FIGURES = (logged.ENTROPY, logged.TOP_SHARE, logged.LAST_SHARE, logged.STUCK)


@dataclass(frozen=True)
class Limits:
    """When attention counts as dead; with 0 in either field it never does.

    The criterion's defaults are 0.75 and 100. In trainings whose attention died, 83% or more of the
    steps were stuck for hundreds of updates; in those that follow their source, steps are stuck
    only within the pieces of a word.
    """

    share: float = 0.0
    """The share of steps that put all of their weight where the step before has put its own."""
    updates: int = 0
    """For how many updates in a row it must be more."""


def attention_sums(attn_BLS: Tensor, source_BS: Tensor, read_BL: Tensor, pad: int) -> Tensor:
    """``[6]``: sums over the steps of a batch, which add up over batches and processes.

    They are the number of steps, the entropy of their weights in bits, the weight of their top
    position, and that of the last source position; then of the steps after a sentence's first,
    of sources with at least four positions, their number, and how many of them are stuck: over
    99% of the weight on a position that had so much in the step before.

    Args:
        attn_BLS: the weights; 0 on the source's padding.
        source_BS: the source, padded on either side.
        read_BL: what the decoder reads; padding is no step.
        pad: the padding symbol.
    """
    attn_BLS = attn_BLS.detach().float()
    real_BS, step_BL = source_BS != pad, read_BL != pad
    length_B = real_BS.sum(1)
    last_BS = real_BS & (real_BS.flip(1).cumsum(1).flip(1) == 1)
    all_BLS = attn_BLS > _ALL
    stuck_BL = (all_BLS[:, 1:] & all_BLS[:, :-1]).any(2)
    later_BL = step_BL[:, 1:] & (length_B >= _POSITIONS).unsqueeze(1)
    sums = [
        step_BL.sum(),
        (torch.special.entr(attn_BLS).sum(2) * step_BL).sum() / math.log(2),
        (attn_BLS.amax(2) * step_BL).sum(),
        (torch.einsum("bls,bs->bl", attn_BLS, last_BS.float()) * step_BL).sum(),
        later_BL.sum(),
        (stuck_BL & later_BL).sum(),
    ]
    return torch.stack([x.float() for x in sums])


def figures(sums_6: Tensor) -> dict[str, float]:
    """The means over the steps, by the name that the log has; 0 without any step."""
    steps, entropy, top, last, later, stuck = sums_6.tolist()
    steps, later = max(steps, 1), max(later, 1)
    values = (
        round(entropy / steps, 3),
        round(top / steps, 4),
        round(last / steps, 4),
        round(stuck / later, 4),
    )
    return dict(zip(_FIGURES, values, strict=True))


def log_attention(sums_6: Tensor) -> None:
    """Log the figures of all steps since the last line of the log."""
    metrics.log_custom(meters.SumMeter, f"_{VECTOR}", sums_6)
    for place, name in enumerate(_FIGURES):
        metrics.log_derived(
            logged.of_attention(name),
            lambda found, name=name: figures(found[f"_{VECTOR}"].sum)[name],
            priority=logged.AFTER_FAIRSEQS + 5 + place,
        )


def watch(sums_6: Tensor, limits: Limits) -> None:
    """Warn, once in a training, when attention has died.

    As :func:`nmt_moe.criterions.collapse.watch`, it does nothing in a validation, and its count
    continues after a resume.

    Args:
        sums_6: from :func:`attention_sums` of this update.
        limits: when attention counts as dead.
    """
    later = sums_6[4].item()
    if not limits.updates or not limits.share or not later or not in_training():
        return
    with metrics.aggregate("attention_dead", new_root=True) as kept:
        if "told" in kept:
            return
        before = kept["updates"].val if "updates" in kept else 0
        dead = figures(sums_6)[logged.STUCK] > limits.share
        streak = before + 1 if dead else 0
        metrics.log_scalar("updates", streak, weight=0)  # 0: the latest replaces the one before
        if streak < limits.updates:
            return
        metrics.log_scalar("told", 1)
    if distributed_utils.get_global_rank() == 0:
        now = figures(sums_6)
        _LOGGER.warning(
            f"attention is dead: for {limits.updates} updates {now[logged.STUCK]:.0%} of the "
            "decoder's steps have stayed with one source position and read nothing else "
            f"({now[logged.LAST_SHARE]:.0%} of the weight is on the last one), so translations "
            "will not follow their source. It seldom comes back: start anew with a lower --lr, a "
            "longer --warmup-updates or the other --attention; see 'When attention dies' in "
            "docs/training.md. Not said again in this training"
        )
