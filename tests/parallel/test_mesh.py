"""Which processes share experts, if nobody says; and a mesh of one, which calls as several do."""

import os
import socket
import subprocess
import sys
from collections import Counter
from typing import Any

import pytest
import torch
import torch.distributed as dist

from nmt_moe.moe import MixtureOfExperts
from nmt_moe.moe.mesh import MESH_OF_ONE, _of_each_machine, mesh_for, team
from nmt_moe.plan.efficiency import collectives
from tests.parallel.processes import run_in
from tests.parallel.test_layer import GATINGS, D, H, fixed_noise, whole_layer
from tests.parallel.test_training import gradients
from tests.parallel.trainer import configuration
from tests.recipes import ROOT

CALLS = {"all_reduce", "all_to_all_single", "all_gather"}


# A mesh of one


def numbers(layer: MixtureOfExperts, x_TD: torch.Tensor) -> list[torch.Tensor]:
    """Output, what is summed over processes, and all gradients."""
    torch.randn_like = fixed_noise
    x_TD = x_TD.clone().requires_grad_()
    y_TD, routing = layer(x_TD)
    sums = [routing.importance_E, routing.load_E]
    loss = (y_TD.float() * torch.linspace(-1, 2, y_TD.numel()).view_as(y_TD)).sum()
    loss = loss + sum((one * torch.linspace(0, 1, len(one))).sum() for one in sums)
    if routing.threshold_loss is not None:
        loss = loss + routing.threshold_loss
    wanted = [x_TD, *layer.parameters()]
    found = torch.autograd.grad(loss, wanted, allow_unused=True, materialize_grads=True)
    return [y_TD, *sums, *found]


def count_calls() -> Counter[str]:
    """How often each is called from now on; it is still made."""
    seen: Counter[str] = Counter()

    def counted(name: str) -> None:
        call = getattr(dist, name)

        def wrapper(*args: Any, **kwargs: Any) -> Any:
            seen[name] += 1
            return call(*args, **kwargs)

        setattr(dist, name, wrapper)

    for name in CALLS:
        counted(name)
    return seen


def compare_with_none(dtype: torch.dtype) -> dict[str, Counter[str]]:
    os.environ[MESH_OF_ONE] = "1"
    mesh = mesh_for(8, 0)
    assert mesh_for(8, 1) is None  # what a user asks for
    assert (mesh.world_size, mesh.ep_size, mesh.ep_rank) == (1, 1, 0)
    calls, seen = {}, count_calls()
    for name, given in GATINGS.items():
        options = {"num_experts": 8, **given}
        whole = whole_layer(dtype, **options)
        layer = MixtureOfExperts(D, H, k=2, mesh=mesh, **options).to(dtype)
        for one, other in zip(layer.parameters(), whole.parameters(), strict=True):
            one.data.copy_(other.data)
        for tokens in (23, 1, 0):
            x_TD = torch.randn(tokens, D, dtype=dtype)
            seen.clear()
            found, right = numbers(layer, x_TD), numbers(whole, x_TD)
            for place, (one, other) in enumerate(zip(found, right, strict=True)):
                assert one.dtype == other.dtype
                assert torch.equal(one, other), (name, tokens, place)
            calls.setdefault(name, Counter(seen))  # with rows
            with torch.no_grad():
                assert torch.equal(layer.eval()(x_TD)[0], whole.eval()(x_TD)[0])
            layer.train(), whole.train()
    return calls


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_mesh_of_one_gives_the_numbers_of_none(dtype, tmp_path):
    """To the bit, rows or none; and each call is made: so NCCL's can be tested on one GPU."""
    [calls] = run_in(1, tmp_path, compare_with_none, dtype)
    for name, seen in calls.items():
        # Counts, rows to experts and back, and the gradients of both.
        assert seen["all_to_all_single"] == 5, name
        balanced = "balanced" in name
        levels = 2 if "groups" in name else 1
        # Importance and load in one, and back; two matrices of experts; how many tokens there are.
        assert seen["all_reduce"] == 2 + 2 + levels * balanced, name
        assert seen["all_gather"] == 2 * levels * balanced, name
        layer = whole_layer(dtype, **{"num_experts": 8, **GATINGS[name]})
        assert sum(seen.values()) == collectives(layer) + 2, name  # as is planned


@pytest.mark.parametrize("device", ["cuda" if torch.cuda.is_available() else "cpu"])
def test_a_mesh_of_one_on_the_device(device):
    """With NCCL on a GPU; in a process of its own, as a fork can have none."""
    program = (
        "import torch; from tests.parallel.test_mesh import compare_with_none;"
        f"torch.set_default_device('{device}');"
        "[compare_with_none(dtype) for dtype in (torch.float32, torch.bfloat16)]"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, timeout=300)


def start_alone(cfg: Any) -> tuple[dict, dict]:
    """A training of one process, which fairseq does not connect to any."""
    dist.destroy_process_group()
    found = gradients(cfg, [11], 0, "legacy_ddp", torch.float32)
    assert not dist.is_initialized() and not found["shared"]
    os.environ[MESH_OF_ONE] = "1"
    again = gradients(cfg, [11], 0, "legacy_ddp", torch.float32)
    assert dist.is_initialized() and again["shared"]
    return found, again


def test_a_training_has_a_mesh_of_one_on_request(tmp_path):
    cfg = configuration("--lr", 0, "--clip-norm", 0, moe_experts=8)
    [(found, again)] = run_in(1, tmp_path, start_alone, cfg)
    torch.testing.assert_close(again["training loss"], found["training loss"])
    torch.testing.assert_close(again["norm"], found["norm"])
    for name, (_, gradient) in found["gradients"].items():
        torch.testing.assert_close(again["gradients"][name][1], gradient)


# The default


@pytest.mark.parametrize(
    ("experts", "processes", "machine", "expected"),
    [
        (32, 8, 8, 8),
        (32, 16, 8, 8),  # not over the network between machines
        (12, 16, 8, 4),
        (32, 16, 1, 16),  # a machine of one cannot share
        (9, 6, 2, 3),  # nor can one whose number has no common divisor
        (7, 16, 8, 1),
        (512, 16, 8, 16),  # 64 experts each way are more than the tokens
        (2048, 64, 8, 64),
    ],
)
def test_the_default_stays_on_a_machine_unless_crossing_pays(experts, processes, machine, expected):
    """The paper's layer: experts of 2048, 4 of them for a token."""
    found = team(experts, processes, machine, hidden_dim=2048, per_token=4)
    assert found == expected
    assert not processes % found and not experts % found


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([("4", "a")] * 4 + [("4", "b")] * 4, 4),
        ([("2", name) for name in "abcd"], 2),  # containers: torchrun knows better
        ([("", "a")] * 4 + [("", "b")] * 2, 2),
        ([("4", "a")] * 4 + [("2", "b")] * 2, 2),
        ([("", name) for name in "abab"], 1),  # no neighbours
        ([("", "a")] * 3, 3),
    ],
)
def test_how_many_processes_a_machine_has(found, expected):
    assert _of_each_machine(found) == expected


def default_team(names: str, local: str) -> int:
    socket.gethostname = lambda: names[dist.get_rank()]
    os.environ.pop("LOCAL_WORLD_SIZE", None)
    if local:
        os.environ["LOCAL_WORLD_SIZE"] = local
    mesh = mesh_for(8, 0)
    crossing = mesh_for(8, 0, hidden_dim=100_000)
    return mesh.ep_size, crossing.ep_size


@pytest.mark.parametrize(("names", "local"), [("aabb", ""), ("abcd", "2")])
def test_processes_agree_on_their_machines(names, local, tmp_path):
    assert run_in(4, tmp_path, default_team, names, local) == [(2, 4)] * 4
