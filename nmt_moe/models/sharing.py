"""What a training needs where processes share the experts."""

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
    """Prepare a model and its task, if its experts are spread over processes.

    PyTorch's DistributedDataParallel must not average different experts.

    A process that has run out of batches gets one from fairseq whose loss does not count. Its
    tokens would still reach experts and the sums over the batch, so it is made a batch of
    padding. fairseq has no hook for this; the task's method is wrapped.

    What only some processes do would let the others wait for ever, so it ends the training: to
    generate, and to leave out a batch that was too large for the memory.

    Raises:
        UserError: a checkpoint in parts is wanted, and there are none.
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
    """fairseq would go on after an error of this process's memory."""

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
    """The same batch with padding for every token of its texts."""
    texts = ("src_tokens", "prev_output_tokens", "target")
    return {
        name: only_padding(value, pad)
        if isinstance(value, dict)
        else torch.full_like(value, pad)
        if name in texts and value is not None
        else value
        for name, value in sample.items()
    }
