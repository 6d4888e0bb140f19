"""The options of the models, each an option of ``fairseq-train``."""

import argparse
from dataclasses import dataclass, field
from typing import Any

from fairseq.dataclass import ChoiceEnum, FairseqDataclass

from nmt_moe.common import ranges
from nmt_moe.common.errors import UserError
from nmt_moe.common.ranges import integers, numbers, option
from nmt_moe.models.attention import ATTENTIONS
from nmt_moe.moe.gating import GATES


@dataclass
class StackConfig(FairseqDataclass):
    """What every stack of LSTM and MoE layers has."""

    dim: int = option(512, integers(1), "width of every layer's input and output, embeddings too")
    lstm_cells: int = option(
        2048, integers(1), "cells of each LSTM, projected to --dim; equal to --dim: no projection"
    )
    feed_forward: ChoiceEnum(["moe", "dense", "deep", "none"]) = field(  # type: ignore[valid-type]
        default="moe",
        metadata={
            "help": "what stands between LSTM layers: mixtures of experts; dense: one "
            "feed-forward of equal active size, as many times the expert width as experts see "
            "a token; deep: one with as many hidden layers of that width; none: nothing"
        },
    )
    moe_experts: int = option(32, integers(1), "experts in each MoE layer")
    moe_k: int = option(
        4, integers(1), "experts that see each token; with 1 the loss gives top-k gates no gradient"
    )
    moe_groups: int = option(
        1,
        integers(1),
        "groups of experts under a primary gate (appendix B); k counts at both "
        "levels; 1: no hierarchy",
    )
    moe_hidden_dim: int = option(2048, integers(1), "hidden width of an expert")
    moe_gating: ChoiceEnum(list(GATES)) = field(  # type: ignore[valid-type]
        default="noisy_top_k",
        metadata={
            "help": "how experts are chosen: noisy_top_k (section 2.1), strictly_balanced "
            "(appendix F), or, for comparison, top_k without noise"
        },
    )
    moe_recompute: bool = field(
        default=False,
        metadata={
            "help": "compute the experts' hidden activations again in the backward pass "
            "instead of keeping them (appendix D)"
        },
    )
    moe_expert_parallel_size: int = option(
        0,
        integers(0),
        "processes of a distributed training that share the experts, each holding "
        "its own (section 3.1); 0: as many as divide both; 1: each process holds all",
    )
    moe_sharded_checkpoint: bool = field(
        default=False,
        metadata={
            "help": "every process writes its own part of a checkpoint, with its experts, for "
            "models that are too large for the memory of one; python -m nmt_moe.checkpoint "
            "makes one file of them"
        },
    )
    # fairseq's own switch to one file per process, where it is above 0.
    base_layers: int = option(0, integers(0), argparse.SUPPRESS)
    no_moe_sigmoid: bool = field(
        default=False,
        metadata={"help": "leave out the sigmoid on the output of MoE and dense layers"},
    )
    dropout: float = option(
        0.4,
        numbers(0, 1, exclusive_high=True),
        "dropout on the output of every embedding, LSTM and MoE layer",
    )


@dataclass
class LSTMMoEConfig(StackConfig):
    """The translation model (appendix E)."""

    encoder_layers: int = option(3, integers(1), "LSTM layers of the encoder")
    decoder_layers: int = option(2, integers(1), "LSTM layers of the decoder")
    encoder_bidirectional: bool = field(
        default=False,
        metadata={
            "help": "encoder layer 1 reads in both directions, with half of the cells and "
            "half of the width for each (the paper's reads forward only)"
        },
    )
    attention: ChoiceEnum(list(ATTENTIONS)) = field(  # type: ignore[valid-type]
        default="multiplicative",
        metadata={"help": "attention function: the paper's (appendix G), or GNMT's additive one"},
    )
    attention_residual: bool = field(
        default=False,
        metadata={
            "help": "add the attention context, through a matrix, to the output of decoder "
            "layer 1, so that all above reads it, as GNMT's upper layers do (the paper's do not)"
        },
    )
    encoder_moe_after: str = field(
        default="2",
        metadata={"help": "encoder layers followed by a MoE layer, such as 1,2; empty for none"},
    )
    decoder_moe_after: str = field(
        default="1",
        metadata={"help": "decoder layers followed by a MoE layer, such as 1; empty for none"},
    )


def _default(name: str, value: Any) -> Any:
    """A shared option with another default."""
    return field(default=value, metadata=StackConfig.__dataclass_fields__[name].metadata)


@dataclass
class LSTMMoELanguageModelConfig(StackConfig):
    """The language model; its defaults are the paper's MoE-32 (appendix C)."""

    lstm_cells: int = _default("lstm_cells", 512)
    moe_hidden_dim: int = _default("moe_hidden_dim", 1024)
    dropout: float = _default("dropout", 0.1)
    layers: int = option(2, integers(1), "LSTM layers")
    moe_after: str = field(
        default="1",
        metadata={"help": "LSTM layers followed by a MoE layer, such as 1; empty for none"},
    )


def moe_positions(cfg: StackConfig, side: str = "") -> list[int]:
    """The 1-based numbers of the layers that a MoE follows.

    Args:
        cfg: a model's options.
        side: ``encoder`` or ``decoder``; empty for the language model, which has but one.

    Raises:
        UserError: not a list of numbers, or a number outside the stack.
    """
    prefix = f"{side}_" if side else ""
    text, layers = getattr(cfg, f"{prefix}moe_after"), getattr(cfg, f"{prefix}layers")
    given = f"{ranges.name_of(prefix)}moe-after {text!r}"
    try:
        positions = [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise UserError(f"{given} is not a list of layer numbers such as 1,2") from None
    for position in positions:
        if not 1 <= position <= layers:
            raise UserError(
                f"{given}: there is no layer {position}, the {side or 'model'} has layers "
                f"1 to {layers}"
            )
    return sorted(set(positions))


def check(cfg: StackConfig) -> None:
    """Raise a :class:`UserError` that names the first option that does not fit the others."""
    translates = hasattr(cfg, "encoder_layers")
    ranges.check(LSTMMoEConfig if translates else LSTMMoELanguageModelConfig, cfg)
    if cfg.lstm_cells < cfg.dim:
        raise UserError(
            f"--lstm-cells {cfg.lstm_cells} is less than --dim {cfg.dim}: an LSTM's output is "
            "a projection of its cells to a smaller width; give at least as many cells"
        )
    if getattr(cfg, "encoder_bidirectional", False) and (cfg.dim % 2 or cfg.lstm_cells % 2):
        raise UserError("--encoder-bidirectional needs an even --dim and even --lstm-cells")
    _check_experts(cfg)
    for side in ("encoder", "decoder") if translates else ("",):
        moe_positions(cfg, side)


def _check_experts(cfg: StackConfig) -> None:
    k, groups, experts = cfg.moe_k, cfg.moe_groups, cfg.moe_experts
    if experts % groups:
        raise UserError(
            f"--moe-experts {experts} cannot be divided into --moe-groups {groups} of one size"
        )
    if groups == 1 and k > experts:
        raise UserError(
            f"--moe-k {k} is more than --moe-experts {experts}: choose from 1 to {experts}"
        )
    if groups > 1 and k > min(groups, experts // groups):
        raise UserError(
            f"--moe-k {k} counts at both levels: --moe-groups {groups} and the "
            f"{experts // groups} experts of each group must be at least as many"
        )
