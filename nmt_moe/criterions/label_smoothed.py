"""``--criterion moe_label_smoothed_cross_entropy``."""

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from fairseq.criterions import register_criterion
from fairseq.criterions.label_smoothed_cross_entropy import LabelSmoothedCrossEntropyCriterionConfig
from torch import Tensor

from nmt_moe.common import ranges
from nmt_moe.common.ranges import numbers, option
from nmt_moe.criterions.balanced import BalanceConfig, Balanced
from nmt_moe.criterions.cross_entropy import smoothed_cross_entropy
from nmt_moe.criterions.ours import logits_of
from nmt_moe.criterions.r_drop import Divergent, halved, twice
from nmt_moe.criterions.real_rows import HEAD, RealRows, pays, takes_head


@dataclass
class MoELabelSmoothedCrossEntropyConfig(BalanceConfig, LabelSmoothedCrossEntropyCriterionConfig):
    """The options of fairseq's criterion, those of the balance losses, and R-Drop."""

    r_drop: float = option(
        0.0,
        numbers(0),
        "compute each batch twice in training, with other dropout, and add the divergence of both "
        "distributions to the loss with this weight, 5 in the paper (R-Drop, Liang et al. 2021); "
        "takes twice the time and memory; 0: once",
    )


@register_criterion(
    "moe_label_smoothed_cross_entropy", dataclass=MoELabelSmoothedCrossEntropyConfig
)
class MoELabelSmoothedCrossEntropy(Balanced, Divergent):
    """Label-smoothed cross entropy, plus the losses of the gates while training.

    The gradient is that of ``cross entropy per token + w_importance * CV(importance)^2 + w_load *
    CV(load)^2``. The squares are summed over the MoE layers and taken per batch; over several
    batches per update (``--update-freq``, several processes) they are averaged by tokens. Strictly
    balanced gating adds ``w_threshold * L_batchwise``, a sum over tokens as the cross entropy is
    (appendix F). The logged ``loss`` is the cross entropy alone.

    With ``--r-drop`` the balance losses are those of the tokens of both passes.
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
        r_drop: float = 0.0,
    ) -> None:
        options = SimpleNamespace(**locals())
        ranges.check(MoELabelSmoothedCrossEntropyConfig, options)
        super().__init__(task, sentence_avg, label_smoothing, ignore_prefix_size, report_accuracy)
        self.set_balance(options)
        self.r_drop = r_drop
        self._real_rows = RealRows()

    def forward(self, model: Any, sample: dict, reduce: bool = True) -> tuple:
        """The loss to differentiate, its sample size, and what to log."""
        if not (self.r_drop and model.training):
            return super().forward(model, self._with_head(model, sample, reduce), reduce)
        return halved(*super().forward(model, twice(sample), reduce))

    def _with_head(self, model: Any, sample: dict, reduce: bool) -> dict:
        """The batch, with which the model makes the loss itself where nobody needs more of it."""
        more = not reduce or self.ignore_prefix_size or self.report_accuracy
        more = more or type(self).compute_loss is not MoELabelSmoothedCrossEntropy.compute_loss
        target = sample.get("target")
        if more or target is None or not pays(target) or not takes_head(model):
            return sample
        head = self._real_rows.head(
            model.get_targets(sample, None), sample["ntokens"], self.eps, self.padding_idx
        )
        return sample | {"net_input": sample["net_input"] | {HEAD: head}}

    def compute_loss(
        self, model: Any, net_output: tuple, sample: dict, reduce: bool = True
    ) -> tuple[Tensor, Tensor]:
        """The cross entropy and the negative log likelihood, summed over tokens."""
        if HEAD in sample["net_input"]:
            loss, nll = net_output[0]
            return loss, nll.detach()
        logits_NV = logits_of(model, net_output) if reduce and not self.ignore_prefix_size else None
        if logits_NV is None:
            return super().compute_loss(model, net_output, sample, reduce)
        target_N = model.get_targets(sample, net_output).flatten()
        return smoothed_cross_entropy(logits_NV, target_N, self.eps, self.padding_idx)
