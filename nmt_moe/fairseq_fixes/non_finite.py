"""A training ends with one line that says where NaN or Inf was first, and names the last good
checkpoint.

fairseq itself stops before the update, too, but for ``--amp`` on CPUs, after it has written the
model and all its gradients, to the log and to a file that cannot be resumed; where processes share
the experts it says that their gradients are inconsistent. A checkpoint with such weights it writes
in the place of the one before.
"""

import math
from collections.abc import Callable
from typing import Any

import torch.distributed as dist
from fairseq.distributed import utils as distributed_utils

from nmt_moe.checkpoint.record import last_good
from nmt_moe.common.errors import ErrorOnEveryRank, UserError
from nmt_moe.fairseq_fixes.fix import Fix
from nmt_moe.non_finite.search import Search
from nmt_moe.non_finite.tensors import describe_weights


class _Stop(UserError):
    """The gradient of this update must not be used."""


def _stopping(clip: Callable[..., Any]) -> Callable[..., Any]:
    """The norm, which fairseq is about to look at in any case, is the same in all processes."""

    def clip_grad_norm(self: Any, clip_norm: float) -> Any:
        scaler = self.optimizer.scaler if self.cfg.common.amp else None
        try:
            if scaler is not None and not scaler.is_enabled():  # no GPU
                norm = self.optimizer.fp32_optimizer.clip_grad_norm(clip_norm)
            else:
                norm = clip(self, clip_norm)
        except FloatingPointError as error:  # the loss scale cannot get smaller
            raise _Stop(str(error)) from error
        norm = norm.cpu()  # waits once: fairseq and the log look at it, too
        repeats = scaler is not None and scaler.is_enabled()  # with a smaller scale
        if not repeats and not math.isfinite(norm):
            raise _Stop("the gradient is NaN or Inf")
        return norm

    return clip_grad_norm


def _explaining(step: Callable[..., Any]) -> Callable[..., Any]:
    def train_step(self: Any, samples: list, *args: Any, **kwargs: Any) -> Any:
        try:
            return step(self, samples, *args, **kwargs)
        except _Stop as stop:
            what = _first(describe_weights(self.get_model())) or _repeat(self, samples)
            reason = f" ({stop})" if isinstance(stop.__cause__, FloatingPointError) else ""
            raise _error(
                self,
                f"{what or 'NaN or Inf in the gradient, but not when the batch was repeated'}"
                f"{reason}: stopped before update {self.get_num_updates() + 1}",
            ) from stop

    return train_step


def _refusing(save: Callable[..., Any]) -> Callable[..., Any]:
    """An expert without tokens never shows in a gradient."""

    def save_checkpoint(cfg: Any, trainer: Any, *args: Any, **kwargs: Any) -> Any:
        what = _first(describe_weights(trainer.get_model()))
        if what is not None:
            raise _error(trainer, f"{what} after update {trainer.get_num_updates()}: not saved")
        return save(cfg, trainer, *args, **kwargs)

    return save_checkpoint


def _repeat(trainer: Any, samples: list) -> str | None:
    """The first that is not finite in a pass over the same batches with the same random numbers."""
    trainer._set_seed()
    trainer.zero_grad()
    with Search(trainer.get_model(), trainer.get_criterion()) as search:
        for sample in samples:
            sample, is_dummy = trainer._prepare_sample(sample)
            trainer.task.train_step(
                sample=sample,
                model=trainer.get_model(),
                criterion=trainer.get_criterion(),
                optimizer=trainer.optimizer,
                update_num=trainer.get_num_updates(),
                ignore_grad=is_dummy,
            )
    return _first(None if search.found is None else search.found[1], search.found)


def _first(what: str | None, place: Any = None) -> str | None:
    """Of what the processes have found, that which comes first; all of them have to call it."""
    found = [(place or (0, ""), what)]
    if distributed_utils.get_global_world_size() > 1:
        found *= dist.get_world_size()
        dist.all_gather_object(found, found[0])
    return min((one for one in found if one[1] is not None), default=(None, None))[1]


def _error(trainer: Any, message: str) -> ErrorOnEveryRank:
    """The same in all processes, as only the first one may see the checkpoints."""
    lines = [""]
    if trainer.is_data_parallel_master:
        good = last_good(trainer.cfg.checkpoint.save_dir)
        where = (
            f"there is no good checkpoint in {trainer.cfg.checkpoint.save_dir}"
            if good is None
            else f"the last good checkpoint is {good.path}, of update {good.updates}"
        )
        lines = [
            f"{message}; {where}. Go on from there with a lower --lr, a longer warm-up or "
            "--clip-norm"
        ]
    if distributed_utils.get_global_world_size() > 1:
        dist.broadcast_object_list(lines)
    return ErrorOnEveryRank(lines[0])


FIXES = (
    Fix(
        "fairseq.trainer:Trainer.clip_grad_norm",
        _stopping,
        "A norm of the gradient that is not finite stops the training, with --amp on CPUs too.",
    ),
    Fix(
        "fairseq.trainer:Trainer.train_step",
        _explaining,
        "The layer or weight in which NaN or Inf was first is named, in one line on every rank.",
    ),
    Fix(
        "fairseq.checkpoint_utils:save_checkpoint",
        _refusing,
        "Weights that are not finite never replace a good checkpoint.",
    ),
)
