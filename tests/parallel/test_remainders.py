"""The remainders of bfloat16 of experts that two processes share: saved whole, and read again."""

from typing import Any

import torch

from nmt_moe.moe.experts import Experts
from nmt_moe.moe.mesh import mesh_for
from nmt_moe.optim.moe_adam import MoEAdam
from tests.parallel.processes import run_in


def update(experts: Experts, optimizer: MoEAdam) -> None:
    """With gradients that tell experts apart, by their numbers among all."""
    mesh = experts.mesh
    own = slice(None) if mesh is None else mesh.own(experts.num_experts)
    chance = torch.Generator().manual_seed(1)
    for weight in experts.parameters():
        shape = experts.num_experts, *weight.shape[1:]
        weight.grad = torch.randn(shape, generator=chance)[own].bfloat16()
    optimizer.step()


def updated(processes: int) -> dict[str, Any] | None:
    """What the first process would save after two updates, between which all load it again."""
    torch.manual_seed(1)
    mesh = mesh_for(4, processes)
    experts = Experts(4, 6, 8, mesh=mesh).bfloat16()
    optimizer = MoEAdam(experts.parameters(), lr=1e-4, mesh=mesh)
    update(experts, optimizer)
    optimizer.consolidate_state_dict()
    saved = [optimizer.state_dict() if mesh is None or mesh.rank == 0 else None]
    if mesh is not None:
        torch.distributed.broadcast_object_list(saved)
    optimizer = MoEAdam(experts.parameters(), lr=1e-4, mesh=mesh)
    optimizer.load_state_dict(saved[0])
    update(experts, optimizer)
    optimizer.consolidate_state_dict()
    if mesh is not None and mesh.rank:
        return None
    return {"model": experts.state_dict(), "state": optimizer.state_dict()["state"]}


def test_two_processes_keep_the_weights_of_one(tmp_path):
    [alone] = run_in(1, tmp_path / "one", updated, 1)
    first, second = run_in(2, tmp_path / "two", updated, 2)
    assert second is None
    for name, weight in alone["model"].items():
        assert torch.equal(first["model"][name], weight)
    assert first["state"].keys() == alone["state"].keys() == {0, 1}
    for number, state in alone["state"].items():
        assert state["remainder"].dtype == torch.int16 and state["remainder"].any()
        for name, value in state.items():
            assert torch.equal(first["state"][number][name], value), name
