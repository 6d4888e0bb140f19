"""Scaling and clipping gradients without a pass over the experts' gradients for each.

fairseq multiplies all gradients by a number, takes their norm and multiplies them again to clip
them: for many experts, five passes over more memory than the update itself reads. Here the factors
are applied by the update, and the norm comes from the squares that the update needs as well.
"""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from nmt_moe.optim.factored import Means

Pair = tuple[Tensor, Tensor]
"""A parameter and its gradient."""


class Gradients:
    """The factors and norms of the gradients of one update.

    Args:
        late: whether the update applies the factor to this gradient of a parameter, by
            :meth:`scale_of`; other gradients are multiplied at once.
        measure: the means of the squares of such a gradient, if its update needs them.
    """

    def __init__(
        self,
        late: Callable[[Tensor, Tensor], bool],
        measure: Callable[[Tensor, Tensor], Means | None],
    ) -> None:
        self._late, self._measure = late, measure
        self.forget()

    def forget(self) -> None:
        """Reset, after an update or when gradients are dropped."""
        self._scale: float | Tensor = 1.0
        self._means: dict[Tensor, tuple[Tensor, int, Means]] = {}

    def multiply(self, params: Iterable[Tensor], number: Tensor | float) -> None:
        """Multiply the gradients of all parameters of an optimizer by a number."""
        late, others = self._split(params)
        if others:
            torch._foreach_mul_([grad for _, grad in others], number)
        if late:
            # A number on a GPU stays there: the host does not wait for it.
            on_gpu = isinstance(number, Tensor) and number.is_cuda
            self._scale = self._scale * (number if on_gpu else float(number))

    def squared_norm(self, params: Iterable[Tensor]) -> Tensor:
        """The sum of the squares of all gradients, 0-d, in float32 or float64."""
        late, others = self._split(params)
        sums = _squared_norms([grad for _, grad in others])
        unmeasured = []
        for param, grad in late:
            means = self.means_of(param, grad) or self._measure(param, grad)
            if means is None:
                unmeasured.append(grad)
                continue
            self._means[param] = grad, grad._version, means
            total = means[0].mean(dtype=torch.float64) * grad.numel() * self._scale**2
            sums.append(total.to(means[0].dtype).view(1))
        sums += [squares * self._scale**2 for squares in _squared_norms(unmeasured)]
        return torch.cat(sums).sum() if sums else torch.zeros(())

    def scale_of(self, param: Tensor, grad: Tensor) -> float | Tensor:
        """The factor by which the update has to multiply the gradient."""
        return self._scale if self._late(param, grad) else 1.0

    def means_of(self, param: Tensor, grad: Tensor) -> Means | None:
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


def _squared_norms(grads: list[Tensor]) -> list[Tensor]:
    """Of tensors of each type: 1-d, in float32 or float64. On a GPU, two launches."""
    found = []
    for dtype in dict.fromkeys(grad.dtype for grad in grads):
        alike = [grad for grad in grads if grad.dtype == dtype]
        precision = torch.promote_types(dtype, torch.float32)
        found.append(torch.stack(torch._foreach_norm(alike, dtype=precision)).square())
    return found
