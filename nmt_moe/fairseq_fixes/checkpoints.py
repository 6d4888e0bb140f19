"""fairseq's functions for checkpoints: it has no hooks here."""

import os
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from typing import Any

from fairseq.file_io import PathManager
from omegaconf import OmegaConf

from nmt_moe.checkpoint import dictionaries, lock, parts, plain
from nmt_moe.checkpoint.files import check, explained, write
from nmt_moe.common.errors import UserError
from nmt_moe.fairseq_fixes import early_stop, first_part, resume, sigterm, start_checks
from nmt_moe.fairseq_fixes.fix import Fix
from nmt_moe.fairseq_fixes.ranks import on_rank_0


def _checking(load: Callable[..., Any]) -> Callable[..., Any]:
    def load_checkpoint(cfg: Any, trainer: Any, *args: Any, **kwargs: Any) -> Any:
        resume.check_options(cfg)
        # A rank cannot check again what rank 0 has read and would broadcast.
        cfg.load_checkpoint_on_all_dp_ranks = True
        os.makedirs(cfg.save_dir, exist_ok=True)  # fairseq: on the first process' machine only
        if not cfg.no_save:
            on_rank_0(lambda: lock.hold(cfg.save_dir))
        on_rank_0(lambda: start_checks.check_restored(cfg, trainer.checkpoint_suffix))
        parts.check(start_checks.restored_file(cfg))
        with dictionaries.of_training(trainer.task, cfg), resume.in_proportion(trainer):
            loaded = load(cfg, trainer, *args, **kwargs)
        start_checks.check_metric(trainer)
        if not cfg.no_save:
            _check_early(trainer)
        early_stop.begins(loaded[0], cfg.reset_meters)
        first_part.begins()
        sigterm.at_the_end()
        sigterm.begins(cfg, trainer)
        if not (cfg.no_save or cfg.no_last_checkpoints):
            sigterm.listen()
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
    for path in ("encoder_embed_path", "decoder_embed_path"):
        if isinstance(model, MutableMapping) and model.get(path):  # none of fairseq's older models
            model[path] = ""  # the checkpoint holds the vectors, for any reader
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
                "before is whole; free some space and rerun the same command"
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


FIXES = (
    Fix(
        "fairseq.checkpoint_utils:load_checkpoint",
        _checking,
        "Before a training is restored, its options are checked, its folder is locked, and parts "
        "are seen to belong together; after it the metric of the best checkpoint is tried.",
    ),
    Fix(
        "fairseq.checkpoint_utils:save_checkpoint",
        sigterm.noting,
        "The update that was saved last is noted: a stopped training need not save it again.",
    ),
    Fix(
        "fairseq.checkpoint_utils:load_checkpoint_to_cpu",
        _explaining,
        "A damaged or unsafe file, or one of other dictionaries, is explained in one line.",
    ),
    Fix(
        "fairseq.checkpoint_utils:load_model_ensemble_and_task",
        dictionaries.for_models,
        "A model is refused with other dictionaries of the same size than those of its training.",
    ),
    Fix(
        "fairseq.checkpoint_utils:_torch_persistent_save",
        lambda save: _save,
        "The state is made plain, so that it can be read again without running code; a failed "
        "write is not tried again at its end, which would make a file that only looks complete.",
    ),
    Fix(
        "fairseq.trainer:Trainer.state_dict",
        dictionaries.noting,
        "A checkpoint notes the checksums of the dictionaries.",
    ),
    Fix(
        "fairseq.trainer:Trainer.load_checkpoint",
        resume.explaining,
        "Where a checkpoint does not fit, the options that differ are named.",
    ),
    Fix(
        "fairseq.data.iterators:EpochBatchIterator.state_dict",
        resume.noting,
        "A checkpoint notes how many batches its epoch has, to go on with other batches.",
    ),
    Fix(
        "fairseq.file_io:PathManager.copy",
        _copy_whole,
        "A copy goes through a temporary file, so that checkpoint_last.pt is always whole.",
    ),
)
