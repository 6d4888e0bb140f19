"""Sums of an update on the host: at once on a CPU, one update later from a GPU, without a wait."""

import torch
from torch import Tensor


class Late:
    """Copies from a GPU in the background, for whoever can look at the update before as well."""

    def __init__(self) -> None:
        self._last: tuple[dict[str, Tensor], torch.cuda.Event] | None = None

    def __call__(self, sums: dict[str, Tensor]) -> dict[str, Tensor]:
        """The sums of this update, by name; those of a GPU of the last call, at first none.

        Args:
            sums: vectors of one type on one device.
        """
        if not any(v.is_cuda for v in sums.values()):
            return sums
        copy = torch.cat(list(sums.values())).to("cpu", non_blocking=True)
        copied = torch.cuda.Event()
        copied.record()
        last = self._last
        parts = copy.split([len(v) for v in sums.values()])
        self._last = dict(zip(sums, parts, strict=True)), copied
        if last is None:
            return {}
        last[1].synchronize()  # since then the trainer has waited for the norm of the gradient
        return last[0]
