"""The best words of each hypothesis of a search with their log probabilities: ``best.c``.

A softmax of tens of thousands of words is not written anywhere: of each row only the sum of
exponentials and the few best scores are needed.
"""

import torch
from torch import Tensor

from nmt_moe.kernels.cpu.extension import library

_FOR_THREADS = 2**20  # numbers; of fewer, a thread has read all before another one begins


def best(
    scores_RV: Tensor, count: int, changed_N: Tensor, extra_N: Tensor
) -> tuple[Tensor, Tensor]:
    """The ``count`` most probable words of each row, in order.

    Args:
        scores_RV: the logits; overwritten.
        count: at most as many as there are words.
        changed_N: words whose log probability is changed after the softmax, on any device.
        extra_N: what is added to it, ``-inf`` for a word that must not be chosen; float32.

    Returns:
        Log probabilities ``[R, count]``, float32, and the words ``[R, count]``. Where a score of
        the row is NaN or infinite, ``-inf`` instead of its log probabilities.
    """
    scores_RV = scores_RV.float()
    if library is None or scores_RV.device.type != "cpu" or not scores_RV.is_contiguous():
        all_R1 = scores_RV.logsumexp(1, keepdim=True)
        scores_RV = scores_RV.index_add(
            1,
            changed_N.to(scores_RV.device),
            extra_N.to(scores_RV.device).expand(len(scores_RV), -1),
        )
        best_RK, word_RK = scores_RV.topk(count, dim=1)
        return _finite(best_RK - all_R1), word_RK
    best_RK = scores_RV.new_empty(len(scores_RV), count)
    word_RK = torch.empty(len(scores_RV), count, dtype=torch.int64)
    threads = torch.get_num_threads() if scores_RV.numel() >= _FOR_THREADS else 1
    failed = library.best_of_rows(
        *(x.data_ptr() for x in (scores_RV, best_RK, word_RK)),
        *scores_RV.shape,
        count,
        changed_N.data_ptr(),
        extra_N.data_ptr(),
        len(changed_N),
        threads,
    )
    if failed:
        raise MemoryError("no memory for the best words")
    return _finite(best_RK), word_RK


def _finite(best_RK: Tensor) -> Tensor:
    return torch.where(best_RK < float("inf"), best_RK, float("-inf"))  # NaN is not below it
