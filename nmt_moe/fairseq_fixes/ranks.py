"""What one rank of a training does for all."""

from collections.abc import Callable

import torch.distributed as dist
from fairseq.distributed import utils as distributed_utils

from nmt_moe.common.errors import ErrorOnEveryRank, UserError


def on_rank_0(action: Callable[[], None]) -> None:
    """Run an action on rank 0 for the whole training.

    Raises:
        ErrorOnEveryRank: on every rank, with what the action has raised for the user.
    """
    lines: list[str | None] = [None]
    if distributed_utils.get_global_rank() == 0:
        try:
            action()
        except UserError as error:
            lines = [str(error)]
    if distributed_utils.get_global_world_size() > 1:
        dist.broadcast_object_list(lines)
    if lines[0] is not None:
        raise ErrorOnEveryRank(lines[0])
