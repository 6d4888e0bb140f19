"""A model's process, seen from the server: it is started, given batches, and started anew."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nmt_moe.serve.metrics import Metrics
from nmt_moe.serve.schedule import Job, Key, Piece, Schedule
from nmt_moe.serve.settings import GATHER, PARTS, PIECES, Refused, Settings
from nmt_moe.serve.text import Cutter

_LONGEST_LINE = 256 * 2**20  # bytes of an answer
_PAUSES = (1, 2, 5, 10, 30, 60)
"""Seconds before a process is started again, the last one for all others."""
_STEADY = 60
"""Seconds after which a process counts as one that works."""

Between = tuple[str, str]
"""Source and target language."""


class _Ended(Exception):
    """The process is not there any more, or cannot open its model; says why."""


@dataclass
class Model:
    """A model that the server has, and the work that waits for it."""

    name: str
    path: str
    settings: Settings
    metrics: Metrics
    between: list[Between] = field(default_factory=list)
    """The directions; of a checkpoint they are known when it is open."""
    state: str = "loading"
    """``ready``, ``loading`` or ``failed``."""
    error: str = ""
    """Why it has failed, in one line."""

    def __post_init__(self) -> None:
        self.cutters: dict[Between, Cutter] = {}
        self._schedule = Schedule(PARTS, PIECES)
        self._more = asyncio.Event()
        self._opened = asyncio.Event()
        """Whether it is known how the process went."""
        self._process: asyncio.subprocess.Process | None = None

    @property
    def waiting(self) -> int:
        """Sentences, or parts of them, that wait."""
        return self._schedule.waiting

    async def cutter(self, between: Between) -> Cutter:
        """What cuts text for the model, once it is open.

        Raises:
            Refused: the model has failed.
        """
        await self._opened.wait()
        self.check()
        return self.cutters[between]

    async def known(self) -> None:
        """Wait until it is known between which languages it translates, or that it has failed."""
        if not self.between:
            await self._opened.wait()

    def check(self) -> None:
        """Raise :class:`Refused` where the model has failed."""
        if self.state == "failed":
            raise Refused(503, self.error, retry_after=5)

    def submit(
        self, key: Key, contents: Sequence[tuple[Any, int]], in_order: bool = False
    ) -> tuple[Job, list[asyncio.Future[Any]]]:
        """Let work wait for a batch.

        Args:
            key: what can be in one batch with it.
            contents: each with its size.
            in_order: whether the first is wanted first.
        """
        loop = asyncio.get_running_loop()
        pieces = [Piece(content, size, loop.create_future()) for content, size in contents]
        job = self._schedule.add(key, pieces, in_order)
        self._more.set()
        return job, [piece.found for piece in pieces]

    def drop(self, job: Job) -> None:
        """Forget work that nobody waits for any more."""
        self._schedule.drop(job)

    async def run(self) -> None:
        """Keep a process at work until this is cancelled."""
        failures = 0
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            try:
                await self._live()
            except (_Ended, OSError) as error:
                steady = self.state == "ready" and loop.time() - began > _STEADY
                failures = 0 if steady else failures
                pause = _PAUSES[min(failures, len(_PAUSES) - 1)]
                self._fail(str(error))
                failures += 1
                await asyncio.sleep(pause)
                self.state = "loading" if self.cutters else "failed"
            finally:
                await self._end()

    def _fail(self, error: str) -> None:
        self.state, self.error = "failed", f"{self.name}: {error}"
        print(f"error: {self.error}", file=sys.stderr, flush=True)
        self.metrics.failed(self.name)
        self._opened.set()
        for piece in self._schedule.clear():
            self._refuse(piece)

    def _refuse(self, piece: Piece) -> None:
        if not piece.found.done():
            piece.found.set_exception(Refused(503, self.error, retry_after=5))
            piece.found.exception()  # is seen: the request may be gone

    async def _live(self) -> None:
        """Start a process and give it batches until it ends."""
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "nmt_moe.serve.worker"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=_LONGEST_LINE,
            start_new_session=True,  # a terminal's Ctrl-C and closing are for the server
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )
        settings = self.settings
        opened = await self._ask(
            {
                "path": self.path,
                "device": settings.device,
                "int8": settings.int8,
                "threads": settings.threads or max(1, cores() - 1),
                "beam": settings.beam,
                "shortlist": settings.shortlist and str(settings.shortlist),
            }
        )
        if "error" in opened:
            raise _Ended(opened["error"])
        about = opened["ready"]
        wordpieces = Path(about["wordpieces"])
        self.cutters = {
            (source, target): await asyncio.to_thread(Cutter, wordpieces, source, limit)
            for source, target, limit in about["directions"]
        }
        self.between = [*self.cutters]
        self.state, self.error = "ready", ""
        self._opened.set()
        while True:
            await self._batch()

    async def _batch(self) -> None:
        """Wait for work, gather what comes soon after it, and have it translated."""
        while not self._schedule.waiting:
            self._more.clear()
            assert self._process is not None
            await self._more_or_end(self._process)
        if not self._schedule.full:
            await asyncio.sleep(GATHER)
        key, pieces = self._schedule.take()
        pieces = [piece for piece in pieces if not piece.found.cancelled()]
        if not pieces:
            return
        kind, source, target = key
        content = [piece.content for piece in pieces]
        work = {"kind": kind, "source": source, "target": target, "content": content}
        self.metrics.batch(self.name, len(pieces), sum(piece.size for piece in pieces))
        try:
            answer = await self._ask(work)
        except _Ended as error:
            self.state, self.error = "failed", f"{self.name}: {error}"
            for piece in pieces:
                self._refuse(piece)
            raise
        if "error" in answer:
            refused = Refused(500, answer["error"])
            for piece in pieces:
                if not piece.found.done():
                    piece.found.set_exception(refused)
                    piece.found.exception()
            return
        self.metrics.experts(self.name, answer["load"])
        for piece, found in zip(pieces, answer["found"], strict=True):
            if not piece.found.done():
                piece.found.set_result(found)

    async def _more_or_end(self, process: asyncio.subprocess.Process) -> None:
        """Wait for work; an idle process may be killed, too."""
        assert process.stdout is not None
        more = asyncio.ensure_future(self._more.wait())
        ended = asyncio.ensure_future(process.wait())
        try:
            await asyncio.wait((more, ended), return_when=asyncio.FIRST_COMPLETED)
        finally:
            more.cancel()
            ended.cancel()
        if process.returncode is not None:
            raise _Ended(_why(process.returncode))

    async def _ask(self, content: dict[str, Any]) -> dict[str, Any]:
        process = self._process
        assert process is not None and process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write(json.dumps(content).encode() + b"\n")
            await process.stdin.drain()
            line = await process.stdout.readline()
        except (ConnectionError, ValueError):
            line = b""
        if not line.endswith(b"\n"):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), 5)
            raise _Ended(_why(process.returncode))
        answer: dict[str, Any] = json.loads(line)
        return answer

    async def _end(self) -> None:
        """Let the process end, at once where it works."""
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _why(code: int | None) -> str:
    if code is None:
        return "its process does not answer; it is started anew, so try again soon"
    how = f"ended with {code}"
    if code < 0:
        name = signal.Signals(-code).name if -code in {*signal.Signals} else str(-code)
        how = f"was killed by {name}"
        if name == "SIGKILL":
            how += ", perhaps for want of memory"
    return f"its process {how}; it is started anew, so try again soon"


def cores() -> int:
    """Of this process."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
