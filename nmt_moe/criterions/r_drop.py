"""R-Drop (Liang et al. 2021): two passes of a batch with other dropout, drawn to each other.

Both passes are one batch of twice the sentences, which is faster than two.
"""

from typing import Any

import torch.nn.functional as F
from fairseq.criterions.label_smoothed_cross_entropy import LabelSmoothedCrossEntropyCriterion
from torch import Tensor

from nmt_moe.common import logged
from nmt_moe.criterions.cross_entropy import with_divergence
from nmt_moe.criterions.ours import logits_of

_BOTH = "both_passes"  # in a sample: it is one of :func:`twice`
_SUMS = {
    *("loss", "nll_loss", "sample_size", "ntokens", "nsentences", "n_correct", "total"),
    *(logged.IMPORTANCE_LOSS, logged.LOAD_LOSS, logged.THRESHOLD_LOSS, logged.R_DROP_LOSS),
}


def twice(sample: dict[str, Any]) -> dict[str, Any]:
    """A batch with each of its sentences twice, side by side: fairseq sorts them by length."""

    def doubled(value: Any) -> Any:
        rows = isinstance(value, Tensor) and value.dim()
        return value.repeat_interleave(2, dim=0) if rows else value

    both = {name: doubled(value) for name, value in sample["net_input"].items()}
    more = {"target": doubled(sample["target"]), "ntokens": 2 * sample["ntokens"]}
    return sample | more | {"net_input": both, _BOTH: True}


def halved(
    loss: Tensor, sample_size: Any, logging_output: dict[str, Any]
) -> tuple[Tensor, Any, dict[str, Any]]:
    """What a criterion returned of :func:`twice`, as means over both passes."""
    log = {name: x / 2 if name in _SUMS else x for name, x in logging_output.items()}
    for name in ("sample_size", "ntokens", "nsentences"):
        log[name] = logging_output[name] // 2  # they stay whole numbers
    return loss / 2, sample_size // 2, log


class Divergent(LabelSmoothedCrossEntropyCriterion):
    """fairseq's criterion, which adds the divergence of both passes to the loss of :func:`twice`.

    With the halves that :func:`halved` takes, a sentence's loss is the mean of both cross
    entropies plus ``W/4 * (KL(p || q) + KL(q || p))``, summed over its tokens: half of the paper's,
    whose weight ``W`` is.
    """

    r_drop = 0.0

    def forward(self, model: Any, sample: dict, reduce: bool = True) -> tuple:
        """The loss to differentiate, its sample size, and what to log."""
        if _BOTH not in sample:
            return super().forward(model, sample, reduce)
        net_output = model(**sample["net_input"])
        loss, nll, apart = self._of_both(model, net_output, sample)
        sentences = len(sample["target"])
        log = {
            "loss": (loss - self.r_drop / 2 * apart).detach(),
            "nll_loss": nll.detach(),
            logged.R_DROP_LOSS: self.r_drop / 2 * apart.detach(),
            "ntokens": sample["ntokens"],
            "nsentences": sentences,
            "sample_size": sentences if self.sentence_avg else sample["ntokens"],
        }
        if self.report_accuracy:
            correct, total = self.compute_accuracy(model, net_output, sample)
            log |= {"n_correct": correct, "total": total}
        return loss, log["sample_size"], log

    def _of_both(self, model: Any, net_output: Any, sample: dict) -> tuple[Tensor, Tensor, Tensor]:
        """The loss, the negative log likelihood, and the divergences without their weight."""
        logits_NV = None if self.ignore_prefix_size else logits_of(model, net_output)
        if logits_NV is not None:
            target_N = model.get_targets(sample, net_output).flatten()
            factors = (self.eps, self.padding_idx, self.r_drop / 2, sample["target"].shape[1])
            return with_divergence(logits_NV, target_N, *factors)
        loss, nll = self.compute_loss(model, net_output, sample)
        log_NV, target_N = self.get_lprobs_and_target(model, net_output, sample)
        sentences = len(sample["target"]) // 2
        p_BLV, q_BLV = log_NV.view(sentences, 2, -1, log_NV.shape[1]).unbind(1)
        both_BLV = F.kl_div(p_BLV, q_BLV, reduction="none", log_target=True)
        both_BLV = both_BLV + F.kl_div(q_BLV, p_BLV, reduction="none", log_target=True)
        real_BL = target_N.view(sentences, 2, -1)[:, 0] != self.padding_idx
        apart = (both_BLV.sum(2) * real_BL).sum()
        return loss + self.r_drop / 2 * apart, nll, apart
