"""Where in a forward and backward pass something is first not finite."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import fields, is_dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from nmt_moe.non_finite.tensors import all_finite, experts_in, first_experts, kind, stacks


class Search(AbstractContextManager):
    """Watches what every module returns, the loss, and all their gradients.

    Looks at each on the host, so it is for a pass that is repeated after something went wrong.

    Args:
        model: the model.
        criterion: what makes the loss of it.
    """

    def __init__(self, model: nn.Module, criterion: nn.Module) -> None:
        self.found: tuple[int, str] | None = None
        """What was looked at before it, and what it is."""
        self._looked_at = 0
        self._first = stacks(model)
        first = first_experts(model)
        self._hooks: list[Any] = [criterion.register_forward_hook(self._after_loss)]
        for name, module in model.named_modules():
            self._hooks.append(module.register_forward_hook(partial(self._after, name)))
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                numbered = partial(experts_in, first=first[name]) if name in first else None
                look = partial(self._look, f"the gradient of {name}", expert=numbered)
                self._hooks.append(parameter.register_hook(look))

    def __exit__(self, *_: object) -> None:
        for hook in self._hooks:
            hook.remove()

    def _look(
        self, what: str, tensor: Tensor | None, expert: Callable[[Tensor], str] | None = None
    ) -> None:
        self._looked_at += 1
        if tensor is not None and self.found is None and not all_finite([tensor]):
            which = "" if expert is None else expert(tensor.detach())
            self.found = self._looked_at, f"{kind(tensor.detach())} in {what}{which}"

    def _after(self, name: str, module: nn.Module, args: tuple, output: Any) -> None:
        what = f"the output of {name or 'the model'}"
        expert = None
        if name in self._first and all_finite(args[:1]):
            expert = partial(_expert_of_row, args[1], self._first[name])
        for tensor in _tensors(output):
            self._look(what, tensor, expert)
            if tensor.requires_grad:
                tensor.register_hook(partial(self._look, f"the gradient of {what}"))

    def _after_loss(self, module: nn.Module, args: tuple, output: Any) -> None:
        self._look("the loss", output[0])


def _expert_of_row(counts_E: Tensor, first: int, y_AD: Tensor) -> str:
    """Which experts have rows that are not finite, of rows sorted by expert."""
    ends_E = counts_E.to(y_AD.device).cumsum(0)
    expert_A = torch.bucketize(torch.arange(len(y_AD), device=y_AD.device), ends_E, right=True)
    wrong_A = y_AD.isfinite().all(1).logical_not()
    wrong_E = y_AD.new_zeros(len(ends_E), 1)
    wrong_E[expert_A[wrong_A]] = float("nan")
    return experts_in(wrong_E, first)


def _tensors(output: Any) -> Iterator[Tensor]:
    """The floating tensors in what a module returns."""
    if isinstance(output, Tensor):
        if output.is_floating_point():
            yield output
    elif isinstance(output, dict):
        yield from _tensors(list(output.values()))
    elif isinstance(output, list | tuple):
        for part in output:
            yield from _tensors(part)
    elif is_dataclass(output) and not isinstance(output, type):
        yield from _tensors([getattr(output, part.name) for part in fields(output)])
