"""What a training needs where processes share the experts."""

from typing import Any

import torch
from torch import nn

from nmt_moe.errors import UserError
from nmt_moe.models.config import StackConfig
from nmt_moe.moe.mesh import active_mesh


def share_experts(model: nn.Module, cfg: StackConfig, task: Any) -> None:
    """Prepare a model and its task, if its experts are spread over processes.

    PyTorch's DistributedDataParallel must not average different experts.

    A process that has run out of batches gets one from fairseq whose loss does not count. Its
    tokens would still reach experts and the sums over the batch, so it is made a batch of
    padding. fairseq has no hook for this; the task's method is wrapped.

    Raises:
        UserError: a checkpoint in parts is wanted, and there are none.
    """
    if active_mesh() is None:
        if cfg.moe_sharded_checkpoint:
            raise UserError(
                "--moe-sharded-checkpoint needs experts that are spread over at least 2 "
                "processes: start more, or leave it out to write complete checkpoints"
            )
        return
    model._ddp_params_and_buffers_to_ignore = [  # type: ignore[assignment]
        name for name, parameter in model.named_parameters() if hasattr(parameter, "expert")
    ]
    train_step = task.train_step

    def without_surplus(sample: dict, *args: Any, ignore_grad: bool = False, **kwargs: Any) -> Any:
        if ignore_grad:
            sample = only_padding(sample, task.target_dictionary.pad())
        return train_step(sample, *args, ignore_grad=ignore_grad, **kwargs)

    task.train_step = without_surplus


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
