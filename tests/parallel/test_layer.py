"""A layer whose experts are spread over processes, against one process with all the tokens."""

from typing import Any

import pytest
import torch
import torch.distributed as dist

from nmt_moe.moe import MixtureOfExperts, cv_squared
from nmt_moe.moe.mesh import mesh_for
from tests.parallel.processes import run_in

D, H = 6, 5
GATINGS = {
    "noisy": {},
    "noisy in groups": dict(groups=4),
    "noisy in 2 groups": dict(groups=2),
    "balanced": dict(gating="strictly_balanced"),
    "balanced in groups": dict(gating="strictly_balanced", groups=4),
    "top_k": dict(gating="top_k"),
    "few experts": dict(num_experts=4),  # on four processes, one each
}
SPLITS = {1: [23], 2: [9, 14], 4: [9, 0, 13, 1]}  # a process may have no token at all


def whole_layer(dtype: torch.dtype, **options) -> MixtureOfExperts:
    torch.manual_seed(0)
    layer = MixtureOfExperts(D, H, k=2, **options).to(dtype)
    for name, parameter in layer.gate.named_parameters():
        torch.nn.init.normal_(parameter, std=0.5)
        if name.endswith("threshold"):
            parameter.data.abs_()
    return layer


def fixed_noise(clean: torch.Tensor) -> torch.Tensor:
    """Noise that a token has wherever it is."""
    return torch.sin(1000 * clean.detach())


def step(options: dict[str, Any], sizes: list[int], dtype: torch.dtype, team: int, skew: bool):
    """One forward and backward pass over this process's tokens; gradients as DDP makes them."""
    torch.randn_like = fixed_noise
    options = {"num_experts": 8, **options}
    num_experts = options["num_experts"]
    whole = whole_layer(dtype, **options)
    tokens_TD = torch.randn(sum(sizes), D, dtype=dtype)
    if skew:  # all tokens choose experts of one process
        tokens_TD = tokens_TD[:1] + 1e-3 * tokens_TD
    weights_TD = torch.randn(sum(sizes), D, dtype=dtype)
    rank = dist.get_rank() if dist.is_initialized() else 0
    own = slice(sum(sizes[:rank]), sum(sizes[: rank + 1]))

    mesh = mesh_for(num_experts, team)
    layer = MixtureOfExperts(D, H, k=2, mesh=mesh, **options).to(dtype)
    layer.gate.load_state_dict(whole.gate.state_dict())
    experts = slice(0, num_experts) if mesh is None else mesh.own(num_experts)
    with torch.no_grad():
        layer.experts.w_in.copy_(whole.experts.w_in[experts])
        layer.experts.w_out.copy_(whole.experts.w_out[experts])
    x_TD = tokens_TD[own].clone().requires_grad_()
    y_TD, routing = layer(x_TD)
    balance = cv_squared(routing.importance_E) + cv_squared(routing.load_E)
    loss = (y_TD * weights_TD[own]).sum() + sizes[rank] * balance
    if routing.threshold_loss is not None:
        loss = loss + routing.threshold_loss
    loss.backward()
    gradients = {"x": x_TD.grad}
    for name, parameter in layer.named_parameters():
        gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        if mesh is not None and name.startswith("experts."):
            gradient = gradient * len(sizes)  # the mean over processes, as every other
        elif dist.is_initialized():
            dist.all_reduce(gradient)
        gradients[name] = gradient
    return {
        "loss": loss.detach(),
        "y": y_TD.detach(),
        "importance": routing.importance_E.detach(),
        "load": routing.load_E.detach(),
        "counts": routing.counts_E,
        "experts": experts,
        "gradients": gradients,
    }


def steps(cases: list, sizes: list[int], dtype: torch.dtype, team: int) -> list[dict]:
    return [step(GATINGS[gating], sizes, dtype, team, skew) for gating, skew in cases]


@pytest.mark.parametrize(("processes", "team"), [(2, 2), (4, 4), (4, 2)])
def test_processes_agree_with_one(processes, team, tmp_path):
    cases = [(gating, skew) for gating in GATINGS for skew in (False, True)]
    compare(cases, SPLITS[processes], torch.float64, team, 1e-10, tmp_path)


def test_in_single_precision(tmp_path):
    compare([("noisy", False)], SPLITS[4], torch.float32, 4, 1e-5, tmp_path)


def compare(cases, sizes, dtype, team, tolerance, folder) -> None:
    """All cases in the same processes: to start them takes longer than the steps."""
    [alone] = run_in(1, folder / "one", steps, cases, [sum(sizes)], dtype, 0)
    several = run_in(len(sizes), folder / "several", steps, cases, sizes, dtype, team)
    for case, one, parts in zip(cases, alone, zip(*several, strict=True), strict=True):
        compare_steps(case, one, parts, tolerance)


def compare_steps(case, alone, parts, tolerance) -> None:
    def close(got, want):
        message = lambda text: f"gating {case[0]}, skew {case[1]}: {text}"  # noqa: E731
        torch.testing.assert_close(got, want, rtol=tolerance, atol=tolerance, msg=message)

    close(torch.cat([part["y"] for part in parts]), alone["y"])
    close(torch.cat([part["gradients"]["x"] for part in parts]), alone["gradients"]["x"])
    assert torch.equal(sum(part["counts"] for part in parts), alone["counts"]), case
    close(sum(part["loss"] for part in parts), alone["loss"])
    for part in parts:
        close(part["importance"], alone["importance"])
        close(part["load"], alone["load"])
        for name, want in alone["gradients"].items():
            if name.startswith("experts."):
                close(part["gradients"][name], want[part["experts"]])
            elif name != "x":
                close(part["gradients"][name], want)
