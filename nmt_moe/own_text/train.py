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
from nmt_moe.runs.folder import Run


def train(request: Request) -> None:
    """Train a model of a user's text; what is done already is not done again.

    Raises:
        UserError: something is wrong with the files or the options.
        Failed: a program was stopped.
    """
    folder = request.work
    if ":" in str(folder):
        raise UserError(f"--out {request.out}: fairseq reads a colon as the end of a path")
    folder.mkdir(parents=True, exist_ok=True)
    lock = Run(folder, "nmt-moe train").lock()
    try:
        work = Work(request)
        found = text.prepare(work)
        choices = model.choose(work, found)
        text.cut(work, choices)
        choices = model.measured(work, choices)
        options = model.train(work, choices)
        result.score(work)
        result.finish(work, choices, options)
    finally:
        os.close(lock)
