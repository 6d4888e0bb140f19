"""The process of a model: reads batches as lines of JSON, and writes their translations.

:mod:`nmt_moe.serve.process` starts it. The first line that it reads says what to open; the first
one that it writes, how that went. It ends when nobody writes to it any more.
"""

import json
import os
import signal
import sys
from typing import IO, Any

from nmt_moe.common.errors import UserError, one_line


def main() -> None:
    """Serve until the input ends."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # a terminal's Ctrl-C is for the server
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print is no answer
    asked = iter(sys.stdin.buffer.readline, b"")
    try:
        from nmt_moe.serve.opened import Opened  # what it needs may not be there

        model = Opened(json.loads(next(asked)))
    except Exception as error:
        _write(answers, {"error": explained(error), "mistake": mistake(error)})
        return
    _write(answers, {"ready": model.about()})
    for line in asked:
        try:
            answer = model.answer(json.loads(line))
        except Exception as error:
            answer = {"error": explained(error)}
        _write(answers, answer)


def _write(file: IO[str], content: dict[str, Any]) -> None:
    file.write(f"{json.dumps(content)}\n")
    file.flush()


def mistake(error: BaseException | None) -> bool:
    """Whether a user has to do something, and another start would fail in the same way."""
    while error is not None:
        if isinstance(error, UserError):
            return True
        error = error.__cause__ or error.__context__
    return False


def explained(error: Exception) -> str:
    """One line about an error, whatever it is."""
    text = one_line(error) or f"{type(error).__name__}: {error}"
    return " ".join(text.split())[:500]
