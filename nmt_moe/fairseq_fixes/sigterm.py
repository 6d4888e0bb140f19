"""When a training ends: at SIGTERM after the update in progress, which is saved; and at once where
its last update was saved before. Where there is no next update see ``watchdog.py``."""

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from functools import cache
from types import FrameType
from typing import Any

import torch
import torch.distributed as dist
from fairseq import checkpoint_utils

from nmt_moe.fairseq_fixes import early_stop, first_part, watchdog
from nmt_moe.fairseq_fixes.fix import Fix

EXIT_CODE = 75
"""What a training ends with that was stopped and has saved: the same command goes on from there.
EX_TEMPFAIL of sysexits.h."""

_logger = logging.getLogger(__name__)
_asked = False
_saved_at = -1


def listen() -> None:
    """Let SIGTERM stop this process' training, which is ``fairseq-train``, after an update.

    fairseq has no hook between two updates, so its ``validate_and_save`` is replaced.
    """
    if (
        "fairseq_cli.train" not in sys.modules
        or threading.current_thread() is not threading.main_thread()
    ):
        return
    _STOP.apply()
    signal.signal(signal.SIGTERM, _ask)
    _let_workers_outlive()


@cache
def _let_workers_outlive() -> None:
    os.register_at_fork(after_in_child=_outlive)


def at_the_end() -> None:
    """Let a training whose last update was saved do no other one.

    fairseq looks at ``--max-update`` after an update only: the command of a finished training, or
    of one that was killed when all was saved, would make one more each time.
    """
    if "fairseq_cli.train" in sys.modules:
        _DONE.apply()


def begins(cfg: Any, trainer: Any) -> None:
    """A training is about to begin, or to go on, as restored."""
    global _saved_at
    watchdog.install()
    _saved_at = -1  # a training before it in this process
    watchdog.saved(cfg.save_dir, trainer.get_num_updates())


def noting(save: Callable[..., Any]) -> Callable[..., Any]:
    """fairseq's ``save_checkpoint``, with a note of the update: it need not be saved again."""

    def save_checkpoint(cfg: Any, trainer: Any, *args: Any, **kwargs: Any) -> Any:
        global _saved_at
        with watchdog.saving():
            saved = save(cfg, trainer, *args, **kwargs)
        _saved_at = trainer.get_num_updates()
        if not cfg.no_save:
            watchdog.saved(cfg.save_dir, _saved_at)
        return saved

    return save_checkpoint


def _ask(number: int, frame: FrameType | None) -> None:
    global _asked
    _asked = True


def _stopping(validate_and_save: Callable[..., Any]) -> Callable[..., Any]:
    def validate_and_save_or_stop(
        cfg: Any, trainer: Any, task: Any, epoch_itr: Any, *args: Any, **kwargs: Any
    ) -> Any:
        watchdog.done()
        result = validate_and_save(cfg, trainer, task, epoch_itr, *args, **kwargs)
        _, done = result
        if done or not _any_asked(trainer.device):
            watchdog.begin()
            return result
        if _saved_at != trainer.get_num_updates():
            # Not validated, which may take too long, and might change what is the best.
            checkpoint_utils.save_checkpoint(cfg.checkpoint, trainer, epoch_itr, None)
        if dist.is_initialized():
            dist.barrier()  # when one ends, torchrun ends the others: not while they write
        _logger.warning(
            f"stopped by SIGTERM: saved after update {trainer.get_num_updates():,}, the same "
            "command goes on from there"
        )
        watchdog.note(EXIT_CODE)
        sys.exit(EXIT_CODE)

    return validate_and_save_or_stop


def _unless_done(train: Callable[..., Any]) -> Callable[..., Any]:
    def train_unless_done(cfg: Any, trainer: Any, *args: Any, **kwargs: Any) -> Any:
        updates = trainer.get_num_updates()
        if early_stop.stopped(cfg):
            _logger.info(f"all is done: {updates:,} updates, and --patience ended")
            return [None], True
        if updates < first_part.end(cfg):
            return train(cfg, trainer, *args, **kwargs)
        _logger.info(f"all is done: {updates:,} of {first_part.end(cfg):,} updates")
        return [None], True

    return train_unless_done


def _any_asked(device: torch.device) -> bool:
    """Whether any process was asked to stop: all of them have to stop after the same update."""
    if not dist.is_initialized():
        return _asked
    asked = torch.tensor(_asked, dtype=torch.int32, device=device)
    dist.all_reduce(asked, dist.ReduceOp.MAX)
    return bool(asked)


def _outlive() -> None:
    """Let a process that prepares batches end when its parent says so, not when all are told."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()


def _end_with(parent: int) -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
        pass
    os._exit(0)


_BEGINS = "a training has been restored"
_STOP = Fix(
    "fairseq_cli.train:validate_and_save",
    _stopping,
    "SIGTERM saves after the update in progress and ends the training.",
    _BEGINS,
)
_DONE = Fix(
    "fairseq_cli.train:train",
    _unless_done,
    "The command of a finished training makes no further update.",
    _BEGINS,
)
FIXES = (_STOP, _DONE)
