"""Experts out of reach: in training, a batch may find only some of them (``expert_dropout``)."""

import torch
from torch import Tensor

from nmt_moe.moe.mesh import Mesh, total


def draw(
    experts: int, k: int, share: float, device: torch.device, mesh: Mesh | None
) -> Tensor | None:
    """The experts that a batch can reach, int64 and ascending; None: all.

    Each is out of reach with probability ``share``, but at least ``k`` stay. Processes that share
    the experts agree. One alone draws on the host, which then knows how many without waiting.
    """
    if not share:
        return None
    drawn_E = torch.rand(experts, device="cpu" if mesh is None else device)
    if mesh is not None:
        drawn_E = total(drawn_E if mesh.rank == 0 else torch.zeros_like(drawn_E), mesh)
    stays_E = drawn_E >= share
    stays_E[drawn_E.topk(k).indices] = True
    reach = stays_E.nonzero().squeeze(1)
    # From other memory a copy would wait for the GPU.
    return reach.pin_memory().to(device, non_blocking=True) if reach.device != device else reach


def columns(weight: Tensor, reach: Tensor | None) -> Tensor:
    """Those of a gate's parameter that belong to the experts in reach."""
    return weight if reach is None else weight.index_select(-1, reach)
