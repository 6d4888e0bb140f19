"""The hyperparameters of the models; each is an option of ``fairseq-train``."""

import argparse
from collections.abc import Container
from dataclasses import dataclass, field, fields, make_dataclass
from typing import Any, Optional

from fairseq.dataclass import ChoiceEnum, FairseqDataclass

from nmt_moe.common import ranges
from nmt_moe.common.errors import UserError
from nmt_moe.common.ranges import integers, numbers, option
from nmt_moe.criterions.balanced import BalanceConfig
from nmt_moe.models.attention import ATTENTIONS
from nmt_moe.moe.gating import GATES

_BELOW_1 = numbers(0, 1, exclusive_high=True)
_SHARE = numbers(0, 1, exclusive_low=True)


def _plain(default: Any, help: str) -> Any:
    """An option that is no number."""
    return field(default=default, metadata={"help": help})


def _path(what: str) -> Any:
    return _plain(
        "",
        f"a text file with vectors of {what} words, a word and --dim numbers a line; "
        "the LSTM reads them as they are",
    )


def _frozen(what: str) -> Any:
    return _plain(False, f"leave the {what} embeddings as they are")


def _own_dropout(what: str) -> Any:
    return option(None, _BELOW_1, f"dropout on {what}; where not given, that of --dropout")


def _residual_from(side: str) -> Any:
    return option(
        1,
        integers(1),
        f"the first {side} layer with a residual connection around it: 1: all have one, as the "
        "paper's; 3: as GNMT's",
    )


# The criterion's own, so that they can be given with every criterion; None: as the criterion says.
_Balance = make_dataclass(
    "_Balance",
    [
        (
            one.name,
            Optional[one.type],  # noqa: UP045
            field(default=None, metadata={**one.metadata, "help": argparse.SUPPRESS}),
        )
        for one in fields(BalanceConfig)
    ],
    bases=(FairseqDataclass,),
)


@dataclass
class StackConfig(_Balance):  # type: ignore[misc, valid-type]
    """The options that translation and language models share."""

    dim: int = option(512, integers(1), "width of every layer's input and output, embeddings too")
    lstm_cells: int = option(
        2048, integers(1), "cells of each LSTM, projected to --dim; equal to --dim: no projection"
    )
    feed_forward: ChoiceEnum(["moe", "dense", "deep", "none"]) = field(  # type: ignore[valid-type]
        default="moe",
        metadata={
            "help": "the layer between LSTM layers: moe: a mixture of experts; dense: one "
            "feed-forward network with as many active parameters, in one wide hidden layer; deep: "
            "the same in as many hidden layers as a token has experts; none: no such layer"
        },
    )
    moe_experts: int = option(32, integers(1), "experts in each MoE layer")
    moe_k: int = option(
        4, integers(1), "experts per token; with 1 the loss gives top-k gates no gradient"
    )
    moe_groups: int = option(
        1,
        integers(1),
        "groups of experts, which a primary gate chooses (appendix B): k groups per "
        "token, and k experts in each; 1: no hierarchy",
    )
    moe_hidden_dim: int = option(2048, integers(1), "hidden width of an expert")
    moe_gating: ChoiceEnum(list(GATES)) = field(  # type: ignore[valid-type]
        default="noisy_top_k",
        metadata={
            "help": "how the experts of a token are chosen: noisy_top_k (section 2.1), "
            "strictly_balanced (appendix F), or, for comparison, top_k without noise"
        },
    )
    moe_noise_end: float = option(
        1.0,
        _SHARE,
        "the share of the gates' noise that is left after --moe-noise-updates, up to which it "
        "falls linearly; experts are chosen without noise after the training",
    )
    moe_noise_updates: int = option(
        0, integers(0), "updates over which the gates' noise falls; 0: it does not"
    )
    moe_recompute: bool = _plain(
        False,
        "compute the experts' hidden activations again in the backward pass "
        "instead of keeping them (appendix D)",
    )
    moe_shared_expert: bool = _plain(
        False,
        "a dense expert of the same size beside those of each MoE layer, which sees every token; "
        "its output is added as it is (DeepSeekMoE, Dai et al. 2024)",
    )
    moe_init_equal: bool = _plain(
        False,
        "let all experts of a layer start with the same weights, but for noise of a hundredth of "
        "their size (as copies of one network, Komatsuzaki et al. 2023)",
    )
    moe_hidden_dropout: float = option(
        0.0,
        _BELOW_1,
        "dropout on the hidden activations of experts, or of the dense network in their place "
        "(Fedus et al. 2022, who call it expert dropout: 0.4 with little text)",
    )
    moe_expert_dropout: float = option(
        0.0,
        _BELOW_1,
        "in training, the probability of an expert to be out of reach of a batch; at least k stay, "
        "and gates and losses are those of the experts that do (for whole experts what expert "
        "output masking is for tokens, Elbayad et al. 2023)",
    )
    moe_expert_parallel_size: int = option(
        0,
        integers(0),
        "size of an expert-parallel group: processes of a distributed training that "
        "each hold a part of the experts (section 3.1); 0: the processes of one machine, or of all "
        "where experts are so many that their gradients are more than the tokens, as far as they "
        "divide experts and processes; 1: every process holds all experts",
    )
    moe_sharded_checkpoint: bool = _plain(
        False,
        "every process saves its own part of a checkpoint, with its experts, for "
        "models that do not fit into the memory of one process; nmt-moe checkpoint merge "
        "makes one file of the parts",
    )
    # fairseq's own switch to one file per process, where it is above 0.
    base_layers: int = option(0, integers(0), argparse.SUPPRESS)
    no_moe_sigmoid: bool = _plain(
        False, "do not apply a sigmoid to the output of MoE and dense layers"
    )
    dropout: float = option(
        0.4,
        _BELOW_1,
        "dropout on the output of every embedding, LSTM and MoE layer",
    )
    share_decoder_input_output_embed: bool = _plain(
        False, "the softmax has the matrix of the decoder's embedding, after a learned projection"
    )
    # fairseq does not know float | None.
    decoder_dropout_in: Optional[float] = _own_dropout("the decoder's embeddings")  # noqa: UP045
    decoder_dropout_out: Optional[float] = _own_dropout("the decoder's layers")  # noqa: UP045
    word_dropout: float = option(
        0.0,
        _BELOW_1,
        "in training, the probability of a piece to be missing from a sentence that is read, at "
        "all of its places, source and target (Gal and Ghahramani 2016; Sennrich et al. 2016)",
    )
    variational_dropout: float = option(
        0.0,
        _BELOW_1,
        "dropout on the inputs of every LSTM layer, the attention's context too, the same in every "
        "step of a sentence (Gal and Ghahramani 2016)",
    )
    recurrent_dropout: float = option(
        0.0,
        _BELOW_1,
        "the same on the output of an LSTM layer that goes from step to step (Gal and Ghahramani "
        "2016)",
    )
    decoder_embed_path: str = _path("the decoder's")
    decoder_freeze_embed: bool = _frozen("decoder's")
    adaptive_softmax_cutoff: str = _plain(
        "",
        "an adaptive softmax for large dictionaries, with --criterion adaptive_loss: "
        "the numbers of words after which its tails begin, such as 10000,50000,200000; empty: "
        "none",
    )
    adaptive_softmax_dropout: float = option(0.0, _BELOW_1, "dropout in the adaptive softmax")
    adaptive_softmax_factor: float = option(
        4.0, numbers(1), "how much narrower each tail of the adaptive softmax is"
    )


@dataclass
class LSTMMoEConfig(StackConfig):
    """The translation model (appendix E)."""

    # Of a checkpoint that only translates; --int8 of --task gnmt_translation sets it, too.
    int8_weights: bool = _plain(False, argparse.SUPPRESS)
    encoder_layers: int = option(3, integers(1), "LSTM layers of the encoder")
    decoder_layers: int = option(2, integers(1), "LSTM layers of the decoder")
    encoder_bidirectional: bool = _plain(
        False,
        "encoder layer 1 reads in both directions, with half of the cells and "
        "half of the width for each (the paper's reads forward only)",
    )
    attention: ChoiceEnum(list(ATTENTIONS)) = field(  # type: ignore[valid-type]
        default="multiplicative",
        metadata={
            "help": "attention function: the paper's (appendix G), GNMT's additive one, or the "
            "scaled dot product of Vaswani et al. 2017"
        },
    )
    attention_residual: bool = _plain(
        False,
        "add the attention context, through a matrix, to the output of decoder "
        "layer 1, so that all above reads it, as GNMT's upper layers do (the paper's do not)",
    )
    output_attention: bool = _plain(
        False,
        "a second attention, after the last decoder layer, whose query is that layer's output and "
        "whose context is added to it (Luong et al. 2015; the paper has one attention)",
    )
    encoder_residual_from: int = _residual_from("encoder")
    decoder_residual_from: int = _residual_from("decoder")
    encoder_dropout_in: Optional[float] = _own_dropout("the encoder's embeddings")  # noqa: UP045
    encoder_dropout_out: Optional[float] = _own_dropout("the encoder's layers")  # noqa: UP045
    encoder_embed_path: str = _path("the encoder's")
    encoder_freeze_embed: bool = _frozen("encoder's")
    encoder_moe_after: str = _plain(
        "2", "encoder layers followed by a MoE layer, such as 1,2; empty for none"
    )
    decoder_moe_after: str = _plain(
        "1", "decoder layers followed by a MoE layer, such as 1; empty for none"
    )
    share_all_embeddings: bool = _plain(
        False,
        "encoder, decoder and softmax have one embedding matrix, the softmax after a "
        "learned projection; needs a joined dictionary",
    )


def _default(name: str, value: Any) -> Any:
    """A shared option with a different default."""
    return field(default=value, metadata=StackConfig.__dataclass_fields__[name].metadata)


@dataclass
class LSTMMoELanguageModelConfig(StackConfig):
    """The language model; its defaults are the paper's MoE-32 (appendix C)."""

    lstm_cells: int = _default("lstm_cells", 512)
    moe_hidden_dim: int = _default("moe_hidden_dim", 1024)
    dropout: float = _default("dropout", 0.1)
    layers: int = option(2, integers(1), "LSTM layers")
    moe_after: str = _plain("1", "LSTM layers followed by a MoE layer, such as 1; empty for none")


def moe_positions(cfg: StackConfig, side: str = "") -> list[int]:
    """The 1-based numbers of the layers that a MoE follows.

    Args:
        cfg: a model's options.
        side: ``encoder`` or ``decoder``; empty for the language model, which has one stack.

    Raises:
        UserError: the option is not a list of numbers, or names a layer that does not exist.
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


def fit(cfg: StackConfig, given: Container[str]) -> None:
    """Fit defaults to what was given: a MoE layer after the last layer where there are fewer than
    by default, and LSTMs of at least as many cells as the width.

    Args:
        cfg: the options, which are changed.
        given: the names of those that the user has given.
    """
    if "lstm_cells" not in given:
        cfg.lstm_cells = max(cfg.lstm_cells, cfg.dim)
    for prefix in ("encoder_", "decoder_") if hasattr(cfg, "encoder_layers") else ("",):
        name, last = f"{prefix}moe_after", getattr(cfg, f"{prefix}layers")
        if name not in given:
            places = {min(int(place), last) for place in getattr(cfg, name).split(",")}
            setattr(cfg, name, ",".join(map(str, sorted(places))))


def ties_softmax(cfg: StackConfig) -> bool:
    """Whether the softmax has the matrix of the decoder's embedding."""
    return cfg.share_decoder_input_output_embed or getattr(cfg, "share_all_embeddings", False)


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
    if getattr(cfg, "share_all_embeddings", False):
        paths = {cfg.encoder_embed_path, cfg.decoder_embed_path} - {""}
        if len(paths) > 1:
            raise UserError(
                "--share-all-embeddings has one matrix: give one of --encoder-embed-path and "
                "--decoder-embed-path"
            )
    if cfg.adaptive_softmax_cutoff and ties_softmax(cfg):
        raise UserError(
            "--adaptive-softmax-cutoff has matrices of several widths, and none is that of an "
            "embedding: give either it or the shared embeddings"
        )
    _check_experts(cfg)
    for side in ("encoder", "decoder") if translates else ("",):
        moe_positions(cfg, side)


def _check_experts(cfg: StackConfig) -> None:
    k, groups, experts = cfg.moe_k, cfg.moe_groups, cfg.moe_experts
    if (cfg.moe_noise_end < 1) != (cfg.moe_noise_updates > 0):
        raise UserError(
            "the gates' noise falls to --moe-noise-end, below 1, over --moe-noise-updates, "
            "above 0: give both or neither"
        )
    if cfg.moe_noise_updates and cfg.moe_gating != "noisy_top_k":
        raise UserError(f"--moe-noise-updates: --moe-gating {cfg.moe_gating} has no noise")
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
