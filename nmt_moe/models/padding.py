"""Padding on the left, which an LSTM would carry into the sentence."""

from torch import Tensor


def move_right(tokens_BS: Tensor, padding_idx: int) -> tuple[Tensor, Tensor]:
    """Put each sentence's padding to its right, where nothing comes after it.

    Returns:
        The tokens, and ``order_BS``, the column of ``tokens_BS`` that each was in:
        ``gather_time(x, order_BS.argsort(dim=1))`` moves results back.
    """
    order_BS = tokens_BS.eq(padding_idx).int().argsort(dim=1, stable=True)
    return tokens_BS.gather(1, order_BS), order_BS


def gather_time(x_SBD: Tensor, index_BS: Tensor) -> Tensor:
    """Each sentence's steps in the order that ``index_BS`` gives."""
    return x_SBD.gather(0, index_BS.t().unsqueeze(2).expand_as(x_SBD))
