"""Whether a model's attention follows the source: figures over a text, and their interpretation."""

from typing import Any

import torch

from nmt_moe.criterions.attention import attention_sums, figures
from nmt_moe.criterions.balanced import BalanceConfig
from nmt_moe.report.experts.batches import Batch

_MUCH = 0.5
"""More weight than this on the end of the sentence is worth a look."""


class AttentionTally:
    """Accumulates the attention of batches."""

    def __init__(self, pad: int) -> None:
        self._pad = pad
        self._sums_6 = torch.zeros(6, dtype=torch.float64)

    def add(self, batch: Batch) -> None:
        """Count the steps of a batch; a language model has none."""
        if batch.attention_BLS is None or batch.source_BS is None:
            return
        source_BS, read_BL = torch.from_numpy(batch.source_BS), torch.from_numpy(batch.read_BL)
        self._sums_6 += attention_sums(batch.attention_BLS.cpu(), source_BS, read_BL, self._pad)

    def content(self) -> dict[str, Any] | None:
        """The figures of the log, whether attention is dead, and the verdict as a sentence; None
        without attention."""
        if not self._sums_6[0]:
            return None
        found = figures(self._sums_6)
        dead = found["stuck"] > BalanceConfig.attention_dead_share
        return {**found, "dead": dead, "verdict": verdict(found, dead)}


def verdict(found: dict[str, float], dead: bool) -> str:
    """The figures in a sentence."""
    stuck, last = f"{found['stuck']:.0%}", f"{found['last_share']:.0%}"
    if dead:
        return (
            f"Attention is dead: {stuck} of the steps look only at the source position that the "
            f"step before looked at ({last} of the weight is on the last one), so translations do "
            "not follow their source. Train anew; see 'When attention dies' in docs/training.md."
        )
    if found["last_share"] > _MUCH:
        return (
            f"Attention reads little of the source: {last} of the weight is on its end, so "
            "translations may leave out parts of it."
        )
    return (
        f"Attention follows the source: {stuck} of the steps look only at the source position that "
        f"the step before looked at; above {BalanceConfig.attention_dead_share:.0%} it is dead."
    )
