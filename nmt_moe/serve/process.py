"""Models' processes, seen from the server: they are started, given batches, and started anew."""

import asyncio
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from nmt_moe.serve.child import Child, Ended, Mistaken
from nmt_moe.serve.cores import processes_of, threads_of
from nmt_moe.serve.log import say
from nmt_moe.serve.metrics import Metrics
from nmt_moe.serve.schedule import Job, Key, Piece, Schedule
from nmt_moe.serve.settings import GATHER, PARTS, PAUSE, PIECES, Refused, Settings
from nmt_moe.serve.text import Cutter

_PAUSES = (1, 2, 5, 10, 30, 60)
"""Seconds before a process is started again, the last one for all others."""
_STEADY = 60
"""Seconds after which a process counts as one that works."""

Between = tuple[str, str]
"""Source and target language."""


class Model:
    """A model that the server has, its processes, and the work that waits for them.

    Args:
        name: for people.
        path: of its folder, or of a checkpoint.
        between: its directions; of a checkpoint they are known when it is open.
        settings: of the server.
        metrics: count batches and failures.
    """

    def __init__(
        self,
        name: str,
        path: str,
        between: Sequence[Between],
        settings: Settings,
        metrics: Metrics,
    ) -> None:
        self.name, self.path, self.settings, self.metrics = name, path, settings, metrics
        self.between = [*between]
        self.cutters: dict[Between, Cutter] = {}
        """What cuts text, by direction, of a model that is open."""
        self.schedule = Schedule(PARTS, PIECES)
        self.more = asyncio.Event()
        """Whether work has come."""
        self.given_up = asyncio.Event()
        """Whether no process of it is started again: a user's mistake keeps the model shut."""
        self._opened = asyncio.Event()
        self._said = ""
        number = settings.processes or processes_of(path, settings.device)
        self._processes = [_Process(self) for _ in range(number)]

    @property
    def state(self) -> str:
        """``ready``, ``loading`` or ``failed``."""
        states = {one.state for one in self._processes}
        return next(state for state in ("ready", "loading", "failed") if state in states)

    @property
    def error(self) -> str:
        """Why a process of it has failed, in one line; empty: none has."""
        return next((one.error for one in self._processes if one.error), "")

    @property
    def waiting(self) -> int:
        """Sentences, or parts of them, that wait."""
        return self.schedule.waiting

    @property
    def processes(self) -> int:
        """How many it has."""
        return len(self._processes)

    @property
    def idle(self) -> int:
        """Processes that wait for work."""
        return sum(one.idle for one in self._processes)

    async def run(self) -> None:
        """Keep its processes at work until this is cancelled."""
        async with asyncio.TaskGroup() as group:
            for one in self._processes:
                group.create_task(one.run())
        self.given_up.set()

    async def known(self) -> None:
        """Wait until it is known between which languages it translates, or that it has failed."""
        if not self.between:
            await self._opened.wait()

    async def cutter(self, between: Between) -> Cutter:
        """What cuts text for the model, once it is open.

        Raises:
            Refused: the model has failed.
        """
        await self._opened.wait()
        self.check()
        return self.cutters[between]

    def check(self) -> None:
        """Raise :class:`Refused` where the model has failed."""
        if self.state == "failed":
            again = None if self.given_up.is_set() else 5
            raise Refused(503, self.error, "unavailable", retry_after=again)

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
        job = self.schedule.add(key, pieces, in_order)
        self.more.set()
        return job, [piece.found for piece in pieces]

    def drop(self, job: Job) -> None:
        """Forget work that nobody waits for any more."""
        self.schedule.drop(job)

    async def opened(self, about: dict[str, Any]) -> None:
        """Learn what a process says of the model that it has opened."""
        wordpieces = Path(about["wordpieces"])
        if not self.cutters:
            self.cutters = {
                (source, target): await asyncio.to_thread(Cutter, wordpieces, source, limit)
                for source, target, limit in about["directions"]
            }
        self.between = [*self.cutters]
        self._opened.set()

    def say_ready(self, again: bool) -> None:
        """Tell the terminal."""
        pairs = ", ".join(f"{source}-{target}" for source, target in self.between)
        say(f"{self.name} is ready{' again' if again else ''}: {pairs}")

    def failed(self, error: str, once: bool = False) -> None:
        """Say so, and let nobody wait where no process is left.

        Args:
            error: of a process.
            once: whether the other processes say the same.
        """
        if not (once and error == self._said):
            say(f"error: {error}")
        self._said = error
        self.metrics.failed(self.name)
        self._opened.set()
        if self.state == "failed":
            refuse(self.schedule.clear(), error)


def refuse(pieces: Iterable[Piece], error: str) -> None:
    """Answer what waits with an error."""
    for piece in pieces:
        if not piece.found.done():
            piece.found.set_exception(Refused(503, error, "unavailable", retry_after=5))
            piece.found.exception()  # is seen: the request may be gone


class _Process:
    """A process of a model."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self.state, self.error, self.idle = "loading", "", False
        self._child: Child | None = None

    async def run(self) -> None:
        """Keep it at work until this is cancelled."""
        loop, failures = asyncio.get_running_loop(), 0
        while True:
            began = loop.time()
            try:
                await self._live()
            except (Ended, OSError) as error:
                steady = self.state == "ready" and loop.time() - began > _STEADY
                failures = 0 if steady else failures
                pause = _PAUSES[min(failures, len(_PAUSES) - 1)]
                failures += 1
                self._fail(error)
                hopeless = isinstance(error, Mistaken) and not self._model.cutters
                self._model.failed(self.error, once=hopeless)
                if hopeless:
                    return
                await asyncio.sleep(pause)
                if self._model.cutters:  # it worked once
                    self.state = "loading"
            finally:
                child, self._child = self._child, None
                if child is not None:
                    await child.end()

    def _fail(self, error: Exception) -> None:
        self.state, self.error, self.idle = "failed", f"{self._model.name}: {error}", False

    async def _live(self) -> None:
        """Start it and give it batches until it ends."""
        self._child = child = await Child.start()
        model, settings = self._model, self._model.settings
        opened = await child.ask(
            {
                "path": model.path,
                "device": settings.device,
                "int8": settings.int8,
                "threads": settings.threads or threads_of(model.processes),
                "beam": settings.beam,
                "shortlist": settings.shortlist and str(settings.shortlist),
            }
        )
        if "error" in opened:
            raise (Mistaken if opened["mistake"] else Ended)(opened["error"])
        await model.opened(opened["ready"])
        before, again = model.state, bool(self.error)
        self.state, self.error = "ready", ""
        if again or before != "ready":
            model.say_ready(again)
        while True:
            await self._batch(child)

    async def _batch(self, child: Child) -> None:
        """Wait for work, gather what comes soon after it, and have it translated."""
        model = self._model
        self.idle = True
        while not model.waiting:
            model.more.clear()
            await child.until(model.more)
        await self._gather()
        key, pieces = model.schedule.take(share=model.idle)
        self.idle = False
        pieces = [piece for piece in pieces if not piece.found.cancelled()]
        if not pieces:
            return
        model.metrics.batch(model.name, len(pieces), sum(piece.size for piece in pieces))
        try:
            await self._translate(child, key, pieces)
        except Ended as error:
            self._fail(error)
            refuse(pieces, self.error)
            raise

    async def _translate(self, child: Child, key: Key, pieces: Sequence[Piece]) -> None:
        """Have a batch translated; where it fails, each of its pieces by itself."""
        model, (kind, source, target) = self._model, key
        content = [piece.content for piece in pieces]
        work = {"kind": kind, "source": source, "target": target, "content": content}
        answer = await child.ask(work)
        if "error" not in answer:
            model.metrics.experts(model.name, answer["load"])
            for piece, found in zip(pieces, answer["found"], strict=True):
                if not piece.found.done():
                    piece.found.set_result(found)
        elif len(pieces) > 1:
            for piece in pieces:
                await self._translate(child, key, [piece])
        else:
            error = f"{model.name}: {answer['error']}"
            say(f"error: {error}")
            refuse(pieces, error)

    async def _gather(self) -> None:
        """Wait for more work as long as it comes, for a moment."""
        model, loop = self._model, asyncio.get_running_loop()
        end = loop.time() + GATHER
        while not model.schedule.full and (left := end - loop.time()) > 0:
            model.more.clear()
            try:
                async with asyncio.timeout(min(left, PAUSE)):
                    await model.more.wait()
            except TimeoutError:
                return
