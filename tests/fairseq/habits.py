"""Try each row of ``habits.toml`` in a folder of its own, and say what became of it.

    python -m tests.fairseq.habits [--all]

tries the rows with fairseq's own ``lstm`` and writes ``lstm.json``, from which and from the rows
``docs/generate.py`` makes the table of docs/compatibility.md. Without ``--all`` it leaves out
those that worked before. What our models do is held by ``test_habits.py`` and
``test_habits_of_training.py``, two files so that two processes share the work.

A row is a habit in words, the line for bash that has it (``run``), and what must be seen then, at
least one of these:

- ``shows``, ``hides``: a pattern that the output has, or has not;
- ``files``: the names of all that is in ``checkpoints`` then;
- ``changes``, ``same``: a command of the table ``commands``, whose losses or translations are
  others, or the same;
- ``refused``: the beginning of the one line with which our models end.
"""

import argparse
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path

from tests import preloaded

HERE = Path(__file__).parent
PLUGIN = HERE.parents[1] / "nmt_moe"
LSTM = HERE / "lstm.json"
_FOUND = tomllib.loads((HERE / "habits.toml").read_text())
COMMANDS: dict[str, str] = _FOUND.pop("commands")
PREPARE: str = _FOUND.pop("prepare")["run"]
MODELS: dict[str, dict[str, str]] = _FOUND.pop("models")
FIGURES = re.compile(
    r'"((?:train|valid|test)_(?:best_|nll_)?loss": "[^"]+)|^[HD]-(\d+\t-?\d+\.\d\d)\d*(\t.*)'
    r"|Perplexity: (.+)",
    re.MULTILINE,
)
SECONDS = "120"
LONGEST = 120  # characters of a verdict


@dataclass
class Habit:
    """A row of the table."""

    group: str
    words: str
    run: str
    shows: str = ""
    hides: str = ""
    files: str = ""
    changes: str = ""
    same: str = ""
    refused: str = ""

    @property
    def expected(self) -> str:
        """The verdict for our models."""
        return f"refused: {self.refused}" if self.refused else "works"


HABITS = [
    Habit(group, words, **row) for group, rows in _FOUND.items() for words, row in rows.items()
]
TRAINING = ["Training", "Optimizers", "Learning rates", "Precision", "Checkpoints", "Validation",
            "Data", "Logging", "BLEU while training"]  # fmt: skip


class Tried:
    """The models of one kind, and what is prepared for them in a folder.

    Args:
        kind: a key of the table ``models``.
        folder: an empty one.
        environment: variables for the commands.
    """

    def __init__(self, kind: str, folder: Path, **environment: str) -> None:
        self.folder = folder
        fixed = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PLUGIN": str(PLUGIN)}
        self.environment = os.environ | fixed | environment | preloaded.functions(**environment)
        variables = [f"{name}={_quoted(value)}" for name, value in MODELS[kind].items()]
        functions = [f'{name}() {{ {value} "$@"; }}' for name, value in COMMANDS.items()]
        self.head = "\n".join([*variables, *functions, ""])
        self.plain: dict[str, list[tuple[str, ...]]] = {}

    @cached_property
    def prepared(self) -> Path:
        """The folder of texts, data and models that all rows may use."""
        folder = self.folder / "shared"
        folder.mkdir()
        self.prepare(folder)
        return folder

    def prepare(self, folder: Path) -> None:
        """Fill it with these."""
        write_texts(folder)
        code, output = self.bash(PREPARE, folder)
        assert code == 0, output

    def bash(self, line: str, folder: Path) -> tuple[int, str]:
        """The exit code and the output of a line for bash."""
        script = f"set -eo pipefail\n{self.head}{line}"
        ended = subprocess.run(
            ["timeout", "-k", "5", SECONDS, "bash", "-c", script],
            cwd=folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
        )
        return ended.returncode, ended.stdout.replace(f"{folder.resolve()}/", "")

    def alone(self, line: str) -> tuple[int, str, Path]:
        """The same in a new folder, which is named, too."""
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        for path in self.prepared.iterdir():
            (folder / path.name).symlink_to(path)
        return *self.bash(line, folder), folder

    def figures(self, command: str) -> list[tuple[str, ...]]:
        """Those of a command without further options."""
        if command not in self.plain:
            code, output, folder = self.alone(command)
            assert code == 0, output
            self.plain[command] = figures(output)
            shutil.rmtree(folder)
        return self.plain[command]

    def verdict(self, habit: Habit) -> tuple[str, str]:
        """What becomes of a habit, and the output."""
        code, output, folder = self.alone(habit.run)
        found = sorted(path.name for path in folder.glob("checkpoints/*"))
        shutil.rmtree(folder)
        ended = end(output) if code or "Traceback (most" in output else ""
        return ended or self.unmet(habit, output, found) or "works", output

    def unmet(self, habit: Habit, output: str, found: list[str]) -> str:
        """What should be seen of a habit and is not."""
        seen = figures(output)
        if habit.shows and not re.search(habit.shows, output, re.MULTILINE):
            return f"no effect: not shown: {habit.shows}"
        if habit.hides and re.search(habit.hides, output, re.MULTILINE):
            return f"no effect: shown: {habit.hides}"
        if habit.files and found != sorted(habit.files.split()):
            return f"no effect: leaves {' '.join(found)}"
        if habit.changes and (not seen or seen == self.figures(habit.changes)):
            return f"no effect: the same as {habit.changes}"
        if habit.same and seen != self.figures(habit.same):
            return f"not the same as {habit.same}"
        return ""


def figures(output: str) -> list[tuple[str, ...]]:
    """The losses, perplexities, and hypotheses with scores of two digits, in any order."""
    return sorted(FIGURES.findall(output))


def end(output: str) -> str:
    """How a command ended that failed."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    if "Traceback (most recent call last)" in output:
        errors = re.findall(r"^([\w.]*(?:Error|Exception|Interrupt)\b.*)$", output, re.MULTILINE)
        return f"traceback: {errors[-1] if errors else lines[-1]}"[:LONGEST]
    errors = [line.partition("error: ")[2] for line in lines if "error: " in line]
    return f"refused: {errors[-1] if errors else [*lines, ''][-1]}"[:LONGEST]


def write_texts(folder: Path) -> None:
    """Sentences of invented words, and the same words in reverse; who stands for whom."""
    chance = random.Random(0)
    words = [a + b for a in ("ba", "ko", "mi", "ru") for b in ("lo", "ne", "si", "ta", "vu")]
    words[-1] += "@@"  # as subword-nmt cuts words
    for split, size in {"train": 200, "valid": 20, "test": 20}.items():
        sentences = [chance.choices(words, k=chance.randint(2, 8)) for _ in range(size)]
        lines = {
            "de": sentences,
            "en": [words[::-1] for words in sentences],
            "align": [[f"{i}-{len(s) - 1 - i}" for i in range(len(s))] for s in sentences],
        }
        for end, texts in lines.items():
            text = "".join(" ".join(words) + "\n" for words in texts)
            (folder / f"{split}.{end}").write_text(text)


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '\\"') + '"'


def main() -> None:
    """Write what fairseq's own models do with the rows."""
    parser = argparse.ArgumentParser(description="Try all rows with fairseq's own lstm.")
    parser.add_argument("--all", action="store_true", help="also rows that worked before")
    old = {} if parser.parse_args().all or not LSTM.exists() else read_lstm()
    verdicts = {}
    with tempfile.TemporaryDirectory() as folder:
        tried = Tried("lstm", Path(folder), TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD="1")
        for habit in HABITS:
            if old.get(habit.run) != "works":
                old[habit.run] = tried.verdict(habit)[0]
                print(f"{habit.words}: {old[habit.run]}", file=sys.stderr)
            verdicts[habit.run] = old[habit.run]
    versions = {name: version(name) for name in ("torch", "fairseq-fixed")}
    LSTM.write_text(json.dumps({"versions": versions, "verdicts": verdicts}, indent=1) + "\n")


def read_lstm() -> dict[str, str]:
    """The verdicts of fairseq's own models, by the line for bash."""
    return json.loads(LSTM.read_text())["verdicts"]


if __name__ == "__main__":
    main()
