"""Expert parallelism in a training: gradients, surplus batches and errors of single processes."""

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from nmt_moe.common.errors import ErrorOnEveryRank, UserError
from nmt_moe.models.config import StackConfig
from nmt_moe.moe.experts import Experts
from nmt_moe.moe.mesh import set_training_mesh, training_mesh


def share_experts(model: nn.Module, cfg: StackConfig, task: Any) -> None:
    """Prepare a model and its task if its experts are spread over processes.

    DistributedDataParallel is told to leave the experts' gradients alone.

    fairseq gives a process that has run out of batches a dummy batch whose loss does not count. Its
    tokens would still reach experts and enter the sums over the batch, so all of them become
    padding. fairseq has no hook for this; the task's method is wrapped.

    The other processes would wait forever for one that generates, or that skips a batch which did
    not fit into its memory: both are errors that end the training.

    Raises:
        UserError: ``--moe-sharded-checkpoint`` is given and no experts are spread.
    """
    meshes = (module.mesh for module in model.modules() if isinstance(module, Experts))
    set_training_mesh(next(meshes, None))
    if training_mesh() is None:
        if cfg.moe_sharded_checkpoint:
            raise UserError(
                "--moe-sharded-checkpoint needs experts that are spread over at least 2 "
                "processes: start more, or leave it out to write complete checkpoints"
            )
        return
    model._ddp_params_and_buffers_to_ignore = [  # type: ignore[assignment]
        name for name, parameter in model.named_parameters() if hasattr(parameter, "expert")
    ]
    train_step = task.train_step = _in_all(task.train_step)
    task.valid_step = _in_all(task.valid_step)
    task.build_generator = check_alone

    def without_surplus(sample: dict, *args: Any, ignore_grad: bool = False, **kwargs: Any) -> Any:
        if ignore_grad:
            sample = only_padding(sample, task.target_dictionary.pad())
        return train_step(sample, *args, ignore_grad=ignore_grad, **kwargs)

    task.train_step = without_surplus


def _in_all(step: Callable[..., Any]) -> Callable[..., Any]:
    """Raise an error when this process is out of memory, where fairseq would skip the batch."""

    def step_in_all(*args: Any, **kwargs: Any) -> Any:
        try:
            return step(*args, **kwargs)
        except RuntimeError as error:
            if "out of memory" not in str(error):
                raise
            raise UserError(
                f"process {dist.get_rank()} is out of memory, and where processes share experts "
                "none can leave out a batch: give a lower --max-tokens or --batch-size, or more "
                "processes"
            ) from error

    return step_in_all


def check_alone(*args: Any, **kwargs: Any) -> None:
    """Raise a :class:`UserError` where processes that share experts are about to generate."""
    if training_mesh() is not None:
        raise ErrorOnEveryRank(
            "processes that share experts cannot translate, each would need another number of "
            "steps: give each process all experts (--moe-expert-parallel-size 1)"
        )


def only_padding(sample: dict, pad: int) -> dict:
    """The same batch with every token of its texts replaced by padding."""
    texts = ("src_tokens", "prev_output_tokens", "target")
    return {
        name: only_padding(value, pad)
        if isinstance(value, dict)
        else torch.full_like(value, pad)
        if name in texts and value is not None
        else value
        for name, value in sample.items()
    }
