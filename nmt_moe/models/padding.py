"""Moving padding from the left to the right, where an LSTM reads it after the sentence."""

from torch import Tensor


def move_right(tokens_BS: Tensor, padding_idx: int) -> tuple[Tensor, Tensor]:
    """Move the padding of each sentence to its right.

    Returns:
        The tokens, and ``order_BS``, the column of ``tokens_BS`` that each token came from:
        ``gather_time(x, order_BS.argsort(dim=1))`` moves results back.
    """
    order_BS = tokens_BS.eq(padding_idx).int().argsort(dim=1, stable=True)
    return tokens_BS.gather(1, order_BS), order_BS


def real_rows(pad_BL: Tensor) -> Tensor:
    """int64 ``[T]``: the rows of ``[L * B, D]``, time first, that are no padding.

    The host waits for a GPU here: ask once for a batch, not for each layer.
    """
    return pad_BL.t().logical_not().reshape(-1).nonzero().squeeze(1)


def gather_time(x_SBD: Tensor, index_BS: Tensor) -> Tensor:
    """Reorder the time steps of each sentence by ``index_BS``."""
    return x_SBD.gather(0, index_BS.t().unsqueeze(2).expand_as(x_SBD))
