"""``--lr-scheduler warmup_hold_inverse_sqrt``: the paper's schedule (appendix E)."""

from dataclasses import dataclass, field
from typing import Any

from fairseq.dataclass import FairseqDataclass
from fairseq.optim.lr_scheduler import FairseqLRScheduler, register_lr_scheduler
from omegaconf import II

from nmt_moe.common import ranges
from nmt_moe.common.errors import UserError
from nmt_moe.common.ranges import integers, numbers, option


@dataclass
class WarmupHoldInverseSqrtConfig(FairseqDataclass):
    warmup_updates: int = option(
        2000, integers(0), "raise the learning rate linearly for N updates"
    )
    hold_updates: int = option(8000, integers(0), "then keep it at --lr for N updates")
    decay_power: float = option(
        0.5, numbers(0, exclusive_low=True), "then lower it in proportion to update ** -power"
    )
    lr: list[float] = field(default=II("optimization.lr"), metadata={"range": numbers(0)})


@register_lr_scheduler("warmup_hold_inverse_sqrt", dataclass=WarmupHoldInverseSqrtConfig)
class WarmupHoldInverseSqrtSchedule(FairseqLRScheduler):
    """Linear warm-up, a constant stretch, then proportional to ``1 / sqrt(update)``.

    The rate depends only on the number of the update, so a resumed training has the same rates.

    Raises:
        UserError: several learning rates are given, or an option is out of its range.
    """

    def __init__(self, cfg: WarmupHoldInverseSqrtConfig, optimizer: Any) -> None:
        super().__init__(cfg, optimizer)
        if len(cfg.lr) != 1:
            raise UserError(
                "--lr-scheduler warmup_hold_inverse_sqrt takes one --lr, the highest rate, not "
                f"{len(cfg.lr)}"
            )
        ranges.check(WarmupHoldInverseSqrtConfig, cfg)

    def step_update(self, num_updates: int) -> float:
        """Set and return the rate of the update that follows ``num_updates`` others."""
        cfg = self.cfg
        share = share_of_rate(
            num_updates + 1, cfg.warmup_updates, cfg.hold_updates, cfg.decay_power
        )
        self.optimizer.set_lr(cfg.lr[0] * share)
        return self.optimizer.get_lr()


def share_of_rate(update: int, warmup: int, hold: int, power: float) -> float:
    """The rate of an update, counted from 1, relative to the highest rate.

    The first update of a warm-up has ``1 / warmup``, its last one 1; without warm-up and hold, the
    first update has 1 and the second ``2 ** -power``.
    """
    if update < warmup:
        return update / warmup
    flat_until = max(warmup + hold, 1)
    return 1.0 if update <= flat_until else (flat_until / update) ** power
