"""Which processes share the experts (section 3.1), and how they talk to each other."""

from __future__ import annotations

import functools
import itertools
import math
import os
import socket
import uuid
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

import torch
import torch.distributed as dist
from torch import Tensor

from nmt_moe.common.errors import UserError

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup


MESH_OF_ONE = "NMT_MOE_MESH_OF_ONE"
"""In the environment: a process that is alone shares its experts with itself, and calls all that
several would call. For tests of NCCL on one GPU."""
TOKENS = 16_000
"""Of a batch of a process, for which the default of ``--moe-expert-parallel-size`` is right."""


class Spread(Protocol):
    """A module of which each rank holds a part."""

    def gather(self) -> None:
        """Bring all of it to rank 0."""

    def release(self) -> None:
        """Forget what was gathered."""


@dataclass(frozen=True, eq=False)
class Mesh:
    """``world_size`` processes in ``world_size / ep_size`` expert-parallel groups; each group
    holds every expert once.

    A layer's experts are spread over the group in order, ``E / ep_size`` on each rank of it. All
    processes together make one batch: a sum over it is a sum over the world.
    """

    rank: int
    world_size: int
    ep_rank: int
    """This process' rank in its expert-parallel group."""
    ep_size: int
    """Processes of an expert-parallel group, at least 2; 1 on request (``MESH_OF_ONE``)."""
    ep_group: ProcessGroup
    replica_group: ProcessGroup | None
    """The processes with the same experts as this one; None if there is no other."""
    parts: bool = False
    """Whether each rank writes its own part of a checkpoint, instead of rank 0 a complete one."""
    run: str = ""
    """A name for this start of a training: its processes have it in common with no other."""
    modules: list[weakref.ref[Spread]] = field(default_factory=list)

    def spread(self) -> list[Spread]:
        """The experts of every layer, in the order in which they were made."""
        return [module for one in self.modules if (module := one()) is not None]

    def own(self, num_experts: int) -> slice:
        """The experts of this process."""
        share = num_experts // self.ep_size
        return slice(self.ep_rank * share, (self.ep_rank + 1) * share)


def mesh_for(
    num_experts: int, size: int, parts: bool = False, hidden_dim: int = 0, per_token: int = 1
) -> Mesh | None:
    """The processes that share ``num_experts`` experts; None where each rank has them all.

    Every process of a training must ask, and in the same order.

    Args:
        num_experts: experts of a layer.
        size: processes that share them; 0: see :func:`team`.
        parts: let each process write its own part of a checkpoint.
        hidden_dim: of an expert.
        per_token: experts that see a token.

    Raises:
        UserError: ``size`` does not divide the processes or the experts.
    """
    if not dist.is_available():
        return None
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return _mesh_of_one(parts) if not size and os.environ.get(MESH_OF_ONE) else None
    world_size = dist.get_world_size()
    size = size or team(num_experts, world_size, _per_machine(), hidden_dim, per_token)
    size = expert_parallel_size(num_experts, size, world_size)
    return None if size == 1 else _mesh(size, world_size, parts)


def team(
    num_experts: int,
    world_size: int,
    per_machine: int,
    hidden_dim: int = 0,
    per_token: int = 1,
    tokens: int = TOKENS,
) -> int:
    """How many processes share the experts, if the user does not say.

    The most of one machine that divide experts and processes. The network between machines then
    carries the gradients of the experts, of which each machine has a copy: ``2 * 2DH`` numbers
    for each that a process holds. If more processes share them, it carries tokens: ``4D`` numbers
    for each expert of a token. Where that is less, or a machine cannot share, all processes do.

    Args:
        num_experts: ``E``.
        world_size: all processes.
        per_machine: those of a machine.
        hidden_dim: ``H`` of an expert.
        per_token: experts that see a token.
        tokens: of a process' batch.
    """
    of_all = math.gcd(world_size, num_experts)
    of_machine = math.gcd(per_machine, of_all)
    crossing_pays = num_experts // of_machine * hidden_dim > per_token * tokens
    return of_all if of_machine == 1 or crossing_pays else of_machine


@functools.cache
def _per_machine() -> int:
    """Processes of a machine, the same in all; asked in all of them.

    torchrun says how many; else neighbours with the same host name are on one machine.
    """
    here = os.environ.get("LOCAL_WORLD_SIZE", ""), socket.gethostname()
    found = [here] * dist.get_world_size()
    dist.all_gather_object(found, here)
    return _of_each_machine(found)


def _of_each_machine(found: Sequence[tuple[str, str]]) -> int:
    """From what each process knows: torchrun's number for its machine, and the host's name."""
    numbers = {number for number, _ in found}
    if len(numbers) == 1 and found[0][0].isdigit():
        return int(found[0][0])
    machines = itertools.groupby(name for _, name in found)
    return math.gcd(*(len(list(processes)) for _, processes in machines))


def expert_parallel_size(num_experts: int, size: int, world_size: int) -> int:
    """``size``, or if that is 0 the most processes that divide both others.

    Raises:
        UserError: ``size`` does not divide the processes of the world or the experts.
    """
    size = size or math.gcd(world_size, num_experts)
    for what, count in {"processes": world_size, "experts": num_experts}.items():
        if count % size:
            raise UserError(
                f"--moe-expert-parallel-size {size} does not divide the {count} {what}: "
                f"choose one that divides both, such as {math.gcd(world_size, num_experts)}"
            )
    return size


@functools.cache
def _mesh_of_one(parts: bool) -> Mesh:
    """With NCCL for what is on a GPU, and gloo for the rest; each call is really made."""
    if not dist.is_initialized():
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        dist.init_process_group(backend, store=dist.HashStore(), rank=0, world_size=1)
    return replace(_mesh(1, 1, parts), replica_group=dist.new_group([0]))


@functools.cache
def _mesh(ep_size: int, world_size: int, parts: bool) -> Mesh:
    rank = dist.get_rank()
    # Every process has to take part in making every group.
    ep_groups = [
        dist.new_group(list(range(first, first + ep_size)))
        for first in range(0, world_size, ep_size)
    ]
    replicas = [
        dist.new_group(list(range(ep_rank, world_size, ep_size))) for ep_rank in range(ep_size)
    ]
    run = [uuid.uuid4().hex]
    dist.broadcast_object_list(run)
    return Mesh(
        rank=rank,
        world_size=world_size,
        ep_rank=rank % ep_size,
        ep_size=ep_size,
        ep_group=ep_groups[rank // ep_size],
        replica_group=replicas[rank % ep_size] if world_size > ep_size else None,
        parts=parts,
        run=run[0],
    )


_training: Mesh | None = None


def set_training_mesh(mesh: Mesh | None) -> None:
    """Say how the model of this process' training is spread: its optimizer and checkpoints ask."""
    global _training
    _training = mesh


def training_mesh() -> Mesh | None:
    """How the model of this process' training is spread; None where each rank has all experts."""
    return _training


class _Exchange(torch.autograd.Function):
    """Rows to the ranks of the expert-parallel group and rows from them, in their order."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, sends: list[int], receives: list[int], mesh: Mesh) -> Tensor:
        ctx.arguments = receives, sends, mesh
        received = x.new_empty(sum(receives), *x.shape[1:])
        dist.all_to_all_single(received, x.contiguous(), receives, sends, mesh.ep_group)
        return received

    @staticmethod
    def backward(ctx: Any, dreceived: Tensor) -> tuple[Tensor, None, None, None]:
        return _Exchange.apply(dreceived, *ctx.arguments), None, None, None


def exchange(x: Tensor, sends: list[int], receives: list[int], mesh: Mesh) -> Tensor:
    """Send ``sends[i]`` rows to rank ``i`` of the group and receive ``receives[i]`` from it."""
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


def totals(vectors: Sequence[Tensor], mesh: Mesh | None) -> Sequence[Tensor]:
    """:func:`total` of each, in one call; all have the same type."""
    if mesh is None:
        return vectors
    return total(torch.cat([*vectors]), mesh).split([len(vector) for vector in vectors])


def collect(x: Tensor, mesh: Mesh | None) -> Tensor:
    """``[P, ...]``: the ``x`` of each process of the world, which all have the same shape."""
    if mesh is None:
        return x.unsqueeze(0)
    parts = [torch.empty_like(x) for _ in range(mesh.world_size)]
    dist.all_gather(parts, x.contiguous())
    return torch.stack(parts)


class _ExpertGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, mesh: Mesh) -> Tensor:
        ctx.mesh = mesh
        return weight.view_as(weight)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        if ctx.mesh.replica_group is not None:
            dist.all_reduce(gradient, group=ctx.mesh.replica_group)
        return gradient.div_(ctx.mesh.world_size), None


def expert_weight(weight: Tensor, mesh: Mesh | None) -> Tensor:
    """The weight, with the gradient of a parameter that every process has a copy of.

    That is the mean over the processes of the gradients of their losses. An expert's comes
    from the tokens of all of them, in each group, and so is a sum at first.
    """
    return weight if mesh is None else _ExpertGradient.apply(weight, mesh)


def gather_experts(x: Tensor, mesh: Mesh) -> Tensor | None:
    """What the first expert-parallel group holds of a stack over experts, on rank 0's CPU.

    All processes have to call it; the others get None.
    """
    if mesh.rank >= mesh.ep_size:
        return None
    if x.dtype == torch.int16:  # which NCCL does not know
        bits = gather_experts(x.view(torch.bfloat16), mesh)
        return None if bits is None else bits.view(torch.int16)
    if mesh.rank:
        dist.send(x.contiguous(), 0)
        return None
    parts = [x.cpu()]
    for source in range(1, mesh.ep_size):
        part = torch.empty_like(x)
        dist.recv(part, source)
        parts.append(part.cpu())
    return torch.cat(parts)
