"""What is gone since numpy 2 and fairseq uses.

``numpy.compat``, with which it reads single sentences, and an argument of ``numpy.percentile``, by
which it puts lengths into buckets.
"""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from nmt_moe.fairseq_fixes.fix import Fix


def restore() -> None:
    """Put back the one name of ``numpy.compat`` that fairseq uses."""
    if not hasattr(np, "compat"):
        np.compat = SimpleNamespace(long=int)  # type: ignore[attr-defined]


def _buckets(_: Callable[..., Any]) -> Callable[[Any, int], Any]:
    def get_buckets(sizes: Any, num_buckets: int) -> Any:
        shares = np.linspace(0, 100, num_buckets + 1)
        return np.unique(np.percentile(sizes, shares, method="lower")[1:])

    return get_buckets


FIXES = (
    Fix(
        "fairseq.data.bucket_pad_length_dataset:get_buckets",
        _buckets,
        "--num-batch-buckets works: numpy 2 has another name for an argument that it needs.",
    ),
)
