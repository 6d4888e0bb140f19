"""The options of the translation model, each an option of ``fairseq-train``."""

from dataclasses import dataclass, field

from fairseq.dataclass import ChoiceEnum, FairseqDataclass

from nmt_moe.errors import UserError
from nmt_moe.models.attention import ATTENTIONS
from nmt_moe.moe.gating import GATES


@dataclass
class LSTMMoEConfig(FairseqDataclass):
    dim: int = field(
        default=512, metadata={"help": "width of every layer's input and output, embeddings too"}
    )
    lstm_cells: int = field(
        default=2048,
        metadata={"help": "cells of each LSTM, projected to --dim; equal to --dim: no projection"},
    )
    encoder_layers: int = field(default=3, metadata={"help": "LSTM layers of the encoder"})
    decoder_layers: int = field(default=2, metadata={"help": "LSTM layers of the decoder"})
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
    feed_forward: ChoiceEnum(["moe", "dense", "none"]) = field(  # type: ignore[valid-type]
        default="moe",
        metadata={
            "help": "what stands at the positions below: mixtures of experts; dense: one "
            "feed-forward of equal active size, k times the expert width; none: nothing"
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
    moe_experts: int = field(default=32, metadata={"help": "experts in each MoE layer"})
    moe_k: int = field(default=4, metadata={"help": "experts that see each token"})
    moe_hidden_dim: int = field(default=2048, metadata={"help": "hidden width of an expert"})
    moe_gating: ChoiceEnum(list(GATES)) = field(  # type: ignore[valid-type]
        default="noisy_top_k",
        metadata={"help": "how experts are chosen; top_k: without noise, for comparison"},
    )
    no_moe_sigmoid: bool = field(
        default=False,
        metadata={"help": "leave out the sigmoid on the output of MoE and dense layers"},
    )
    dropout: float = field(
        default=0.4,
        metadata={"help": "dropout on the output of every embedding, LSTM and MoE layer"},
    )


def moe_positions(cfg: LSTMMoEConfig, side: str) -> list[int]:
    """The 1-based numbers of the ``encoder``'s or ``decoder``'s layers that a MoE follows.

    Raises:
        UserError: not a list of numbers, or a number outside the stack.
    """
    text, layers = getattr(cfg, f"{side}_moe_after"), getattr(cfg, f"{side}_layers")
    option = f"--{side}-moe-after {text!r}"
    try:
        positions = [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise UserError(f"{option} is not a list of layer numbers such as 1,2") from None
    for position in positions:
        if not 1 <= position <= layers:
            raise UserError(
                f"{option}: there is no layer {position}, the {side} has layers 1 to {layers}"
            )
    return sorted(set(positions))


def check(cfg: LSTMMoEConfig) -> None:
    """Raise a :class:`UserError` that names the first option that does not fit the others."""
    counts = ("dim", "lstm_cells", "encoder_layers", "decoder_layers")
    for name in (*counts, "moe_experts", "moe_k", "moe_hidden_dim"):
        if getattr(cfg, name) < 1:
            raise UserError(f"{_option(name)} must be at least 1, not {getattr(cfg, name)}")
    if cfg.lstm_cells < cfg.dim:
        raise UserError(
            f"--lstm-cells {cfg.lstm_cells} is less than --dim {cfg.dim}: an LSTM's output is "
            "a projection of its cells to a smaller width; give at least as many cells"
        )
    if cfg.encoder_bidirectional and (cfg.dim % 2 or cfg.lstm_cells % 2):
        raise UserError("--encoder-bidirectional needs an even --dim and even --lstm-cells")
    if cfg.moe_k > cfg.moe_experts:
        raise UserError(
            f"--moe-k {cfg.moe_k} is more than --moe-experts {cfg.moe_experts}: "
            f"choose from 1 to {cfg.moe_experts}"
        )
    if not 0 <= cfg.dropout < 1:
        raise UserError(f"--dropout {cfg.dropout} must be at least 0 and less than 1")
    for side in ("encoder", "decoder"):
        moe_positions(cfg, side)


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")
