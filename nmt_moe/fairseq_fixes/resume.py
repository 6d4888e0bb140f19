"""Going on from a checkpoint with other options: as far as it goes, or with their names."""

import ast
import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from fairseq.distributed import utils as distributed_utils

from nmt_moe.checkpoint import files, parts
from nmt_moe.checkpoint.record import Checkpoint
from nmt_moe.common.errors import ErrorOnEveryRank, UserError

_logger = logging.getLogger(__name__)

_BATCHES = "batches"
"""The key, beside fairseq's own, of how many batches the epoch has for each process."""

_NOT_THE_USERS = {"moe_expert_parallel_size", "moe_sharded_checkpoint", "base_layers"}
_MEANING = {"attention", "no_moe_sigmoid", "share_all_embeddings"}
"""Options of a model that change what its weights mean, and not their shapes."""
_PRECISION = {
    *("fp16", "bf16", "memory_efficient_fp16", "memory_efficient_bf16", "amp"),
    *("fp16_no_flatten_grads", "use_bmuf"),
}
_STATE = {
    "lr_scheduler": "start with a new schedule (--reset-lr-scheduler)",
    "criterion": "start with new state (--reset-optimizer)",
    "optimizer": "start with new state (--reset-optimizer)",
    "common": "start with new state (--reset-optimizer)",
    "optimization": "start with new state (--reset-optimizer)",
    "ema": "take another --save-dir",
}
"""What is in the state beside the weights, and what to do instead."""

_WEIGHTS = "Cannot load model parameters"  # fairseq's words


def check_options(cfg: Any) -> None:
    """Refuse what fairseq would refuse with a traceback, or ignore.

    Args:
        cfg: fairseq's options for checkpoints.

    Raises:
        UserError: options that do not go together, or a file that is not there.
    """
    start = cfg.finetune_from_model
    if start is not None:
        resets = [name for name in _resets(cfg) if cfg[name]]
        if cfg.restore_file != "checkpoint_last.pt":
            resets.append("restore_file")
        if resets:
            raise UserError(
                f"--finetune-from-model and {_option(resets[0])} do not go together: the first one "
                "starts anew from weights alone, give only one of them"
            )
        last = os.path.join(cfg.save_dir, f"checkpoint_last{cfg.checkpoint_suffix}.pt")
        if not os.path.isfile(start) and not os.path.exists(last):
            found = parts.part_files(start)
            if found:
                raise UserError(f"there is no {start}, but {found[0]}, a part of it: {parts.MERGE}")
            what = "is no file" if os.path.exists(start) else "does not exist"
            raise UserError(f"--finetune-from-model: {start} {what}: name a checkpoint")
    try:
        overrides = ast.literal_eval(cfg.optimizer_overrides)
    except (ValueError, SyntaxError, TypeError):
        overrides = None
    if not isinstance(overrides, dict):
        raise UserError(
            f"--optimizer-overrides {cfg.optimizer_overrides} is no dictionary of Python, such as "
            "\"{'lr': 0.001}\""
        )


def _resets(cfg: Any) -> list[str]:
    return [name for name in cfg if name.startswith("reset_")]


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def noting(state_dict: Callable[[Any], dict[str, Any]]) -> Callable[[Any], dict[str, Any]]:
    """The ``state_dict`` of fairseq's iterator, with the number of batches of the epoch."""

    def state_dict_with_batches(epoch_itr: Any) -> dict[str, Any]:
        state = state_dict(epoch_itr)
        return state | {_BATCHES: len(epoch_itr)} if state["iterations_in_epoch"] else state

    return state_dict_with_batches


def keep_place(state: dict[str, Any]) -> None:
    """Of a checkpoint without the number of batches: what it is for other numbers of processes.

    fairseq counts the batches of each process; with more processes it would look for one beyond
    the end of the epoch, with fewer it would see some again.
    """
    place = (state.get("extra_state") or {}).get("train_iterator")
    if place and _BATCHES not in place and state.get("cfg"):
        before = state["cfg"].distributed_training.distributed_world_size
        now = distributed_utils.get_data_parallel_world_size()
        place["iterations_in_epoch"] = place["iterations_in_epoch"] * before // now


@contextmanager
def in_proportion(trainer: Any) -> Iterator[None]:
    """Go on in the middle of an epoch that has another number of batches than when it was saved.

    fairseq takes the number of batches that were done for the same ones, and ends where there are
    not so many; or after the epoch, where they are no whole updates.
    """
    get = trainer.get_train_iterator

    def get_train_iterator(*args: Any, **kwargs: Any) -> Any:
        epoch_itr = get(*args, **kwargs)
        load = epoch_itr.load_state_dict
        epoch_itr.load_state_dict = lambda state: load(_moved(trainer.cfg, epoch_itr, state))
        return epoch_itr

    trainer.get_train_iterator = get_train_iterator
    try:
        yield
    finally:
        del trainer.get_train_iterator


def _moved(cfg: Any, epoch_itr: Any, state: dict[str, Any]) -> dict[str, Any]:
    done, before = state.get("iterations_in_epoch", 0), state.get(_BATCHES)
    if not done:
        return state
    epoch, now = state["epoch"], len(epoch_itr)
    frequencies = cfg.optimization.update_freq
    frequency = frequencies[min(epoch, len(frequencies)) - 1]
    if before is None:  # an older checkpoint; the same epoch has more batches than were done
        before = now
        place = done if done < now else 0
    else:
        place = done * now // before
    place -= place % frequency
    if place != done and distributed_utils.get_global_rank() == 0:
        _logger.warning(
            f"epoch {epoch} has {now:,} batches for each process here, {frequency} in an update, "
            f"and the checkpoint was written after {done:,} of {before:,}: going on after "
            f"{place:,}, so that some of its sentences may be seen twice or not at all"
        )
    return state | {"iterations_in_epoch": place}


def explaining(load: Callable[..., Any]) -> Callable[..., Any]:
    """The ``load_checkpoint`` of fairseq's trainer, which names the options that differ where a
    checkpoint does not fit."""

    def load_checkpoint(trainer: Any, filename: str, *args: Any, **kwargs: Any) -> Any:
        try:
            loaded = load(trainer, filename, *args, **kwargs)
            if os.path.isfile(filename):
                _check_meaning(trainer.cfg, filename)
            return loaded
        except (AssertionError, OSError):  # which fairseq explains, or which are of the machine
            raise
        except Exception as error:
            if _of_ours(error):
                raise
            if not str(error).startswith(_WEIGHTS):  # these fit
                _check_meaning(trainer.cfg, filename)
            raise ErrorOnEveryRank(_what_differs(trainer.cfg, filename, error)) from error

    return load_checkpoint


def _check_meaning(cfg: Any, filename: str) -> None:
    """Refuse weights that would fit and mean something else; defaults may have changed since."""
    saved = Checkpoint.read(filename, checked=True).cfg
    there, here = (
        files.own_options(options, "model") if options else {} for options in (saved, cfg)
    )
    for name in _MEANING & there.keys() & here.keys():
        if there[name] != here[name]:
            raise ErrorOnEveryRank(
                f"{filename} was trained with {_option(name)} {there[name]}, not {here[name]}, for "
                "which its weights mean nothing: give the options of its training, or take "
                "another --save-dir"
            )


def _of_ours(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, UserError):
            return True
        error = error.__cause__ or error.__context__
    return False


def _what_differs(cfg: Any, filename: str, error: Exception) -> str:
    weights = str(error).startswith(_WEIGHTS)
    saved = Checkpoint.read(filename, checked=True).cfg
    found: list[str] = []
    instead = "take another --save-dir"
    for of in ("model",) if weights else _STATE:
        differences = _differences(of, saved, cfg)
        if differences and not found and not weights:
            instead = _STATE[of]
        found += differences
    what = "; ".join(found) or _first_of(error.__context__ if weights else error)
    mismatch = "does not fit, ensure that the architectures match" if weights else "does not fit"
    return f"{filename} {mismatch}: {what}. Give the options of its training, or {instead}"


def _differences(of: str, saved: Mapping[str, Any], cfg: Any) -> list[str]:
    """Options of a part of fairseq; its name alone where that is another one."""
    there, here = files.own_options(saved, of), files.own_options(cfg, of)
    if there.get("_name") != here.get("_name"):
        option = "--arch" if of == "model" else _option(of)
        return [f"{option} is {there.get('_name')} there, {here.get('_name')} here"]
    return [
        f"{_option(name)} is {value} there, {here[name]} here"
        for name, value in there.items()
        if here.get(name, value) != value
        and name not in _NOT_THE_USERS
        and not name.startswith("_")
        and (of not in ("common", "optimization") or name in _PRECISION)
    ]


def _first_of(error: BaseException | None) -> str:
    """The first thing that torch says of weights that do not fit."""
    lines = [line.strip() for line in str(error).splitlines()]
    where = next((i for i, line in enumerate(lines) if re.match("Error.* in loading", line)), -1)
    return (lines[where + 1 :] or lines or [""])[0].rstrip(". ")
