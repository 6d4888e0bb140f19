"""The words that a search chooses from, and their probabilities."""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from nmt_moe.kernels.cpu.best import best


class Words:
    """The words that a search chooses from.

    Args:
        number: of the dictionary.
        chosen_N: those that have logits, in order; None: all.
        output: makes their logits of the decoder's features; None: the decoder does.
    """

    def __init__(
        self,
        number: int,
        chosen_N: np.ndarray | None = None,
        output: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        self._number, self._chosen_N, self.output = number, chosen_N, output
        self._changed: dict[tuple, tuple[Tensor, Tensor]] = {}
        """What is added to log probabilities, on the device: mostly the same in each step."""

    def __len__(self) -> int:
        return self._number if self._chosen_N is None else len(self._chosen_N)

    def best(
        self, logits_RV: Tensor, count: int, extra: Mapping[int, float]
    ) -> tuple[np.ndarray, np.ndarray]:
        """The log probabilities and numbers of the best words of each row, ``[R, count]``, after
        ``extra`` is added to those of some words."""
        places = {self._place(word): more for word, more in extra.items() if word in self}
        known = (*places.items(), logits_RV.device)
        if known not in self._changed:
            made = torch.tensor([*places], dtype=torch.int64), torch.tensor([*places.values()])
            self._changed[known] = made[0].to(logits_RV.device), made[1].to(logits_RV.device)
        found = best(logits_RV, min(count, len(self)), *self._changed[known])
        log_p_RK, place_RK = _on_host(*found)
        return log_p_RK, place_RK if self._chosen_N is None else self._chosen_N[place_RK]

    def only(self, logits_RV: Tensor, word: int) -> tuple[np.ndarray, np.ndarray]:
        """The same of a single word, which is among them, ``[R, 1]``."""
        place = self._place(word)
        all_R1 = logits_RV.float().logsumexp(1, keepdim=True)
        log_p_R1 = (logits_RV[:, place : place + 1].float() - all_R1).cpu().numpy()
        log_p_R1 = np.where(log_p_R1 < np.inf, log_p_R1, -np.inf)  # NaN is not below it
        return log_p_R1, np.full(log_p_R1.shape, word)

    def __contains__(self, word: int) -> bool:
        return self._chosen_N is None or self._chosen_N[self._place(word) :][:1] == word

    def _place(self, word: int) -> int:
        """The column of its logits."""
        return word if self._chosen_N is None else int(np.searchsorted(self._chosen_N, word))


def _on_host(log_p_RK: Tensor, place_RK: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Both, with a single wait for a GPU."""
    if log_p_RK.device.type == "cpu":
        return log_p_RK.numpy(), place_RK.numpy()
    both_2RK = torch.stack([log_p_RK.view(torch.int32), place_RK.int()]).cpu().numpy()
    return both_2RK[0].view(np.float32), both_2RK[1].astype(np.int64)
