"""The report of cleaning: counts and examples of each rule, as text and as JSON."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nmt_moe.common.errors import visible
from nmt_moe.common.table import markdown

EXAMPLES = 3  # of each rule
_CHARACTERS = 160  # shown of each side


def counted(rules: Iterable[tuple[int, str]]) -> str:
    """Rules with the pairs of each, but for those that have none."""
    return ", ".join(f"{pairs:,} {what}" for pairs, what in rules if pairs)


@dataclass
class Example:
    """A pair before the rule was applied."""

    where: str
    source: str
    target: str


@dataclass
class Tally:
    """Counts and examples of the rules over some pairs."""

    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[Example]] = field(default_factory=dict)

    def note(self, rule: str, where: str, source: str, target: str) -> None:
        """Count a pair; the start of each side is kept as an example of the first few."""
        self.counts[rule] += 1
        known = self.examples.setdefault(rule, [])
        if len(known) < EXAMPLES:
            # One more than is shown, so that it is known to go on.
            known.append(Example(where, source[: _CHARACTERS + 1], target[: _CHARACTERS + 1]))

    def add(self, other: "Tally") -> None:
        """Add the counts of the pairs that follow."""
        self.counts.update(other.counts)
        for rule, examples in other.examples.items():
            known = self.examples.setdefault(rule, [])
            known.extend(examples[: EXAMPLES - len(known)])

    def describe(self, rule: str, heading: str, languages: Sequence[str]) -> Iterator[str]:
        """Lines with the examples of a rule, none if no pair met it."""
        examples = self.examples.get(rule, [])
        if examples:
            yield ""
            yield f"{heading}, for example"
        for example in examples:
            yield f"  {example.where}"
            for language, side in zip(languages, _sides(example), strict=True):
                yield f"    {language}: {side}"


@dataclass
class Report:
    """Counts and examples over a corpus.

    ``changes`` and ``removals`` describe the rules in their order; ``read`` and ``kept`` count the
    pairs of each input.
    """

    languages: Sequence[str]
    changes: Mapping[str, str]
    removals: Mapping[str, str]
    tally: Tally = field(default_factory=Tally)
    read: Counter[str] = field(default_factory=Counter)
    kept: Counter[str] = field(default_factory=Counter)

    def removed(self) -> str:
        """The rules that removed pairs, and how many."""
        return counted((self.tally.counts[rule], what) for rule, what in self.removals.items())

    def as_json(self) -> str:
        """Everything as JSON: the same bytes for the same corpus and rules."""
        content = {
            "read": self.read.total(),
            "kept": self.kept.total(),
            "changed": {rule: self._rule(rule, what) for rule, what in self.changes.items()},
            "removed": {rule: self._rule(rule, what) for rule, what in self.removals.items()},
            "inputs": [
                {"name": name, "read": read, "kept": self.kept[name]}
                for name, read in self.read.items()
            ],
        }
        return json.dumps(content, ensure_ascii=False, indent=2) + "\n"

    def _rule(self, rule: str, what: str) -> dict[str, Any]:
        examples = [
            {"where": example.where, **dict(zip(self.languages, _sides(example), strict=True))}
            for example in self.tally.examples.get(rule, [])
        ]
        return {"what": what, "pairs": self.tally.counts[rule], "examples": examples}

    def lines(self) -> Iterator[str]:
        """Tables, then the examples."""
        read = self.read.total()

        def row(name: str, pairs: int) -> tuple[str, str, str]:
            return name, f"{pairs:,}", f"{pairs / max(read, 1):.2%}"

        inputs = [
            (name, f"{number:,}", f"{self.kept[name]:,}", f"{self.kept[name] / max(number, 1):.2%}")
            for name, number in self.read.items()
        ]
        yield from markdown(("input", "pairs", "kept", "share"), inputs)
        yield ""
        rules = [("changed", self.changes), ("removed", self.removals)]
        rows = [
            row(f"{done}: {what}", self.tally.counts[rule])
            for done, names in rules
            for rule, what in names.items()
        ]
        table = [row("read", read), *rows, row("kept", self.kept.total())]
        yield from markdown(("", "pairs", "share"), table)
        for done, names in rules:
            for rule, what in names.items():
                yield from self.tally.describe(rule, f"{done}: {what}", self.languages)


def _sides(example: Example) -> tuple[str, str]:
    return _start(example.source), _start(example.target)


def _start(text: str) -> str:
    start = visible(text[:_CHARACTERS])
    return start + " ..." if len(text) > _CHARACTERS else start
