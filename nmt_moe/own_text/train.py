"""The way from a user's files to a model's folder.

The stage ``text`` reads the files, ``clean`` and ``split`` prepare their text, ``choices`` goes by
how much it is, ``wordpieces`` and ``binary`` write what fairseq reads, ``measure`` tries a minute
of the training, ``training`` trains, ``average`` takes the mean of the last checkpoints where that
is better, ``scores`` translates the test text, ``report`` is the page about all of it, and
``model`` the folder that is used.
"""

import os

from nmt_moe.common.errors import UserError
from nmt_moe.own_text import model, result, text
from nmt_moe.own_text.request import Request, Work
from nmt_moe.runs.commands import Failed
from nmt_moe.runs.folder import Run

_SAVING = 60
"""Seconds in which a training saves whose ``nmt-moe train`` was killed."""


def train(request: Request) -> None:
    """Train a model of a user's text; what is done already is not done again.

    Raises:
        UserError: something is wrong with the files or the options.
        Failed: a program was stopped.
    """
    folder, out = request.work, request.out
    if ":" in str(folder):
        raise UserError(f"--out {out}: fairseq reads a colon as the end of a path")
    model.check(request)
    taken = out.exists() and not (out.is_dir() and not any(out.iterdir()))
    if taken and not (folder / "model").is_dir():
        raise UserError(f"--out {out} holds other files: name an empty or a new folder")
    folder.mkdir(parents=True, exist_ok=True)
    lock = Run(folder, "nmt-moe train").lock(patience=_SAVING)
    work = Work(request)
    try:
        found = text.prepare(work)
        choices = model.choose(work, found)
        text.cut(work, choices)
        choices = model.measured(work, choices)
        options = model.train(work, choices)
        result.score(work)
        result.finish(work, choices, options)
    except Failed:
        work.screen.say("stopped: the same command goes on from here")
        raise
    finally:
        os.close(lock)
