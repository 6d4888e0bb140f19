"""Which test texts were opened, for which published lines: a file to which lines of JSON are added.

A line has ``event``: ``opened``, before the text is translated, with all that is known then, or
``scored``, with the scores of the one that has the same ``id``. Nothing is ever changed.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from nmt_moe.common.errors import UserError

Entry = dict[str, Any]
_SIDES = ("source", "reference")


def read(path: Path) -> list[Entry]:
    """What was opened, in its order, each with its ``scores`` if there are any.

    Raises:
        UserError: the file is damaged.
    """
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="\n") as file:
        return _entries(path, file)


def _entries(path: Path, file: IO[str]) -> list[Entry]:
    found: dict[str, Entry] = {}
    for number, line in enumerate(file, 1):
        try:
            entry = json.loads(line)
            if entry["event"] == "opened":
                found[entry["id"]] = entry
            else:
                found[entry["id"]]["scores"] = entry["scores"]
        except (ValueError, KeyError, TypeError):
            raise UserError(
                f"{path}, line {number}: this is no record of 'nmt-moe claims test': mend it, or "
                "take it back from git"
            ) from None
    return [*found.values()]


def opening(path: Path, entry: Entry, again: str | None) -> str:
    """Record that a text is opened; its ``id``, for :func:`scored`.

    One that was opened but not scored, as it was interrupted, may be opened again with that model
    and that reference.

    Args:
        path: the file; it is made.
        entry: ``line``, ``model``, ``how`` it translates, and ``source`` and ``reference``, each
            with ``sha256`` and ``name``.
        again: why it is opened although it was before.

    Raises:
        UserError: it was, for the same line, and there is no reason.
    """
    with _locked(path) as file:
        before = _before(_entries(path, file), entry)
        if before is not None:
            same = [before[name] == entry[name] for name in ("model", "how", *_SIDES)]
            if "scores" not in before and all(same):
                return str(before["id"])
            if again is None:
                raise UserError(
                    f"{before['source']['name']} was opened for the line '{entry['line']}' on "
                    f"{before['time'][:10]} ({_scores(before)}), as {path} says: --again REASON "
                    "opens it once more, and records why"
                )
        mark = os.urandom(8).hex()
        now = datetime.now(UTC).isoformat(timespec="seconds")
        opened = {"event": "opened", "id": mark, "time": now, **entry}
        _append(file, opened | ({} if again is None else {"again": again}))
    return mark


def scored(path: Path, mark: str, scores: Any) -> None:
    """Record the scores of what was opened."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    with _locked(path) as file:
        _append(file, {"event": "scored", "id": mark, "time": now, "scores": scores})


def _before(entries: list[Entry], entry: Entry) -> Entry | None:
    """The newest one of the same line and of either side of the text."""
    for before in reversed(entries):
        texts = any(before[side]["sha256"] == entry[side]["sha256"] for side in _SIDES)
        if texts and before["line"] == entry["line"]:
            return before
    return None


def _scores(entry: Entry) -> str:
    scores = entry.get("scores")
    if not scores:
        return "not scored"
    return f"{scores[0]['name']} {scores[0]['score']:.2f}"


@contextmanager
def _locked(path: Path) -> Iterator[IO[str]]:
    """The file, to read and to add to, of this process alone."""
    with path.open("a+", encoding="utf-8", newline="\n") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        yield file


def _append(file: IO[str], entry: Entry) -> None:
    size = os.fstat(file.fileno()).st_size
    # An editor may have taken the end of the last line away.
    ended = not size or os.pread(file.fileno(), 1, size - 1) == b"\n"
    file.write("\n" * (not ended) + json.dumps(entry, ensure_ascii=False) + "\n")
    file.flush()
    os.fsync(file.fileno())
