"""Counts what the tests of reliability tried, over all processes of a run, for its closing lines.

A test asks for the fixture ``tally`` and says ``tally(inputs=1, faults=0)`` for each thing that it
tried: ``inputs`` are texts, options and files that were fed, ``faults`` are kills, damages and full
disks that were survived. Where it has compared what is there with what should be, it says of how
much ``work`` (updates, tensors, lines, files; 1 if it does not say) how much was lost, as measured:
``tally(work=100, losses=100 - updates)``. ``losses`` that are not 0 are an error of the test.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

KINDS = ("inputs", "faults", "work", "losses")
Tally = Callable[..., None]


@pytest.fixture
def tally(request: pytest.FixtureRequest) -> Iterator[Tally]:
    """Add to the counts of the test's file; fails where anything was lost."""
    lost = 0

    def add(**counts: int) -> None:
        nonlocal lost
        if "losses" in counts:
            counts = {"work": 1} | counts
        lost += counts.get("losses", 0)
        for kind, number in counts.items():
            if kind not in KINDS:
                raise ValueError(f"{kind} is not counted: choose of {', '.join(KINDS)}")
            request.node.user_properties.append((f"tally-{kind}", number))

    yield add
    assert not lost, f"{lost:,} losses"


class Summary:
    """The closing lines of a run in which anything was counted."""

    def __init__(self) -> None:
        self.counts: dict[str, Counter[str]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Also called, where tests run in several processes, in the one that started them."""
        if report.when != "teardown":  # has what the whole test said
            return
        counts = self.counts.setdefault(report.nodeid.partition("::")[0], Counter())
        for name, number in report.user_properties:
            if name.startswith("tally-"):
                counts[name.removeprefix("tally-")] += int(str(number))

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """One line for each file that counted, and their sum."""
        shown = {name: counts for name, counts in sorted(self.counts.items()) if counts}
        if not shown:
            return
        terminalreporter.section("tried and survived")
        for name, counts in {**shown, "all": sum(shown.values(), Counter())}.items():
            line = ", ".join(f"{counts[kind]:,} {kind}" for kind in KINDS[:2])
            if counts["work"]:
                line += f", {counts['losses']:,} losses of {counts['work']:,}"
            terminalreporter.write_line(f"{name}: {line}")
