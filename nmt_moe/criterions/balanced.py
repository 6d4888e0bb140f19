"""The losses of the gates, added to any criterion."""

import logging
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from types import SimpleNamespace
from typing import Any

from fairseq.criterions import FairseqCriterion
from fairseq.logging import metrics
from torch import Tensor, nn

from nmt_moe.common import logged
from nmt_moe.common.errors import UserError
from nmt_moe.common.ranges import integers, numbers, option
from nmt_moe.criterions import attention
from nmt_moe.criterions.balance import (
    balance_losses,
    counts_of,
    log_balance,
    logging_vectors,
    threshold_loss,
    vector_totals,
)
from nmt_moe.criterions.collapse import Limits, in_training, watch
from nmt_moe.criterions.late import Late
from nmt_moe.moe.routing import Routing

_LOGGER = logging.getLogger(__name__)
OURS = "--criterion moe_label_smoothed_cross_entropy"


@dataclass
class BalanceConfig:
    """The weights of the balance losses, and the limits of the warnings."""

    moe_importance_weight: float = option(
        0.01, numbers(0), "weight of CV(importance)^2 in the training loss"
    )
    moe_load_weight: float = option(0.01, numbers(0), "weight of CV(load)^2 in the training loss")
    moe_threshold_weight: float = option(
        0.1, numbers(0), "weight of the loss that teaches strictly balanced gating its thresholds"
    )
    moe_collapse_load: float = option(
        5.0, numbers(0), "warn of an expert with more than this times the mean load; 0: never"
    )
    moe_collapse_dead: float = option(
        0.1, numbers(0), "warn when more than this share of experts gets no token; 0: never"
    )
    moe_collapse_updates: int = option(
        100, integers(0), "warn once either has lasted for so many updates in a row; 0: never"
    )
    attention_dead_share: float = option(
        0.75,
        numbers(0, 1),
        "warn when more than this share of the decoder's steps stays with one source position; "
        "0: never",
    )
    attention_dead_updates: int = option(
        100, integers(0), "warn once that has lasted for so many updates in a row; 0: never"
    )


class Balanced:
    """A base class to put before a criterion of fairseq: adds the losses of the gates to the
    criterion's loss.

    They are multiplied by the sample size, by which fairseq divides gradients and logged sums.
    """

    # fairseq reduces logs in a method of the class, without the instance that has the options.
    balance_options: Any
    collapse_limits = Limits()
    attention_limits = attention.Limits()
    _on_host = Late()
    training: bool
    padding_idx: int

    def set_balance(self, options: Any) -> None:
        """Take the weights and limits from a :class:`BalanceConfig`."""
        self.balance_options = options
        self.importance_weight = options.moe_importance_weight
        self.load_weight = options.moe_load_weight
        self.threshold_weight = options.moe_threshold_weight
        type(self).collapse_limits = Limits(
            load=options.moe_collapse_load,
            dead=options.moe_collapse_dead,
            updates=options.moe_collapse_updates,
        )
        type(self).attention_limits = attention.Limits(
            share=options.attention_dead_share, updates=options.attention_dead_updates
        )

    def forward(self, model: Any, sample: dict, *args: Any, **kwargs: Any) -> tuple:
        """The loss to differentiate, its sample size, and what to log.

        Raises:
            UserError: the criterion has not called the model's ``forward``, so the routing of its
                experts is unknown; not raised for models without experts, such as fairseq's own.
        """
        with _extras_of(model) as calls:
            loss, sample_size, logging_output = super().forward(  # type: ignore[misc]
                model, sample, *args, **kwargs
            )
        if not calls and self.training:
            raise UserError(
                f"the criterion {type(self).__name__} does not call the model as a whole, so its "
                f"experts would be trained without balance losses: use {OURS}"
            )
        for extra in calls:
            routing = extra.get("routing")
            if routing:
                loss = loss + self._gates(routing, sample, sample_size / len(calls), logging_output)
            if routing is not None:  # our model
                self._attention(extra["attn"][0], sample["net_input"], logging_output)
        if self.training:
            # NaN and Inf reach the gradient, whose norm fairseq looks at; else a factor of 1.
            loss = loss * (1 + 0 * loss.detach())
        return loss, sample_size, logging_output

    def _gates(
        self, routing: dict[str, Routing], sample: dict, scale: Any, logging_output: dict
    ) -> Any:
        """The losses of the gates of one call, which are logged, too."""
        importance, load = balance_losses(routing)
        losses = {
            logged.IMPORTANCE_LOSS: self.importance_weight * scale * importance,
            logged.LOAD_LOSS: self.load_weight * scale * load,
        }
        thresholds = threshold_loss(routing)
        if thresholds is not None:  # a sum over tokens, as the cross entropy is
            losses[logged.THRESHOLD_LOSS] = self.threshold_weight * thresholds
        for name, loss in losses.items():
            logging_output[name] = logging_output.get(name, 0) + loss.detach()
        logging_output.update(logging_vectors(routing, sample["net_input"], self.padding_idx))
        return sum(losses.values())

    def _attention(self, attn_BLS: Tensor | None, net_input: dict, logging_output: dict) -> None:
        """What is logged of the attention; a language model has none."""
        read_BL = net_input.get("prev_output_tokens")
        if attn_BLS is not None and read_BL is not None and attn_BLS.shape[:2] == read_BL.shape:
            logging_output[attention.VECTOR] = attention.attention_sums(
                attn_BLS, net_input["src_tokens"], read_BL, self.padding_idx
            )

    @classmethod
    def reduce_metrics(cls, logging_outputs: list[dict[str, Any]]) -> None:
        """Log the criterion's own numbers, the gates' losses in the same unit, and the balance."""
        super().reduce_metrics(logging_outputs)  # type: ignore[misc]
        sample_size = sum(log.get("sample_size", 0) for log in logging_outputs)
        added = (logged.IMPORTANCE_LOSS, logged.LOAD_LOSS, logged.THRESHOLD_LOSS)
        for name in (*added, logged.R_DROP_LOSS):
            if logging_outputs and name in logging_outputs[0]:
                total = sum(log[name] for log in logging_outputs)
                bits = total / sample_size / math.log(2)
                metrics.log_scalar(name, bits, sample_size, priority=logged.AFTER_FAIRSEQS, round=4)
        totals = vector_totals(logging_outputs)
        attended_6 = totals.get(attention.VECTOR)
        if attended_6 is not None:
            attention.log_attention(attended_6)
        log_balance({name: v for name, v in totals.items() if name != attention.VECTOR})
        if in_training():
            cls._watch(cls._on_host(totals))

    @classmethod
    def _watch(cls, totals: dict[str, Tensor]) -> None:
        """Warn of experts that have collapsed and of dead attention."""
        if attention.VECTOR in totals:
            attention.watch(totals[attention.VECTOR], cls.attention_limits)
        watch(counts_of(totals), cls.collapse_limits)


@contextmanager
def _extras_of(model: nn.Module) -> Iterator[list[dict[str, Any]]]:
    """What each call of the model returns beside the logits, in a dict; others' is left empty."""
    calls: list[dict[str, Any]] = []

    def note(module: nn.Module, inputs: Any, output: Any) -> None:
        extra = output[1] if isinstance(output, tuple) and len(output) > 1 else None
        calls.append(extra if isinstance(extra, dict) else {})

    hook = model.register_forward_hook(note)
    try:
        yield calls
    finally:
        hook.remove()


def balance(
    criterion: FairseqCriterion, given: Mapping[str, float] | None = None
) -> FairseqCriterion:
    """Add the balance losses to a criterion that does not have them.

    The new class has the name of the old one, by which fairseq's checkpoints identify it.

    Args:
        criterion: any of fairseq's, or one that has the losses already.
        given: options of :class:`BalanceConfig` by name; the others are the criterion's own, or
            have their defaults.
    """
    given = given or {}
    if isinstance(criterion, Balanced):
        criterion.set_balance(SimpleNamespace(**{**vars(criterion.balance_options), **given}))
    else:
        kind = type(criterion)
        criterion.__class__ = type(kind.__name__, (Balanced, kind), {})
        options = SimpleNamespace(**{**asdict(BalanceConfig()), **given})
        criterion.set_balance(options)
        _LOGGER.info(
            f"{kind.__name__} knows no experts: their balance losses are added to it, with "
            f"--moe-importance-weight {options.moe_importance_weight}, --moe-load-weight "
            f"{options.moe_load_weight} and --moe-threshold-weight {options.moe_threshold_weight}"
        )
    return criterion
