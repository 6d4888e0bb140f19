"""From a translation model in float32 to one in int8."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from nmt_moe.common.errors import UserError
from nmt_moe.models.linear import RecurrentLinear
from nmt_moe.models.lstm import LSTM, AttentionLSTM
from nmt_moe.models.quantized.lstm import Int8AttentionLSTM, Int8LSTM
from nmt_moe.models.quantized.weights import (
    Int8Embedding,
    Int8Linear,
    of_mixture,
)
from nmt_moe.moe import MixtureOfExperts


def in_int8(state: Mapping[str, Any]) -> bool:
    """Whether a model's state is that of one in int8."""
    return any(name.endswith(".panels") for name in state)


def check_float(state: Mapping[str, Any]) -> None:
    """Raise a :class:`UserError` if a state in int8 is about to be loaded into float32."""
    if in_int8(state):
        raise UserError(
            "this model is in int8, for translating only: train the one in float32 that it was "
            "made of"
        )


def quantize(model: nn.Module) -> nn.Module:
    """Put weights in int8 in place of a translation model's own, for translating on CPUs.

    Args:
        model: an ``lstm_moe``, which is changed.

    Returns:
        The same model, in evaluation mode; the weights in float32 are no longer part of it.

    Raises:
        UserError: the model is in int8 already, or another kind of model.
    """
    if getattr(model, "int8", False):
        raise UserError("the model is in int8 already")
    if not hasattr(model, "int8"):
        raise UserError(
            f"int8 is for translation models of lstm_moe, not for {type(model).__name__}"
        )
    state = model.state_dict()
    replace_weights(model.eval())
    model.load_state_dict(state)
    return model


def replace_weights(model: nn.Module) -> None:
    """Put modules in int8 without numbers in place of the model's own, to load a checkpoint.

    What has no place in memory (``torch.device("meta")``) gets one.
    """
    _replace(model, {})
    for module in model.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None and parameter.is_meta:
                module._parameters[name] = nn.Parameter(_in_memory(parameter))
        for name, buffer in module._buffers.items():
            if buffer is not None and buffer.is_meta:
                module._buffers[name] = _in_memory(buffer)
    model.int8 = True  # type: ignore[assignment]


def _in_memory(like: Tensor) -> Tensor:
    """A tensor of that shape in memory."""
    return like.new_empty(like.shape, device="cpu")


def _replace(module: nn.Module, made: dict[Tensor, Int8Linear]) -> None:
    """Replace what is within a module; ``made``: by which parameter, as some have several names."""
    for name, child in module.named_children():
        new = _new(child, made)
        if new is not None:
            setattr(module, name, new)
        elif isinstance(child, MixtureOfExperts):
            of_mixture(child)
        else:
            _replace(child, made)


def _new(child: nn.Module, made: dict[Tensor, Int8Linear]) -> nn.Module | None:
    """What replaces a module; None: it stays, or what is within it is replaced."""
    if type(child) is LSTM:
        return Int8LSTM(child.lstm.input_size, child.dim, child.cells)
    if type(child) is AttentionLSTM:
        return Int8AttentionLSTM(child.dim, child.cells)
    if type(child) is nn.Embedding:
        kind: type[Int8Linear] = Int8Embedding
    elif type(child) in (nn.Linear, RecurrentLinear) and child.bias is None:
        kind = Int8Linear
    else:
        return None
    new = kind(*child.weight.shape)
    first = made.setdefault(child.weight, new)
    if first is not new:
        new.panels, new.scale = first.panels, first.scale
    return first if type(first) is kind else new
