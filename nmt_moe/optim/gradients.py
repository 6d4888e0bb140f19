"""Scaling and clipping gradients without a pass over the experts' gradients for each.

fairseq multiplies all gradients by a number, takes their norm and multiplies them again to clip
them: for many experts, five passes over more memory than the update itself reads. Here the factors
are applied by the update, and the norm comes from the squares that the update needs as well.
"""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from nmt_moe.kernels.cpu import factored as kernel

Pair = tuple[Tensor, Tensor]
"""A parameter and its gradient."""


class Gradients:
    """The factors and norms of the gradients of one update.

    Args:
        late: whether the update applies the factor to this gradient of a parameter, by
            :meth:`scale_of`; other gradients are multiplied at once.
    """

    def __init__(self, late: Callable[[Tensor, Tensor], bool]) -> None:
        self._late = late
        self.forget()

    def forget(self) -> None:
        """Reset, after an update or when gradients are dropped."""
        self._scale = 1.0
        self._means: dict[Tensor, tuple[Tensor, int, tuple[Tensor, Tensor]]] = {}

    def multiply(self, params: Iterable[Tensor], number: Tensor | float) -> None:
        """Multiply the gradients of all parameters of an optimizer by a number."""
        late, others = self._split(params)
        if others:
            torch._foreach_mul_([grad for _, grad in others], number)
        if late:
            self._scale *= float(number)

    def squared_norm(self, params: Iterable[Tensor]) -> Tensor:
        """The sum of the squares of all gradients, 0-d, in float32 or float64."""
        late, others = self._split(params)
        sums = []
        for _, grad in others:
            precision = torch.promote_types(grad.dtype, torch.float32)
            sums.append(torch.linalg.vector_norm(grad, dtype=precision).square())
        for param, grad in late:
            means = self.means_of(param, grad) or kernel.mean_squares(grad)
            self._means[param] = grad, grad._version, means
            total = means[0].mean(dtype=torch.float64) * grad.numel() * self._scale**2
            sums.append(total.to(grad.dtype))
        return torch.stack(sums).sum() if sums else torch.zeros(())

    def scale_of(self, param: Tensor, grad: Tensor) -> float:
        """The factor by which the update has to multiply the gradient."""
        return self._scale if self._late(param, grad) else 1.0

    def means_of(self, param: Tensor, grad: Tensor) -> tuple[Tensor, Tensor] | None:
        """The means of the squared gradient, before scaling, if they are known."""
        if param not in self._means:
            return None
        measured, version, means = self._means[param]
        return means if measured is grad and version == grad._version else None

    def _split(self, params: Iterable[Tensor]) -> tuple[list[Pair], list[Pair]]:
        late: list[Pair] = []
        others: list[Pair] = []
        for param in params:
            if (grad := param.grad) is not None:
                (late if self._late(param, grad) else others).append((param, grad))
        return late, others
