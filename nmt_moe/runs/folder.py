"""The format of a run's folder, which is all that is known of a run.

Its file ``settings`` says what it was made with, and each stage has a folder in it with

- ``.started``: the name of the run of the stage before that this one goes on from; of the first
  stage, a checksum of the settings. If that is another one now, what the folder holds is out of
  date.
- ``.seconds``: spent in this stage so far, interrupted tries included.
- ``.done``: written last; a name of this run of the stage, which no other has.

A stage that was killed runs again; removing a stage's folder repeats it and all after it. What is
out of date is removed; where it holds a checkpoint, it is kept as ``STAGE.old``. The times of the
files say nothing: a run can be copied. In runs of versions that compared times ``.started`` and
``.done`` are empty, which is a name as well.

With ``NODES`` machines, which all run the recipe and see the same folder, machine 0 does the work;
the others wait for it, and join it where it trains.
"""

import fcntl
import os
import shutil
import sys
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from nmt_moe.common.errors import UserError
from nmt_moe.common.files import atomic_write

SETTINGS, LOCK = "settings", ".lock"
STARTED, SECONDS, DONE = ".started", ".seconds", ".done"
LOG, BEST = "train.log", "checkpoint_best.pt"
"""Of a training, in the folder of its stage."""
RECORD = "record.json"
"""What the whole run came to (:mod:`nmt_moe.report.record`)."""
_PATIENCE = 5  # seconds; what was killed a moment ago may still be ending
_SAID_AFTER = 6  # seconds, where it waits longer


def settings(run: Path) -> dict[str, str]:
    """What a run was made with.

    Raises:
        UserError: the folder does not hold a run.
    """
    path = run / SETTINGS
    if not path.is_file():
        raise UserError(f"{run} is not the folder of a run: it holds no file '{SETTINGS}'")
    lines = path.read_text("utf-8", "backslashreplace").splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


def finished(run: Path) -> list[Path]:
    """The folders of the stages that are done, in the order of their ends."""
    return [done.parent for done in sorted(run.glob(f"*/{DONE}"), key=_end)]


def _end(done: Path) -> float:
    """When a stage ended, which its name begins with; a copy has other times."""
    seconds = done.read_text("utf-8").partition("-")[0]
    return float(seconds) if seconds.isdecimal() else done.stat().st_mtime


def seconds(stage: Path) -> int:
    """Spent in a stage so far."""
    path = stage / SECONDS
    return int((path.read_text("utf-8") if path.is_file() else "") or 0)


def log(stage: Path) -> list[str]:
    """The lines of the log of a training."""
    return (stage / LOG).read_text("utf-8", "replace").splitlines()


class Run:
    """A run's folder, to work in."""

    def __init__(self, path: Path, recipe: str, node: int = 0) -> None:
        self.path, self.recipe, self.node = path, recipe, node

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "Run":
        """The run that a recipe works on: ``RUN_DIR``, ``RECIPE`` and ``NODE_RANK``."""
        if not environment.get("RUN_DIR"):
            raise UserError("RUN_DIR is not set, the folder of the run: a recipe does that")
        node = int(environment.get("NODE_RANK") or 0)
        return cls(Path(environment["RUN_DIR"]), environment.get("RECIPE", "runs"), node)

    def open(self, given: Sequence[str], clean: bool = False) -> None:
        """Make the folder, or look whether it was made with these settings, ``NAME=VALUE``.

        Args:
            given: the settings.
            clean: remove what is there.

        Raises:
            UserError: it holds other files or a run with other settings, or cannot be used.
        """
        path = self.path / SETTINGS
        if ":" in str(self.path):
            raise UserError(f"fairseq reads a colon as the end of a path: RUN_DIR={self.path}")
        if self.node:  # or it would take what machine 0 is about to write for other files
            self._wait(path.is_file, "opens the run")
        elif self.path.is_dir() and not path.is_file() and any(self.path.iterdir()):
            raise UserError(f"RUN_DIR={self.path} holds other files: name an empty or a new folder")
        if clean and self.node == 0 and self.path.exists():
            held = self.lock() if path.is_file() else None
            shutil.rmtree(self.path)
            if held is not None:
                os.close(held)
        self.path.mkdir(parents=True, exist_ok=True)
        if not path.is_file() or not path.stat().st_size:
            _write(path, "\n".join(given))
        there = path.read_text("utf-8", "surrogateescape").splitlines()
        wanted = [line for setting in given for line in setting.split("\n")]
        was = " ".join(line for line in there if line not in wanted)
        now = " ".join(line for line in wanted if line not in there)
        if was or now:
            raise UserError(
                f"{self.path} was made with {was}, now it is {now}: "
                "use --clean to start over, or another RUN_DIR"
            )

    def lock(self, descriptor: int | None = None, patience: float = _PATIENCE) -> int:
        """Let no other recipe work in the folder as long as this open file has a holder.

        Args:
            descriptor: of its file ``.lock``; else it is opened, and inherited by what is started.
            patience: seconds to wait for the end of another one.

        Raises:
            UserError: another one does.
        """
        if descriptor is None:
            descriptor = os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
            os.set_inheritable(descriptor, True)
        if self.node:
            return descriptor
        until, said = time.monotonic() + patience, False
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return descriptor
            except BlockingIOError:
                if time.monotonic() > until:
                    raise UserError(
                        f"another command is at work in {self.path}: wait for its end"
                    ) from None
                if not said and time.monotonic() > until - patience + _SAID_AFTER:
                    said = True
                    print(f"waiting for another command in {self.path}", file=sys.stderr)
            time.sleep(0.1)

    def stage(
        self,
        name: str,
        work: Callable[[Path], None],
        after: str | None = None,
        join: Callable[[Path], None] | None = None,
    ) -> None:
        """Do a stage unless it is done.

        Args:
            name: that of its folder.
            work: what it does, in the folder that it is given.
            after: the stage that it goes on from; None of the first one.
            join: what the other machines do meanwhile, else they wait for its end.
        """
        folder = self.path / name
        if self.node:
            self._follow(folder, after, join)
            return
        if folder.is_dir() and not self._current(folder, after):
            self._put_away(folder)
        if (folder / DONE).is_file():
            print(f"== {name}: done ({seconds(folder)} s)", flush=True)
            return
        print(f"== {name}", flush=True)
        folder.mkdir(exist_ok=True)
        if not (folder / STARTED).is_file():
            _write(folder / STARTED, self._name_of(after) or "")
        start = time.monotonic()
        try:
            work(folder)
        except BaseException:
            with suppress(OSError):  # there may be no room
                _add_seconds(folder, start)
            print(
                f"{self.recipe}: stopped in stage {name}; the same command continues there",
                file=sys.stderr,
            )
            raise
        _add_seconds(folder, start)
        # The time is for people; two runs of a stage may end in one second.
        _write(folder / DONE, f"{int(time.time())}-{os.urandom(8).hex()}")

    def _name_of(self, stage: str | None) -> str | None:
        """That of the run of a stage, of no stage the settings' checksum; None if not done."""
        path = self.path / SETTINGS if stage is None else self.path / stage / DONE
        if not path.is_file():
            return None
        return path.read_text("utf-8").rstrip("\n") if stage else cksum(path.read_bytes())

    def _current(self, folder: Path, after: str | None) -> bool:
        """Whether what a stage's folder holds goes on from what the stage before left."""
        started, now = folder / STARTED, self._name_of(after)
        if now is None or not started.is_file():
            return False
        was = started.read_text("utf-8").rstrip("\n")
        # An old run noted no checksum of its settings; they are the same, see open.
        return was == now or (not was and after is None)

    def _put_away(self, folder: Path) -> None:
        """What a stage that has to run anew left. Nothing that holds a checkpoint is removed."""
        if next(folder.rglob("*.pt"), None) is None:
            shutil.rmtree(folder)
            return
        kept = next(path for path in _places(folder) if not os.path.lexists(path))
        (folder / DONE).unlink(missing_ok=True)  # it is no stage any more
        folder.rename(kept)
        print(
            f"{self.recipe}: {folder.name} is of other data than there is now: "
            f"it was kept as {kept}",
            flush=True,
        )

    def _follow(self, folder: Path, after: str | None, join: Callable[[Path], None] | None) -> None:
        """What another machine does while machine 0 is in this stage."""
        self._wait(lambda: self._current(folder, after), f"begins with {folder.name}")
        if join and not (folder / DONE).is_file():
            join(folder)
        if not join:
            self._wait((folder / DONE).is_file, f"ends {folder.name}")

    def _wait(self, there: Callable[[], bool], event: str) -> None:
        """For something that machine 0 does, which may have failed: its user starts it again."""
        if not there():
            print(f"{self.recipe}: waiting until machine 0 {event}", flush=True)
        while not there():
            time.sleep(1)


def cksum(data: bytes) -> str:
    """What the command of that name prints of a file, as older runs have it."""
    size = len(data).to_bytes((len(data).bit_length() + 7) // 8, "little")
    mirrored = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
    found = zlib.crc32((data + size).translate(mirrored), 0xFFFFFFFF)
    return f"{int(f'{found:032b}'[::-1], 2)} {len(data)}"


def _places(folder: Path) -> Iterator[Path]:
    yield folder.with_name(f"{folder.name}.old")
    number = 2
    while True:
        yield folder.with_name(f"{folder.name}.old{number}")
        number += 1


def _add_seconds(folder: Path, start: float) -> None:
    _write(folder / SECONDS, str(seconds(folder) + round(time.monotonic() - start)))


def _write(path: Path, line: str) -> None:
    with atomic_write([path], "wb") as [file]:
        file.write(os.fsencode(f"{line}\n"))
