"""Who goes on, what that costs, and that a search which was stopped ends as any other."""

import json
import random
import tempfile
from collections import Counter
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from nmt_moe.common.errors import UserError
from nmt_moe.runs import commands
from nmt_moe.runs.claims.search import driver, halving
from nmt_moe.runs.claims.search.space import Space, parse
from nmt_moe.runs.claims.search.table import read
from nmt_moe.runs.claims.search.training import BEGINS, ENDS, FAILS, STOPS, Training

ETAS = some.sampled_from([1.5, 2, 3, 4])
SCORES = some.dictionaries(
    some.integers(1, 99), some.none() | some.floats(1, 50) | some.integers(1, 3), min_size=1
)


@given(SCORES, ETAS, some.booleans())
def test_who_goes_on_is_among_the_best(scores, eta: float, higher: bool) -> None:
    kept = halving.kept(scores, eta, higher)
    good = [number for number, score in scores.items() if score is not None]
    assert len(kept) == min(len(good), max(1, int(len(scores) / eta)))
    assert kept == sorted(set(kept)) and set(kept) <= set(good)
    for one in kept:
        for other in set(good) - set(kept):
            better = scores[one] > scores[other] if higher else scores[one] < scores[other]
            assert better or (scores[one] == scores[other] and one < other)
    ordered = [scores[one] for one in halving.ranked(scores, higher)]
    assert ordered == sorted(ordered, reverse=higher)


@given(some.integers(1, 200), some.lists(some.integers(1, 50), min_size=1, max_size=5), ETAS)
def test_budgets_add_up(number: int, more: list[int], eta: float) -> None:
    """What all trainings spend, one by one; and of one that comes to the last rung the last
    budget."""
    budgets = [float(sum(more[: place + 1])) for place in range(len(more))]
    for anew in (False, True):
        steps = halving.steps(budgets, anew)
        assert steps == (budgets if anew else more)
        spent, there = 0.0, [*range(number)]
        for step in steps:
            spent += sum(step for _ in there)
            there = halving.kept(dict.fromkeys(there, 1.0), eta, False)
        assert halving.cost(number, steps, eta, 3) == 3 * spent
    assert len(halving.sizes(number, 4, eta)) == 4 and halving.sizes(1, 3, eta) == [1, 1, 1]


def space(number: int, budgets: list[int], eta: float, seeds: list[int], **more: object) -> Space:
    return parse({
        "data": "unused", "updates": budgets, "eta": eta, "seeds": seeds,
        "settings": {"lr": [*range(1, number + 1)]},
    } | ({} if budgets[1:] else {"strategy": "grid"}) | more)  # fmt: skip


class Fake:
    """Trainings that end at once, with validations by chance, and the same ones when repeated.

    Args:
        seed: of the chance.
        stops: at which calls the search is stopped, as by Ctrl-C or by a kill.
    """

    def __init__(self, seed: int, stops: list[tuple[int, bool]]) -> None:
        self.seed, self.stops = seed, dict(stops)
        self.calls = 0
        self.ends: Counter[tuple[int, int, int]] = Counter()

    def train(self, training: Training, threads: int) -> None:
        assert threads >= 1
        self.calls += 1
        training.checkpoints.mkdir(parents=True, exist_ok=True)
        name = (training.setting.number, training.seed, training.rung)
        chance = random.Random(f"{self.seed} {name}")
        training._mark(BEGINS, time=0.0)
        if self.calls in self.stops:
            if self.stops[self.calls]:
                training._mark(STOPS, time=1.0)
            else:
                with training.log().open("a") as log:  # killed while it wrote a line
                    log.write('valid | {"epoch": 1, "valid_loss": "1", "valid_num_upd')
            raise commands.Failed(commands.STOPPED)
        self.ends[name] += 1
        if chance.random() < 0.2:
            training._mark(FAILS, time=1.0, error="by chance")
            return
        figures = {"loss": 9, "ppl": chance.randint(2, 6), "num_updates": int(training.budget)}
        line = {"epoch": 1, **{f"valid_{key}": str(value) for key, value in figures.items()}}
        with training.log().open("a") as log:
            log.write(f"2026-01-01 00:00:00 | INFO | valid | {json.dumps(line)}\n")
        training._mark(ENDS, time=2.0)


def searched(one: Space, fake: Fake, folder: Path, jobs: int) -> bool:
    """Whether it came to its end: search anew until then."""
    machine = dict.fromkeys(["device", "cores", "python", "torch", "fairseq", "commit"], "x")
    for _ in range(99):
        with (
            mock.patch.object(driver, "read", lambda path: one),
            mock.patch.object(driver, "_files", lambda data: {}),
            mock.patch("nmt_moe.runs.claims.machine.machine", lambda: machine),
            mock.patch.object(driver, "_LOOK", 0.01),
            mock.patch("os.fsync"),
            mock.patch.object(Training, "train", lambda *a: fake.train(*a)),
        ):
            try:
                driver.search(Path("x"), folder, jobs)
                return True
            except commands.Failed:
                continue
            except UserError as error:
                assert "failed" in str(error)
                return False
    raise AssertionError("it does not end")


@settings(max_examples=40)
@given(
    some.integers(0, 99),
    some.integers(1, 8),
    some.sampled_from([[4], [2, 5], [1, 2, 4]]),
    some.sampled_from([[1], [1, 5]]),
    ETAS,
    some.booleans(),
    some.lists(some.tuples(some.integers(1, 20), some.booleans()), max_size=4),
)
def test_a_search_and_one_that_was_stopped(
    seed: int, number: int, budgets: list[int], seeds: list[int], eta: float, anew: bool, stops
) -> None:
    one = space(number, budgets, eta, seeds, anew=anew)
    with tempfile.TemporaryDirectory() as made:
        folders = [Path(made, name) for name in ("whole", "stopped")]
        fakes = [Fake(seed, []), Fake(seed, stops)]
        jobs = [1, 1 + seed % 3]
        ended = [searched(one, *given) for given in zip(fakes, folders, jobs, strict=True)]
        assert ended[0] == ended[1]
        texts = [(folder / "tried.jsonl").read_text().splitlines() for folder in folders]
        # The seconds of the tries that were stopped are counted, too.
        tables = [[json.loads(line) | {"seconds": 0} for line in text] for text in texts]
        assert tables[0] == tables[1]
        rows, _ = read(folders[0])
    # Nothing is trained to its end twice, and all that is in the table was trained.
    for fake in fakes:
        assert set(fake.ends.values()) == {1}
        assert {*fake.ends} == {(row["setting"], row["seed"], row["rung"]) for row in rows}
    spent = Counter()
    before = {*range(1, number + 1)}
    for rung, budget in enumerate(budgets, 1):
        here = [row for row in rows if row["rung"] == rung]
        assert {row["setting"] for row in here} == before
        assert len(here) == len(before) * len(seeds)
        means = {}
        for setting in before:
            of_one = [row for row in here if row["setting"] == setting]
            failed = any("error" in row for row in of_one)
            means[setting] = None if failed else sum(r["valid_ppl"] for r in of_one) / len(of_one)
            for row in of_one:
                assert failed or row["updates"] == budget
                spent[setting, row["seed"]] += halving.steps(budgets, anew)[rung - 1]
        before = {*halving.kept(means, eta, False)}
        if not before:
            assert not ended[0]
            break
    assert sum(spent.values()) <= halving.cost(
        number, halving.steps(budgets, anew), eta, len(seeds)
    )
    if before:
        assert all(
            spent[n, s] == (sum(budgets) if anew else budgets[-1]) for n in before for s in seeds
        )


def test_threads_are_divided(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    assert [driver.threads(jobs) for jobs in (1, 2, 3, 9)] == [8, 4, 2, 1]
