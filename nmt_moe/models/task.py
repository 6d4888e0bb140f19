"""Checks and changes of fairseq's tasks that a training of our models needs."""

import logging
from contextlib import nullcontext
from dataclasses import fields
from typing import Any

from fairseq.distributed.utils import get_global_rank
from fairseq.tasks.language_modeling import LanguageModelingTask
from fairseq.tasks.masked_lm import MaskedLMTask
from fairseq.tasks.multilingual_language_modeling import MultilingualLanguageModelingTask
from fairseq.tasks.multilingual_translation import MultilingualTranslationTask
from fairseq.tasks.translation import TranslationTask
from omegaconf import DictConfig, open_dict
from torch import nn

from nmt_moe.common.errors import UserError
from nmt_moe.criterions.balanced import BalanceConfig, balance
from nmt_moe.models.config import StackConfig
from nmt_moe.moe import MixtureOfExperts
from nmt_moe.moe.gating import NoisyTopKGate, StrictlyBalancedGate
from nmt_moe.moe.hierarchy import HierarchicalGate

_LOGGER = logging.getLogger(__name__)


def check_task(arch: str, task: type, language_model: bool) -> None:
    """Raise a :class:`UserError` if a translation model is given a task of language modelling, or a
    language model one of translation, or any one of several models or of encoders; other tasks are
    not checked."""
    if issubclass(task, MaskedLMTask):
        raise UserError(f"--arch {arch} cannot fill gaps: --task masked_lm is for encoders alone")
    if issubclass(task, MultilingualTranslationTask):
        raise UserError(
            f"--arch {arch} is one model: several pairs of languages need "
            "--task translation_multi_simple_epoch"
        )
    if language_model and issubclass(task, TranslationTask):
        raise UserError(f"--arch {arch} is a language model: it needs --task language_modeling")
    if not language_model and issubclass(
        task, LanguageModelingTask | MultilingualLanguageModelingTask
    ):
        raise UserError(f"--arch {arch} is a translation model: it needs --task translation")


def end_workers(task: Any) -> None:
    """End the processes that load batches (``--num-workers``) with each epoch.

    fairseq keeps them for the next epoch. Here each epoch has a new iterator
    (:func:`nmt_moe.fairseq_fixes.training_options.configure`), so the old processes would stay
    until Python collects the old iterator, and add up.
    """
    cfg = getattr(task, "cfg", None)
    if cfg is not None:  # else a model without a training
        with open_dict(cfg) if isinstance(cfg, DictConfig) else nullcontext():
            cfg.persistent_workers = False


def balance_experts(model: nn.Module, task: Any, cfg: StackConfig) -> None:
    """Add the balance losses to every criterion that the task builds for this model.

    fairseq's criterions do not have them. Without them a few experts get most of the tokens, and
    the thresholds of strictly balanced gating are never trained. Their weights are options of the
    model, too, as not every criterion has them.
    """
    named = {option.name: getattr(cfg, option.name) for option in fields(BalanceConfig)}
    given = {name: value for name, value in named.items() if value is not None}
    build = getattr(task, "build_criterion", None)
    if build is None or not any(isinstance(part, MixtureOfExperts) for part in model.modules()):
        return

    def build_criterion(*args: Any, **kwargs: Any) -> Any:
        criterion = balance(build(*args, **kwargs), given)
        text = without_gradient(model)
        if text and get_global_rank() == 0:
            _LOGGER.warning(text)
        return criterion

    task.build_criterion = build_criterion


def without_gradient(model: nn.Module) -> str | None:
    """The warning for gates that get no gradient from the loss because k is 1, or None.

    A softmax over one logit is constant. In a hierarchy k applies to both levels, so both are
    constant. Strictly balanced gates are not affected: some of their tokens have several experts.
    """
    gates = [part.gate for part in model.modules() if isinstance(part, MixtureOfExperts)]
    flat = [gate.primary if isinstance(gate, HierarchicalGate) else gate for gate in gates]
    dead = [gate for gate in flat if gate.k == 1 and not isinstance(gate, StrictlyBalancedGate)]
    if not any(gate.num_experts > 1 for gate in gates) or not dead:
        return None
    moved = (
        "only the load loss moves them"
        if isinstance(dead[0], NoisyTopKGate)
        else ("nothing moves them")
    )
    return (
        "--moe-k 1: the weight of a token's only expert is 1 whatever its gate says, so the "
        f"gradient of the gates is 0 and {moved}: use --moe-k 2 or more, or --moe-gating "
        "strictly_balanced"
    )
