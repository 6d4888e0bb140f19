"""Options of fairseq's ``lstm`` and ``transformer``, so that their commands train our models.

The table :data:`OPTIONS` says of each that our models do not have under its name: which of ours it
stands for, or that it changes nothing here and why, or why it is refused.
"""

import argparse
import logging
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from nmt_moe.common.errors import UserError
from nmt_moe.common.ranges import name_of
from nmt_moe.criterions.balanced import BalanceConfig

_LOGGER = logging.getLogger(__name__)
_TRUE = ("1", "true", "yes")


@dataclass(frozen=True)
class Option:
    """Options of fairseq's models that mean the same here.

    Attributes:
        names: as fields; the options are ``--`` and these with dashes.
        kind: of the value; bool: there is none, the option is a switch.
        why: a sentence for people, without a full stop.
        ours: the option of ours for which it stands; empty: there is none.
        same: values that ask for what our models do anyway.
        refused: whether another value ends the command; False: it is warned of.
        model: ``translation`` or ``language``, if only models of this kind know it.
    """

    names: str
    kind: type
    why: str
    ours: str = ""
    same: tuple[Any, ...] = ()
    refused: bool = False
    model: str = ""

    def action(self) -> str:
        """What is done with it, for the documentation."""
        if self.ours:
            return f"stands for `{name_of(self.ours)}`"
        same = ", ".join(f"`{str(value).lower()}`" for value in self.same if value is not True)
        if self.same == (True,):
            return "taken"
        done = "refused" if self.refused else "taken with a warning"
        return f"{done}; {same} taken" if same and self.kind is str else done


_WIDTH = "embeddings, layers and softmax have one width"
_NORM = "there is no layer normalisation: weights are scaled so that layers need none"
_ADAPTIVE_INPUT = "all words' embeddings have one width"
_CHARACTERS = "words are read whole: cut rare ones into pieces, nmt-moe corpus wordpieces"
_QUANTISED = "weights are not quantised in training"

OPTIONS: tuple[Option, ...] = (
    Option("encoder_embed_dim decoder_embed_dim decoder_out_embed_dim", int, _WIDTH, "dim"),
    Option("decoder_input_dim decoder_output_dim", int, _WIDTH, "dim"),
    Option(
        "encoder_hidden_size decoder_hidden_size",
        int,
        "every LSTM has as many cells, at least as many as the width, to which their output is "
        "projected",
        "lstm_cells",
    ),
    Option(
        "encoder_ffn_embed_dim decoder_ffn_embed_dim",
        int,
        "a feed-forward network is an expert here, and each has this hidden width, as in "
        "transformers with experts",
        "moe_hidden_dim",
    ),
    Option("decoder_layers", int, "a language model has one stack", "layers", model="language"),
    Option(
        "checkpoint_activations",
        bool,
        "what is computed again are the experts' hidden activations",
        "moe_recompute",
    ),
    Option("residuals", bool, "every layer has a residual connection", same=(True,)),
    Option(
        "decoder_attention",
        str,
        "the decoder always attends to the source; --attention chooses the function",
        same=_TRUE,
        refused=True,
        model="translation",
    ),
    Option(
        "decoder_attention",
        str,
        "a language model has no source to attend to",
        same=("0", "false", "no"),
        model="language",
    ),
    Option(
        "activation_fn",
        str,
        "experts have ReLU (section 2), and dense layers too",
        same=("relu",),
        refused=True,
    ),
    Option(
        "activation_dropout relu_dropout",
        float,
        "the hidden activations of feed-forward networks are those of experts here",
        "moe_hidden_dropout",
    ),
    Option(
        "attention_dropout",
        float,
        "there is no dropout inside attention: --dropout acts on every layer's output",
        same=(0.0,),
    ),
    Option(
        "encoder_attention_heads decoder_attention_heads",
        int,
        "attention has one head (appendix G); --attention chooses its function",
    ),
    Option("alignment_heads alignment_layer", int, "there is one attention, of decoder layer 1"),
    Option("full_context_alignment", bool, "attention is aligned as it is in a search"),
    Option("encoder_normalize_before decoder_normalize_before", bool, _NORM),
    Option("layernorm_embedding no_decoder_final_norm export", bool, _NORM),
    Option("scale_fc scale_attn scale_heads scale_resids", bool, _NORM),
    Option(
        "no_token_positional_embeddings encoder_learned_pos decoder_learned_pos",
        bool,
        "LSTMs read words in their order and need no embeddings of positions",
    ),
    Option(
        "encoder_layerdrop decoder_layerdrop",
        float,
        "no whole layer is dropped: raise --dropout instead",
        same=(0.0,),
    ),
    Option(
        "no_scale_embedding",
        bool,
        "embeddings are scaled, as LSTMs learn slowly from small input; vectors of a file are read "
        "as they are",
    ),
    Option(
        "min_params_to_wrap",
        int,
        "no layer is wrapped for fully_sharded: --moe-expert-parallel-size spreads experts",
    ),
    Option(
        "encoder_layers_to_keep decoder_layers_to_keep",
        str,
        "layers cannot be left out of a trained model: train one with fewer, --encoder-layers",
        refused=True,
    ),
    Option(
        "adaptive_input tie_adaptive_weights tie_adaptive_proj", bool, _ADAPTIVE_INPUT, refused=True
    ),
    Option("adaptive_input_factor", float, _ADAPTIVE_INPUT, refused=True),
    Option("adaptive_input_cutoff", str, _ADAPTIVE_INPUT, refused=True),
    Option("char_inputs character_embeddings", bool, _CHARACTERS, refused=True),
    Option("character_filters", str, _CHARACTERS, refused=True),
    Option("character_embedding_dim char_embedder_highway_layers", int, _CHARACTERS, refused=True),
    Option(
        "merge_src_tgt_embed",
        bool,
        "make the data with fairseq-preprocess --joined-dictionary and give --share-all-embeddings",
        refused=True,
    ),
    Option(
        "no_cross_attention cross_self_attention",
        bool,
        "the decoder attends to the source, and an LSTM has no attention to itself",
        refused=True,
    ),
    Option(
        "encoder_xformers_att_config decoder_xformers_att_config",
        str,
        "attention is the paper's or GNMT's, see --attention",
        refused=True,
    ),
    Option(
        "offload_activations",
        bool,
        "activations stay on their device: --moe-recompute saves their memory",
        refused=True,
    ),
    Option("quant_noise_pq quant_noise_scalar", float, _QUANTISED, same=(0.0,), refused=True),
    Option("quant_noise_pq_block_size", int, _QUANTISED, same=(8,)),
    Option(
        "base_layers base_sublayers base_shuffle",
        int,
        "BASE layers are other experts: --moe-experts, with --moe-gating strictly_balanced for "
        "experts of equal load",
        same=(0,),
        refused=True,
    ),
)
"""Each option of ``lstm``, ``lstm_lm``, ``transformer`` and ``transformer_lm`` that our models do
not have themselves."""


def known(fields: Iterable[str]) -> dict[str, Option]:
    """The options of the table, by name, for a model whose own have these names."""
    own = set(fields)
    kind = "translation" if "encoder_layers" in own else "language"
    return {
        name: option
        for option in OPTIONS
        for name in option.names.split()
        if (name not in own or name == "base_layers")  # that of ours is not for users
        and option.model in ("", kind)
        and (kind == "translation" or not name.startswith("encoder"))
    }


def add_to(parser: Any, fields: Iterable[str]) -> None:
    """Let a parser take the options; its help shows those that stand for one of ours.

    Args:
        parser: of argparse, or a group of one.
        fields: the names of the model's own options, which the parser has already.
    """
    for one in parser._group_actions:  # hidden where no criterion is chosen
        if one.dest in BalanceConfig.__dataclass_fields__:
            one.help = BalanceConfig.__dataclass_fields__[one.dest].metadata["help"]
    for name, option in known(fields).items():
        if name == "base_layers":
            continue
        parser.add_argument(
            name_of(name),
            default=argparse.SUPPRESS,
            help=f"as {name_of(option.ours)}" if option.ours else argparse.SUPPRESS,
            **({"action": "store_true"} if option.kind is bool else {"type": option.kind}),
        )


def translated(given: Mapping[str, Any], fields: Iterable[str]) -> dict[str, Any]:
    """Our options, by name, for those of fairseq's models; warns of what changes nothing.

    Args:
        given: the options that the user has given, by name; others may be among them.
        fields: the names of the model's own options.

    Raises:
        UserError: one contradicts another, or asks for what our models do not have.
    """
    found: dict[str, Any] = {}
    said = {name: name_of(name) for name in given}
    for name, option in known(fields).items():
        value = given.get(name)
        if value is None or value is False or _asks_for_the_same(option, value):
            continue
        what = name_of(name) if option.kind is bool else f"{name_of(name)} {value}"
        if not option.ours:
            if option.refused:
                raise UserError(f"{what}: {option.why}")
            if os.environ.get("RANK", "0") == "0":
                _LOGGER.warning(f"{what} changes nothing: {option.why}")
            continue
        ours = option.ours
        before = found.get(ours, given.get(ours))
        if before not in (None, value):
            raise UserError(
                f"{said[ours]} {before} and {what}: {option.why}, {name_of(ours)}; give one value"
            )
        found[ours], said[ours] = value, name_of(name)
    return found


def _asks_for_the_same(option: Option, value: Any) -> bool:
    return (value.lower() if isinstance(value, str) else value) in option.same
