"""Work in processes: in order, bounded, and errors reach the caller."""

import os
import signal
from collections.abc import Iterator
from multiprocessing.connection import Connection

import pytest

from nmt_moe.common.errors import UserError
from nmt_moe.corpus.workers import cores, ordered_map


@pytest.mark.parametrize("workers", [1, 3])
def test_results_come_in_order_and_few_items_are_held(workers: int) -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for item in range(100):
            taken += 1
            yield item

    offset = 1000  # the function need not be one that can be pickled
    most = 0
    results = []
    for result in ordered_map(lambda item: (item + offset, os.getpid()), items(), workers):
        results.append(result)
        most = max(most, taken - len(results))
    assert [value for value, _ in results] == list(range(1000, 1100))
    assert most <= 3 * workers
    assert (os.getpid() in {pid for _, pid in results}) == (workers == 1)


def test_no_items() -> None:
    assert list(ordered_map(str, [], 2)) == []


def test_errors_of_the_function_and_of_the_items_are_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        list(ordered_map(lambda item: 1 // item, [1, 0, 1], 2))

    def items() -> Iterator[int]:
        yield 1
        raise UserError("no more")

    with pytest.raises(UserError, match="no more"):
        list(ordered_map(str, items(), 2))


def test_a_process_that_dies_is_an_error() -> None:
    with pytest.raises(UserError, match="a worker process was killed"):
        list(ordered_map(lambda item: os._exit(9) if item == 5 else item, range(100), 2))


def test_cores() -> None:
    assert 1 <= cores() <= (os.cpu_count() or 1)


def test_a_process_killed_within_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pool's thread has read a part of a result and waits for the rest of it."""

    def half(connection: Connection, content: bytes) -> None:
        os.write(connection.fileno(), content[: len(content) // 2])
        os.kill(os.getpid(), signal.SIGKILL)

    def work(item: int) -> bytes:
        if item == 5:
            monkeypatch.setattr(Connection, "_send", half)
        return bytes(1000)

    with pytest.raises(UserError, match="a worker process was killed"):
        list(ordered_map(work, range(100), 2))
