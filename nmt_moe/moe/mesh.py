"""Which processes share the experts (section 3.1), and how they talk to each other."""

from __future__ import annotations

import functools
import math
import uuid
import weakref
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor

from nmt_moe.common.errors import UserError

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

    from nmt_moe.moe.experts import Experts

_meshes: list[Mesh] = []


@dataclass(frozen=True, eq=False)
class Mesh:
    """``world`` processes in ``world / size`` teams; each team holds every expert once.

    A layer's experts are spread over the team in order, ``E / size`` on each member. All
    processes together make one batch: a sum over it is a sum over the world.
    """

    size: int
    """Processes of a team, at least 2."""
    rank: int
    """This process's place in its team."""
    world: int
    place: int
    """This process's place in the world."""
    team: ProcessGroup
    replicas: ProcessGroup | None
    """The processes with the same experts as this one; None if there is no other."""
    parts: bool = False
    """Whether each process writes its own part of a checkpoint, and not the first one all."""
    run: str = ""
    """A name for this start of a training: the processes have it in common with no other."""
    members: list[weakref.ref[Experts]] = field(default_factory=list)

    def layers(self) -> list[Experts]:
        """The experts of every layer, in the order in which they were made."""
        return [experts for member in self.members if (experts := member()) is not None]

    def own(self, num_experts: int) -> slice:
        """The experts of this process."""
        share = num_experts // self.size
        return slice(self.rank * share, (self.rank + 1) * share)


def mesh_for(num_experts: int, size: int, parts: bool = False) -> Mesh | None:
    """The processes that share ``num_experts`` experts; None where each process has them all.

    Every process of a training must ask, and in the same order.

    Args:
        num_experts: experts of a layer.
        size: processes that share them; 0: as many as divide both the experts and the processes.
        parts: let each process write its own part of a checkpoint.

    Raises:
        UserError: ``size`` does not divide the processes or the experts.
    """
    if not dist.is_available() or not dist.is_initialized() or dist.get_world_size() == 1:
        return None
    world = dist.get_world_size()
    size = team_size(num_experts, size, world)
    return None if size == 1 else _mesh(size, world, parts)


def team_size(num_experts: int, size: int, world: int) -> int:
    """``size``, or if that is 0 the most processes that divide both others.

    Raises:
        UserError: ``size`` does not divide the processes of the world or the experts.
    """
    size = size or math.gcd(world, num_experts)
    for what, count in {"processes": world, "experts": num_experts}.items():
        if count % size:
            raise UserError(
                f"--moe-expert-parallel-size {size} does not divide the {count} {what}: "
                f"choose one that divides both, such as {math.gcd(world, num_experts)}"
            )
    return size


@functools.cache
def _mesh(size: int, world: int, parts: bool) -> Mesh:
    rank = dist.get_rank()
    # Every process has to take part in making every group.
    teams = [dist.new_group(list(range(i, i + size))) for i in range(0, world, size)]
    places = [dist.new_group(list(range(place, world, size))) for place in range(size)]
    run = [uuid.uuid4().hex]
    dist.broadcast_object_list(run)
    mesh = Mesh(
        size=size,
        rank=rank % size,
        world=world,
        place=rank,
        team=teams[rank // size],
        replicas=places[rank % size] if world > size else None,
        parts=parts,
        run=run[0],
    )
    _meshes.append(mesh)
    return mesh


def active_mesh() -> Mesh | None:
    """The one that this training's layers share; None where each process has all experts."""
    return _meshes[-1] if _meshes else None


class _Exchange(torch.autograd.Function):
    """Rows to the members of the team and rows from them, in the order of the members."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, sends: list[int], receives: list[int], mesh: Mesh) -> Tensor:
        ctx.arguments = receives, sends, mesh
        received = x.new_empty(sum(receives), *x.shape[1:])
        dist.all_to_all_single(received, x.contiguous(), receives, sends, mesh.team)
        return received

    @staticmethod
    def backward(ctx: Any, dreceived: Tensor) -> tuple[Tensor, None, None, None]:
        return _Exchange.apply(dreceived, *ctx.arguments), None, None, None


def exchange(x: Tensor, sends: list[int], receives: list[int], mesh: Mesh) -> Tensor:
    """Send ``sends[i]`` rows to member ``i`` and receive ``receives[i]`` from it."""
    return _Exchange.apply(x, sends, receives, mesh)


class _Total(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, dtotal: Tensor) -> Tensor:
        return _Total.apply(dtotal)


def total(x: Tensor, mesh: Mesh | None) -> Tensor:
    """The sum over the processes of the world, differentiable in each one's ``x``."""
    return x if mesh is None else _Total.apply(x)


def collect(x: Tensor, mesh: Mesh | None) -> Tensor:
    """``[P, ...]``: the ``x`` of each process of the world, which all have the same shape."""
    if mesh is None:
        return x.unsqueeze(0)
    parts = [torch.empty_like(x) for _ in range(mesh.world)]
    dist.all_gather(parts, x.contiguous())
    return torch.stack(parts)


class _ExpertGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, mesh: Mesh) -> Tensor:
        ctx.mesh = mesh
        return weight.view_as(weight)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        if ctx.mesh.replicas is not None:
            dist.all_reduce(gradient, group=ctx.mesh.replicas)
        return gradient.div_(ctx.mesh.world), None


def expert_weight(weight: Tensor, mesh: Mesh | None) -> Tensor:
    """The weight, with the gradient of a parameter that every process has a copy of.

    That is the mean over the processes of the gradients of their losses. An expert's comes
    from the tokens of all of them, in each team, and so is a sum at first.
    """
    return weight if mesh is None else _ExpertGradient.apply(weight, mesh)


def gather_experts(x: Tensor, mesh: Mesh) -> Tensor | None:
    """What the first team holds of a stack over experts, whole, on the first process' CPU.

    All processes have to call it; the others get None.
    """
    if mesh.place >= mesh.size:
        return None
    if mesh.place:
        dist.send(x.contiguous(), 0)
        return None
    parts = [x.cpu()]
    for source in range(1, mesh.size):
        part = torch.empty_like(x)
        dist.recv(part, source)
        parts.append(part.cpu())
    return torch.cat(parts)
