"""What the tests of the kernels for GPUs share: they run on a GPU if there is one, else in Triton's
interpreter, which ``tests/conftest.py`` chooses.

Who imports this is skipped where neither can be: Triton comes with torch for CUDA alone, and
``.ci/run`` installs it.
"""

import numpy as np
import pytest
import torch
from packaging.version import Version

ON_GPU = torch.cuda.is_available()
triton = pytest.importorskip("triton")
if (
    not ON_GPU
    and Version(triton.__version__) < Version("3.5")
    and Version(np.__version__) >= Version("2.4")
):
    reason = "this Triton's interpreter takes arrays for numbers, which this numpy does not allow"
    pytest.skip(reason, allow_module_level=True)

DEVICE = "cuda" if ON_GPU else "cpu"
needs_gpu = pytest.mark.skipif(not ON_GPU, reason="no GPU here")


def normal(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(shape).to(DEVICE, dtype)


def assert_close(found: torch.Tensor, right: torch.Tensor, error: float = 1e-5) -> None:
    assert found.shape == right.shape
    # Next to nothing: what is left where all else cancels.
    assert (found.double() - right.double()).norm() <= error * right.double().norm() + 1e-9


def in_float64(*tensors: torch.Tensor) -> list[torch.Tensor]:
    return [x.detach().double().requires_grad_() for x in tensors]


def gradients(y: torch.Tensor, *wanted: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Of something that depends on each number of ``y`` in another way."""
    weights = torch.linspace(-1, 2, y.numel(), device=y.device, dtype=y.dtype)
    return torch.autograd.grad((y * weights.view_as(y)).sum(), wanted)
