"""The stages of ``nmt-moe train``: each is done once for what it is made with.

Each stage has a folder in the work folder with

- ``made_with.json``: its settings, the checksums of the files that it reads, and those of the
  stages before it that it goes on from. Where these are others now, the stage and all that follows
  from it are done anew, and nothing else.
- ``.done``: written last.

A stage that was stopped goes on in its folder. What is out of date is removed, but where it holds
a checkpoint it is kept as ``STAGE.old``.
"""

import json
import os
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from nmt_moe.common.files import atomic_write
from nmt_moe.own_text.screen import Screen
from nmt_moe.runs.folder import DONE

MADE_WITH = "made_with.json"
_AFTER = "after"


class Stages:
    """The work folder, to work in.

    Args:
        folder: where the stages' folders are.
        screen: what is shown of them.
    """

    def __init__(self, folder: Path, screen: Screen) -> None:
        self.folder, self._screen = folder, screen
        self._keys: dict[str, str] = {}

    def do(
        self,
        name: str,
        made_with: Mapping[str, Any],
        work: Callable[[Path], None],
        after: Iterable[str] = (),
    ) -> Path:
        """Do a stage unless it is done.

        Args:
            name: that of its folder.
            made_with: what its result depends on, as JSON has it.
            work: what it does, in the folder that it is given.
            after: the stages whose results it reads.

        Returns:
            Its folder.
        """
        folder = self.folder / name
        before = {stage: self._keys[stage] for stage in after}
        text = json.dumps({**made_with, _AFTER: before}, indent=1, sort_keys=True, default=str)
        self._keys[name] = sha256(text.encode()).hexdigest()
        was = _read(folder / MADE_WITH)
        if was != text and folder.is_dir():
            if was:
                self._screen.say(f"{name} again: {difference(json.loads(was), json.loads(text))}")
            kept = _put_away(folder)
            if kept:
                self._screen.say(f"the {name} there was is kept as {kept}")
        if (folder / DONE).is_file():
            self._screen.done(name)
            return folder
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / MADE_WITH).is_file():
            _write(folder / MADE_WITH, text)
        with self._screen.stage(name):
            work(folder)
        _write(folder / DONE, f"{int(time.time())}\n")
        return folder


def difference(was: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Why a stage is done again, in some words: the settings that are others now."""
    changed = [name for name in {**was, **now} if was.get(name) != now.get(name)]
    follows = was.get(_AFTER, {})
    stages = [name for name, key in now.get(_AFTER, {}).items() if follows.get(name) != key]
    parts = [name for name in changed if name != _AFTER]
    if stages and not parts:
        return f"what {' and '.join(stages)} made has changed"
    return ", ".join(_words(name, was.get(name), now.get(name)) for name in parts) + " changed"


def _words(name: str, was: Any, now: Any) -> str:
    if isinstance(was, list) and isinstance(now, list):
        was, now = _entries(was), _entries(now)
        gone = [str(one) for one in was if one not in now]
        come = [str(one) for one in now if one not in was]
        was, now = " ".join(gone) or "nothing", " ".join(come) or "nothing"
    text = f"{name} ({was} before, {now} now)"
    return text if len(text) < 400 else name


def by_name(words: Iterable[str]) -> dict[str, str]:
    """Options of a command with their values, by their names."""
    found: dict[str, str] = {}
    name = ""
    for word in words:
        if word.startswith("--"):
            name = word.removeprefix("--")
            found[name] = ""
        else:
            found[name] = f"{found[name]} {word}".strip()
    return found


def _entries(values: list[Any]) -> list[Any]:
    if not all(isinstance(one, str) for one in values) or not "".join(values).startswith("--"):
        return values
    return [f"--{name} {value}".strip() for name, value in by_name(values).items()]


def _put_away(folder: Path) -> Path | None:
    """Remove a stage's folder; one that holds a checkpoint is renamed, its new name is returned."""
    if next(folder.rglob("*.pt"), None) is None:
        shutil.rmtree(folder)
        return None
    (folder / DONE).unlink(missing_ok=True)
    number = 1
    while os.path.lexists(kept := folder.with_name(f"{folder.name}.old{number}")):
        number += 1
    folder.rename(kept)
    return kept


def _read(path: Path) -> str:
    return path.read_text("utf-8") if path.is_file() else ""


def _write(path: Path, text: str) -> None:
    with atomic_write([path]) as [file]:
        file.write(text)
