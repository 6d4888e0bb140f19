"""``--criterion moe_label_smoothed_cross_entropy``."""

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from fairseq.criterions import register_criterion
from fairseq.criterions.label_smoothed_cross_entropy import (
    LabelSmoothedCrossEntropyCriterion,
    LabelSmoothedCrossEntropyCriterionConfig,
)
from torch import Tensor

from nmt_moe.common import ranges
from nmt_moe.criterions.balanced import BalanceConfig, Balanced
from nmt_moe.criterions.cross_entropy import smoothed_cross_entropy


@dataclass
class MoELabelSmoothedCrossEntropyConfig(BalanceConfig, LabelSmoothedCrossEntropyCriterionConfig):
    """The options of fairseq's criterion and those of the balance losses."""


@register_criterion(
    "moe_label_smoothed_cross_entropy", dataclass=MoELabelSmoothedCrossEntropyConfig
)
class MoELabelSmoothedCrossEntropy(Balanced, LabelSmoothedCrossEntropyCriterion):
    """Label-smoothed cross entropy, plus the losses of the gates while training.

    The gradient is that of ``cross entropy per token + w_importance * CV(importance)^2 + w_load *
    CV(load)^2``. The squares are summed over the MoE layers and taken per batch; over several
    batches per update (``--update-freq``, several processes) they are averaged by tokens. Strictly
    balanced gating adds ``w_threshold * L_batchwise``, a sum over tokens as the cross entropy is
    (appendix F). The logged ``loss`` is the cross entropy alone.
    """

    def __init__(
        self,
        task: Any,
        sentence_avg: bool,
        label_smoothing: float,
        ignore_prefix_size: int,
        report_accuracy: bool,
        moe_importance_weight: float,
        moe_load_weight: float,
        moe_threshold_weight: float,
        moe_collapse_load: float,
        moe_collapse_dead: float,
        moe_collapse_updates: int,
        attention_dead_share: float = BalanceConfig.attention_dead_share,
        attention_dead_updates: int = BalanceConfig.attention_dead_updates,
    ) -> None:
        options = SimpleNamespace(**locals())
        ranges.check(MoELabelSmoothedCrossEntropyConfig, options)
        super().__init__(task, sentence_avg, label_smoothing, ignore_prefix_size, report_accuracy)
        self.set_balance(options)

    def compute_loss(
        self, model: Any, net_output: tuple, sample: dict, reduce: bool = True
    ) -> tuple[Tensor, Tensor]:
        """The cross entropy and the negative log likelihood, summed over tokens."""
        extra = net_output[1]
        ours = isinstance(extra, dict) and "routing" in extra  # then these are logits, or features
        ours = ours and model.decoder.adaptive_softmax is None
        if not (ours and reduce) or self.ignore_prefix_size:
            return super().compute_loss(model, net_output, sample, reduce)
        logits_NV = net_output[0].flatten(0, 1)
        target_N = model.get_targets(sample, net_output).flatten()
        return smoothed_cross_entropy(logits_NV, target_N, self.eps, self.padding_idx)
