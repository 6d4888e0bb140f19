"""Operators of torch: what ``torch.compile`` and ``torch.export`` take as one step."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, library
from torch.autograd.function import once_differentiable

_library = library.Library("nmt_moe", "FRAGMENT")


def operator(
    function: Callable[..., Any],
    fake: Callable[..., Any],
    *,
    save: Callable[[Any, tuple[Any, ...], Any], None] | None = None,
    backward: Callable[..., Any] | None = None,
    mutates: tuple[str, ...] = (),
) -> Callable[..., Any]:
    """``function`` as ``torch.ops.nmt_moe.<its name>``.

    Outside of a compiler those with a gradient are called directly: the dispatcher, which comes
    back to Python for the gradient, would add 0.3 ms to each update of a layer.

    Args:
        function: from tensors and numbers to new tensors or None; its types make the operator's
            schema.
        fake: the same for tensors without numbers.
        save: what the backward pass needs, as ``setup_context`` of an autograd function.
        backward: None: the result has no gradient.
        mutates: the arguments that it writes into.
    """
    name = function.__name__
    _library.define(name + library.infer_schema(function, mutates_args=mutates))
    _library.impl(name, function, "CompositeExplicitAutograd")
    library.register_fake(f"nmt_moe::{name}", fake, lib=_library)
    if backward is not None:
        library.register_autograd(f"nmt_moe::{name}", backward, setup_context=save, lib=_library)
    made: Callable[..., Any] = getattr(torch.ops.nmt_moe, name).default
    if backward is None or save is None:
        return made
    keep, gradients_of = save, backward

    class Direct(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *inputs: Any) -> Any:
            output = function(*inputs)
            keep(ctx, inputs, output)  # as setup_context, torch would bind the arguments anew
            return output

        @staticmethod
        @once_differentiable
        def backward(ctx: Any, *gradients: Any) -> Any:
            return gradients_of(ctx, *gradients)

    def call(*inputs: Any) -> Any:
        return made(*inputs) if torch.compiler.is_compiling() else Direct.apply(*inputs)

    return call


def like(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Those of gradients: each of the shape and type of its tensor, by rows."""
    return tuple(x.new_empty(x.shape) for x in tensors)
