"""The parts of a translation model with weights in int8, for translating on CPUs.

Embeddings, LSTMs, attention, experts and the softmax of words are in int8, of which each output
channel (of an embedding each word) has a scale; gates, biases and cells stay in float32.
"""

from typing import Any

from fairseq.models import ARCH_MODEL_REGISTRY
from omegaconf import open_dict

from nmt_moe.common.errors import UserError

OPTION = "int8_weights"
"""The option of a model that is built for weights in int8."""


def is_asked_for(cfg: Any) -> bool:
    """Whether a model's options, as fairseq's configuration or a dict, ask for weights in int8."""
    return bool(cfg.get(OPTION, False))


def ask_for(cfg: Any) -> None:
    """Let a model's options, from a checkpoint, ask for weights in int8.

    Raises:
        UserError: it is another kind of model.
    """
    name = cfg.get("_name") or cfg.get("arch")
    if not hasattr(ARCH_MODEL_REGISTRY.get(name), "int8"):
        raise UserError(f"int8 is for translation models of lstm_moe, this one is {name}")
    with open_dict(cfg):
        cfg[OPTION] = True
