"""fairseq's functions for checkpoints, replaced: it has no hooks here."""

import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from fairseq import checkpoint_utils
from fairseq.data.iterators import EpochBatchIterator
from fairseq.distributed import utils as distributed_utils
from fairseq.file_io import PathManager
from fairseq.trainer import Trainer
from omegaconf import OmegaConf

from nmt_moe import begin
from nmt_moe.checkpoint import dictionaries, lock, parts, plain, resume, stop
from nmt_moe.checkpoint.files import check, explained, write
from nmt_moe.errors import UserError, first_does


def install() -> None:
    """Replace fairseq's functions that restore, save, read, write, copy and broadcast checkpoints.

    Restoring first checks the options, locks the folder, and sees, where a checkpoint is in parts,
    that they belong together; a checkpoint of other dictionaries is refused, of other options
    explained, and one of other batches gone on from in proportion. After it the metric that chooses
    the best checkpoint is tried, SIGTERM saves before it ends the training, and one that was done
    does no more. Reading explains a damaged or unsafe file in one line. Writing makes the state
    plain first, and does not try again at the end of what a failed try has left, which would make a
    file that looks complete and is not. Copying goes through a temporary file, so that
    ``checkpoint_last.pt`` is always whole. What the first process has read reaches the others of a
    training without a second check, which fairseq's own objects would fail.

    Called when the plugin is imported. Beside ``stop.py``, ``finite/training.py``,
    ``models/sharing.py``, ``parsers.py``, ``threads.py``, ``report/tensorboard.py`` and
    ``corpus/reversible.py``, nothing else in this package changes fairseq.
    """
    if getattr(checkpoint_utils.load_checkpoint_to_cpu, "__module__", "") == __name__:
        return
    plain.allow()
    checkpoint_utils.load_checkpoint = _checking(checkpoint_utils.load_checkpoint)
    checkpoint_utils.save_checkpoint = stop.noting(checkpoint_utils.save_checkpoint)
    checkpoint_utils.load_checkpoint_to_cpu = _explaining(checkpoint_utils.load_checkpoint_to_cpu)
    checkpoint_utils.load_model_ensemble_and_task = dictionaries.for_models(
        checkpoint_utils.load_model_ensemble_and_task
    )
    checkpoint_utils._torch_persistent_save = _save
    Trainer.state_dict = dictionaries.noting(Trainer.state_dict)
    Trainer.load_checkpoint = resume.explaining(Trainer.load_checkpoint)
    EpochBatchIterator.state_dict = resume.noting(EpochBatchIterator.state_dict)
    PathManager.copy = staticmethod(_copy_whole(PathManager.copy))
    distributed_utils._broadcast_object_slow = _trusting(distributed_utils._broadcast_object_slow)


def _checking(load: Callable[..., Any]) -> Callable[..., Any]:
    def load_checkpoint(cfg: Any, trainer: Any, *args: Any, **kwargs: Any) -> Any:
        resume.check_options(cfg)
        os.makedirs(cfg.save_dir, exist_ok=True)  # fairseq: on the first process' machine only
        if not cfg.no_save:
            first_does(lambda: lock.hold(cfg.save_dir))
        first_does(lambda: begin.check_restored(cfg, trainer.checkpoint_suffix))
        last = cfg.restore_file == "checkpoint_last.pt"
        parts.check(os.path.join(cfg.save_dir, cfg.restore_file) if last else cfg.restore_file)
        with dictionaries.of_training(trainer.task, cfg), resume.in_proportion(trainer):
            loaded = load(cfg, trainer, *args, **kwargs)
        begin.check_metric(trainer)
        if not cfg.no_save:
            _check_early(trainer)
        stop.at_the_end()
        stop.begins(cfg, trainer)
        if not (cfg.no_save or cfg.no_last_checkpoints):
            stop.listen()
        return loaded

    return load_checkpoint


def _check_early(trainer: Any) -> None:
    """Refuse at the start what is in the state from then on, and could not be read again."""
    plain.plain(
        {
            "cfg": OmegaConf.to_container(trainer.cfg, resolve=True, enum_to_str=True),
            "criterion": trainer.get_criterion().state_dict(),
            "lr_scheduler_state": trainer.lr_scheduler.state_dict(),
            "task_state": trainer.task.state_dict(),
            "extra_state": getattr(trainer.task, "get_checkpoint_dict", dict)(),
        }
    )


def _explaining(load: Callable[..., dict]) -> Callable[..., dict]:
    def load_checkpoint_to_cpu(path: str, *args: Any, **kwargs: Any) -> dict:
        with explained(path):
            check(PathManager.get_local_path(path))
            state = plain.restored(load(path, *args, **kwargs))
            if parts.MARK in state and state[parts.MARK]["part"] != parts.own_part():
                raise UserError(f"{path} is a part of a checkpoint: {parts.MERGE}")
            resume.keep_place(state)
            _hold_all_experts(state)
        dictionaries.compare(path, state)
        return state

    return load_checkpoint_to_cpu


def _hold_all_experts(state: dict[str, Any]) -> None:
    """Let processes share sentences but no experts where a model is only used: each may need
    another number of steps."""
    model = (state.get("cfg") or {}).get("model")
    if model is not None and getattr(model, "moe_expert_parallel_size", 1) != 1:
        model.moe_expert_parallel_size = 1


def _save(obj: Any, file: Any) -> None:
    model = obj.get("cfg", {}).get("model") if isinstance(obj, dict) else None
    if parts.own_part() is not None:
        parts.mark(obj)
    elif model and "moe_expert_parallel_size" in model:
        model["moe_expert_parallel_size"] = 1  # the file holds all experts, for any reader
    write(obj, file)
    parts.wait_for_others()


def _copy_whole(copy: Callable[..., Any]) -> Callable[..., Any]:
    def copy_whole(src_path: str, dst_path: str, overwrite: bool = False) -> Any:
        part = dst_path + ".tmp"
        complete = False
        try:
            copied = copy(src_path, part, overwrite=True)
            complete = True
            parts.wait_for_others()
            os.replace(part, dst_path)
        except OSError as error:
            _remove(part)
            raise UserError(
                f"could not copy {src_path} to {dst_path} ({error.strerror}): what was there "
                "before is whole; make room and give the same command again"
            ) from error
        except BaseException:
            if not complete:  # else others may have replaced theirs, and need this one
                _remove(part)
            raise
        return copied

    return copy_whole


def _remove(path: str) -> None:
    with suppress(OSError):
        os.remove(path)


def _trusting(broadcast: Callable[..., Any]) -> Callable[..., Any]:
    switch = "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"

    def broadcast_object_slow(*args: Any, **kwargs: Any) -> Any:
        before = os.environ.get(switch)
        os.environ[switch] = "1"
        try:
            return broadcast(*args, **kwargs)
        finally:
            del os.environ[switch]
            if before is not None:
                os.environ[switch] = before

    return broadcast_object_slow
