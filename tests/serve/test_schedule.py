"""Batches across requests: of similar length, fair, and without what nobody waits for."""

import asyncio
import random
from collections.abc import Iterable

from nmt_moe.serve.schedule import Job, Piece, Schedule

KEY, OTHER = ("parts", "en", "de"), ("parts", "en", "fr")


def pieces(sizes: Iterable[int]) -> list[Piece]:
    loop = asyncio.new_event_loop()
    made = [Piece(size, size, loop.create_future()) for size in sizes]
    loop.close()
    return made


def taken(schedule: Schedule, **how: int) -> list[int]:
    return [piece.content for piece in schedule.take(**how)[1]]


def test_a_batch_has_pieces_of_all_requests() -> None:
    schedule = Schedule(8, 1000)
    for size in (10, 11, 12):
        schedule.add(KEY, pieces([size] * 5))
    assert taken(schedule) == [10, 11, 12, 10, 11, 12, 10, 11]
    assert taken(schedule) == [11, 12, 10, 11, 12, 10, 12]
    assert taken(schedule) == []


def test_a_batch_holds_no_more_wordpieces_than_it_may() -> None:
    schedule = Schedule(64, 100)
    schedule.add(KEY, pieces([30] * 4))
    assert taken(schedule) == [30, 30, 30]
    schedule.add(KEY, pieces([150]))
    assert sorted([taken(schedule), taken(schedule)]) == [[30], [150]]  # a longer one has its own


def test_short_texts_do_not_wait_for_long_ones() -> None:
    schedule = Schedule(64, 1000)
    schedule.add(KEY, pieces([140] * 500))
    schedule.add(KEY, pieces([5]))
    assert set(taken(schedule)) == {140}
    assert taken(schedule) == [5]
    assert set(taken(schedule)) == {140}


def test_a_long_text_is_not_passed_by_for_ever() -> None:
    schedule = Schedule(4, 1000)
    schedule.add(KEY, pieces([140]))
    for _ in range(20):
        schedule.add(KEY, pieces([5]))
        if 140 in taken(schedule):
            return
    raise AssertionError


def test_languages_are_not_mixed() -> None:
    schedule = Schedule(64, 1000)
    schedule.add(KEY, pieces([10]))
    schedule.add(OTHER, pieces([11]))
    assert [schedule.take()[0] for _ in range(3)] == [KEY, OTHER, ("", "", "")]


def test_processes_share_what_waits() -> None:
    schedule = Schedule(64, 1000)
    schedule.add(KEY, pieces([10] * 9))
    assert [len(taken(schedule, share=2)), len(taken(schedule))] == [5, 4]


def test_what_nobody_waits_for_is_forgotten() -> None:
    schedule = Schedule(64, 1000)
    job = schedule.add(KEY, pieces([10] * 100))
    schedule.add(KEY, pieces([11]))
    schedule.drop(job)
    assert (schedule.waiting, taken(schedule)) == (1, [11])


def test_each_piece_comes_once_whatever_waits() -> None:
    chance = random.Random(1)
    schedule = Schedule(16, 300)
    there: list[Piece] = []
    found: list[Piece] = []
    jobs: list[Job] = []
    for _ in range(300):
        if chance.random() < 0.5:
            new = pieces(chance.choices((1, 5, 20, 80, 150), k=chance.randint(0, 40)))
            there += new
            key = chance.choice((KEY, OTHER))
            jobs.append(schedule.add(key, new, in_order=chance.random() < 0.5))
        batch = schedule.take(share=chance.randint(1, 3))[1]
        assert bool(batch) or not schedule.waiting
        assert len(batch) <= 16
        assert sum(piece.size for piece in batch) <= 300
        found += batch
    while schedule.waiting:
        found += schedule.take()[1]
    assert (schedule.waiting, schedule.full) == (0, False)
    assert len(found) == len(there) == len({*map(id, found)})
