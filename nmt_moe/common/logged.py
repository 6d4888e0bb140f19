"""The names of the figures that a training logs, for ``train.log``, TensorBoard and the tables.

fairseq names its own; the criterions here add those of the experts and of attention. Imports
no torch, so that programs which only read logs stay light.
"""

import re
from collections.abc import Iterable

LOSS, CROSS_ENTROPY, PERPLEXITY = "loss", "nll_loss", "ppl"
UPDATES, UPDATES_PER_SECOND = "num_updates", "ups"
PIECES_PER_SECOND, PIECES_PER_BATCH = "wps", "wpb"

AFTER_FAIRSEQS = 2000
"""A priority in fairseq's log, where a lower one comes first: its own figures have up to 1600."""

IMPORTANCE_LOSS, LOAD_LOSS = "moe_importance_loss", "moe_load_loss"
THRESHOLD_LOSS, R_DROP_LOSS = "moe_threshold_loss", "r_drop_loss"

# Of a layer or of attention, see below.
IMPORTANCE_CV, LOAD_CV, LOAD_MAX = "importance_cv", "load_cv", "load_max"
UNUSED, ENTROPY, TOP_SHARE = "unused", "entropy", "top_share"
LAST_SHARE, STUCK = "last_share", "stuck"

TITLES = {
    PERPLEXITY: "Perplexity",
    LOSS: "Loss",
    CROSS_ENTROPY: "Cross entropy, bits",
    PIECES_PER_SECOND: "Wordpieces per second",
    PIECES_PER_BATCH: "Wordpieces per update",
    UPDATES_PER_SECOND: "Updates per second",
    "bsz": "Sentences per update",
    "gnorm": "Gradient norm",
    "clip": "Clipped updates, %",
    "lr": "Learning rate",
    "loss_scale": "Loss scale",
    "wall": "Seconds since the start",
    "train_wall": "Seconds of training",
    "gb_free": "Free GPU memory, GB",
    "best_loss": "Best validation loss",
}
"""Of fairseq's figures, for people."""
LAYER_TITLES = {
    LOAD_CV: "CV of load",
    LOAD_MAX: "max / mean load",
    UNUSED: "unused experts",
    IMPORTANCE_CV: "CV of importance",
    ENTROPY: "gate entropy",
    TOP_SHARE: "share of the busiest",
}
"""Of a layer's figures."""
_ATTENTION_TITLES = {
    ENTROPY: "entropy, bits",
    TOP_SHARE: "weight of the top position",
    LAST_SHARE: "weight of the last source position",
    STUCK: "steps that stay with one position",
}


def titles() -> dict[str, str]:
    """The titles of all figures but those of layers, by their names."""
    attention = {of_attention(name): title for name, title in _ATTENTION_TITLES.items()}
    return TITLES | {name: f"Attention: {title}" for name, title in attention.items()}


def of_layer(layer: str, figure: str) -> str:
    """The name of a figure of an MoE layer, such as ``encoder.2`` or ``encoder_2``."""
    return f"moe_{layer.replace('.', '_')}_{figure}"


def layers(names: Iterable[str]) -> list[str]:
    """The layers, such as ``encoder_2``, that these names are about."""
    pattern = re.compile(rf"(?:\w+_)?moe_(.+)_{IMPORTANCE_CV}")
    return [found[1] for found in map(pattern.fullmatch, names) if found]


def of_attention(figure: str) -> str:
    """The name of a figure of the decoder's attention."""
    return f"attention_{figure}"


def of_split(split: str, figure: str) -> str:
    """The name of a figure of ``train``, ``valid`` or ``test``, which is the whole split's."""
    return f"{split}_{figure}"
