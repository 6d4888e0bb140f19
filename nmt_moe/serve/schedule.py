"""Which sentences are translated next: batches across requests, fair between long and short texts.

A batch begins with the first sentence of the request whose turn it is, and holds sentences of
similar length: first one of each request, then the next ones. A request whose turn it was goes to
the end of the row. So a short text waits for one batch of each long text at most, and most often
goes along.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

Key = tuple[str, str, str]
"""What can be in one batch: the kind of work, the source and the target language."""


@dataclass(eq=False)
class Piece:
    """What is translated as a whole: a sentence, or a part of a long one."""

    content: Any
    size: int
    """In wordpieces."""
    found: asyncio.Future[Any]


@dataclass(eq=False)
class Job:
    """The pieces of a request that wait."""

    key: Key
    waiting: deque[Piece]


class Schedule:
    """The requests that wait for a model.

    Args:
        parts: the most pieces of a batch.
        wordpieces: the most of all of them together; a single one may be longer.
    """

    def __init__(self, parts: int, wordpieces: int) -> None:
        self._parts, self._wordpieces = parts, wordpieces
        self._jobs: OrderedDict[Job, None] = OrderedDict()
        self.waiting = self._size = 0
        """How many pieces wait, and of how many wordpieces."""

    def add(self, key: Key, pieces: Iterable[Piece], in_order: bool = False) -> Job:
        """Let pieces wait, the longest last, or ``in_order`` as they are."""
        row = pieces if in_order else sorted(pieces, key=lambda piece: piece.size)
        job = Job(key, deque(row))
        if job.waiting:
            self._jobs[job] = None
            self._count(job.waiting, 1)
        return job

    def drop(self, job: Job) -> None:
        """Forget what of a job still waits."""
        self._jobs.pop(job, None)
        self._count(job.waiting, -1)
        job.waiting.clear()

    def clear(self) -> list[Piece]:
        """Forget all; returns what waited."""
        left = [piece for job in self._jobs for piece in job.waiting]
        for job in [*self._jobs]:
            self.drop(job)
        return left

    @property
    def full(self) -> bool:
        """Whether a batch needs not wait for more."""
        return self.waiting >= self._parts or self._size >= self._wordpieces

    def take(self, share: int = 1) -> tuple[Key, list[Piece]]:
        """The next batch; empty where nothing waits.

        Args:
            share: processes that wait for a batch, which leave each other some.
        """
        if not self._jobs:
            return ("", "", ""), []
        first = next(iter(self._jobs))
        shortest, longest = _alike(first.waiting[0].size)
        batch: list[Piece] = []
        room, most = self._wordpieces, min(self._parts, -(-self.waiting // share))
        going = [job for job in self._jobs if job.key == first.key]
        while going and len(batch) < most:
            still = []
            for job in going:
                size = job.waiting[0].size
                if not shortest <= size <= longest or (batch and size > room):
                    continue
                batch.append(job.waiting.popleft())
                room -= size
                if job.waiting:
                    still.append(job)
                if len(batch) == most:
                    break
            going = still
        self._count(batch, -1)
        self._jobs.move_to_end(first)
        for job in [job for job in self._jobs if not job.waiting]:
            del self._jobs[job]
        return first.key, batch

    def _count(self, pieces: Iterable[Piece], sign: int) -> None:
        for piece in pieces:
            self.waiting += sign
            self._size += sign * piece.size


def _alike(size: int) -> tuple[float, float]:
    """The sizes that go well with one: padding costs, and the longest decides when all end."""
    return size / 2 - 8, size * 2 + 8
