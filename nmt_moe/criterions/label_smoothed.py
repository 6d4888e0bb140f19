"""``--criterion moe_label_smoothed_cross_entropy``."""

import math
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from fairseq.criterions import register_criterion
from fairseq.criterions.label_smoothed_cross_entropy import (
    LabelSmoothedCrossEntropyCriterion,
    LabelSmoothedCrossEntropyCriterionConfig,
)
from fairseq.logging import metrics
from torch import Tensor

from nmt_moe import ranges
from nmt_moe.criterions.balance import (
    balance_losses,
    log_balance,
    logging_vectors,
    threshold_loss,
)
from nmt_moe.criterions.collapse import Limits, watch
from nmt_moe.criterions.cross_entropy import smoothed_cross_entropy
from nmt_moe.ranges import option, real, whole
from nmt_moe.report import tensorboard


@dataclass
class MoELabelSmoothedCrossEntropyConfig(LabelSmoothedCrossEntropyCriterionConfig):
    moe_importance_weight: float = option(
        0.01, real(0), "weight of CV(importance)^2 in the training loss"
    )
    moe_load_weight: float = option(0.01, real(0), "weight of CV(load)^2 in the training loss")
    moe_threshold_weight: float = option(
        0.1, real(0), "weight of the loss that teaches strictly balanced gating its thresholds"
    )
    moe_collapse_load: float = option(
        5.0, real(0), "warn of an expert with more than this times the mean load; 0: never"
    )
    moe_collapse_dead: float = option(
        0.1, real(0), "warn when more than this share of experts gets no token; 0: never"
    )
    moe_collapse_updates: int = option(
        100, whole(0), "warn once either has lasted for so many updates in a row; 0: never"
    )


@register_criterion(
    "moe_label_smoothed_cross_entropy", dataclass=MoELabelSmoothedCrossEntropyConfig
)
class MoELabelSmoothedCrossEntropy(LabelSmoothedCrossEntropyCriterion):
    """Label-smoothed cross entropy, plus the losses of the experts' gates while training.

    The gradient is that of ``cross entropy per token + w_importance * CV(importance)^2 +
    w_load * CV(load)^2``, the squares summed over the MoE layers and taken per batch; over
    several batches per update (``--update-freq``, several processes) they are averaged by
    tokens. Strictly balanced gating adds ``w_threshold * L_batchwise``, a sum over tokens as the
    cross entropy is (appendix F).
    The logged ``loss`` is the cross entropy alone.
    """

    # fairseq reduces logs in a method of the class, without the instance that has the options.
    collapse_limits = Limits()

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
    ) -> None:
        ranges.check(MoELabelSmoothedCrossEntropyConfig, SimpleNamespace(**locals()))
        super().__init__(task, sentence_avg, label_smoothing, ignore_prefix_size, report_accuracy)
        self.importance_weight = moe_importance_weight
        self.load_weight = moe_load_weight
        self.threshold_weight = moe_threshold_weight
        type(self).collapse_limits = Limits(
            load=moe_collapse_load, dead=moe_collapse_dead, updates=moe_collapse_updates
        )
        tensorboard.install()

    def forward(self, model: Any, sample: dict, reduce: bool = True) -> tuple:
        """The loss to differentiate, its sample size, and what to log."""
        net_output = model(**sample["net_input"])
        loss, nll_loss = self.compute_loss(model, net_output, sample, reduce=reduce)
        sample_size = sample["target"].size(0) if self.sentence_avg else sample["ntokens"]
        logging_output = {
            "loss": loss.data,
            "nll_loss": nll_loss.data,
            "ntokens": sample["ntokens"],
            "nsentences": sample["target"].size(0),
            "sample_size": sample_size,
        }
        if self.report_accuracy:
            n_correct, total = self.compute_accuracy(model, net_output, sample)
            logging_output["n_correct"], logging_output["total"] = n_correct.data, total.data
        # A model without mixtures of experts, such as fairseq's own, has no routing.
        routing = net_output[1].get("routing") if isinstance(net_output[1], dict) else None
        if routing:
            importance, load = balance_losses(routing)
            # fairseq divides gradients and sums by the sample size.
            importance_loss = self.importance_weight * sample_size * importance
            load_loss = self.load_weight * sample_size * load
            loss = loss + importance_loss + load_loss
            logging_output["moe_importance_loss"] = importance_loss.detach()
            logging_output["moe_load_loss"] = load_loss.detach()
            thresholds = threshold_loss(routing)
            if thresholds is not None:  # a sum over tokens, as the cross entropy is
                loss = loss + self.threshold_weight * thresholds
                logging_output["moe_threshold_loss"] = self.threshold_weight * thresholds.detach()
            vectors = logging_vectors(routing, sample["net_input"], self.padding_idx)
            logging_output.update(vectors)
        if self.training:
            # NaN and Inf reach the gradient, whose norm fairseq looks at; else a factor of 1.
            loss = loss * (1 + 0 * loss.detach())
        return loss, sample_size, logging_output

    def compute_loss(
        self, model: Any, net_output: tuple, sample: dict, reduce: bool = True
    ) -> tuple[Tensor, Tensor]:
        """The cross entropy and the negative log likelihood, summed over tokens."""
        extra = net_output[1]
        ours = isinstance(extra, dict) and "routing" in extra  # then these are logits
        if not (ours and reduce) or self.ignore_prefix_size:
            return super().compute_loss(model, net_output, sample, reduce)
        logits_NV = net_output[0].flatten(0, 1)
        target_N = model.get_targets(sample, net_output).flatten()
        return smoothed_cross_entropy(logits_NV, target_N, self.eps, self.padding_idx)

    @classmethod
    def reduce_metrics(cls, logging_outputs: list[dict[str, Any]]) -> None:
        """Log the cross entropy, the gates' losses in the same unit, and the balance."""
        super().reduce_metrics(logging_outputs)
        sample_size = sum(log.get("sample_size", 0) for log in logging_outputs)
        for name in ("moe_importance_loss", "moe_load_loss", "moe_threshold_loss"):
            if logging_outputs and name in logging_outputs[0]:
                total = sum(log[name] for log in logging_outputs)
                bits = total / sample_size / math.log(2)
                metrics.log_scalar(name, bits, sample_size, priority=50, round=4)
        watch(log_balance(logging_outputs), cls.collapse_limits)
