"""The experts in torch's grouped products, which GPUs take, against a product for each expert."""

import pytest
import torch

from nmt_moe.kernels.gpu import grouped_mm
from nmt_moe.moe import experts
from nmt_moe.moe.experts import Experts

if not grouped_mm.runs_on("cpu"):
    pytest.skip("not in this torch for CPUs", allow_module_level=True)

COUNTS = [5, 0, 17, 1, 9]


def run(layer: Experts, x_AD: torch.Tensor) -> list[torch.Tensor]:
    x_AD = x_AD.clone().requires_grad_()
    y_AD = layer(x_AD, torch.tensor(COUNTS))
    return [
        y_AD,
        *torch.autograd.grad((y_AD * y_AD.detach().cos()).sum(), [x_AD, *layer.parameters()]),
    ]


@pytest.mark.parametrize("most", [1024, 5, 4, 2, 1])
@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_output_and_gradients(dtype, recompute, most, monkeypatch):
    torch.manual_seed(1)
    layer = Experts(len(COUNTS), 32, 48, recompute).to(dtype)
    x_AD = torch.randn(sum(COUNTS), 32).to(dtype)
    right = run(layer, x_AD)
    calls = []
    product = grouped_mm._grouped_mm
    monkeypatch.setattr(experts, "_one_product", lambda *tensors: True)
    monkeypatch.setattr(
        grouped_mm, "_grouped_mm", lambda *a, **o: calls.append(1) or product(*a, **o)
    )
    monkeypatch.setattr(grouped_mm, "MOST", most)
    found = run(layer, x_AD)
    assert len(calls) == (4 if recompute else 2) * -(-len(COUNTS) // most)
    for one, other in zip(found, right, strict=True):
        error = (one - other).abs().max() / other.abs().max()
        assert error < (0.03 if dtype == torch.bfloat16 else 1e-5)


def test_cpus_do_without():
    x_AD, w = torch.randn(8, 16, dtype=torch.bfloat16), torch.randn(2, 16, 16, dtype=torch.bfloat16)
    assert not experts._one_product(x_AD, w, w)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_gpus_do_not():
    x_AD, w = torch.randn(8, 16).cuda().bfloat16(), torch.randn(2, 16, 16).cuda().bfloat16()
    assert experts._one_product(x_AD, w, w) == (torch.cuda.get_device_capability() >= (9, 0))
