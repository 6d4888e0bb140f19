"""``numpy.compat``, which is gone since numpy 2: fairseq reads single sentences with it."""

from types import SimpleNamespace

import numpy as np


def restore() -> None:
    """Put back the one name of it that fairseq uses."""
    if not hasattr(np, "compat"):
        np.compat = SimpleNamespace(long=int)  # type: ignore[attr-defined]
