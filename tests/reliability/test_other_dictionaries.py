"""Another dictionary of the same size, which no shape of a weight betrays: noticed by all."""

import random
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from fairseq.data import Dictionary
from fairseq_cli import interactive, validate

from nmt_moe.checkpoint import dictionaries
from nmt_moe.checkpoint.__main__ import main as checkpoint_command
from nmt_moe.common.errors import UserError
from nmt_moe.runs import testset
from tests.checkpoint.test_parts import whole_state
from tests.commands import PLUGIN, Finished
from tests.reliability import stages
from tests.reliability.children import in_a_child


@pytest.fixture
def other(text: Path, tmp_path: Path) -> Path:
    """The model with its dictionaries, in ``run``, and the data, in ``bin``; both shuffled."""
    shutil.copytree(text / "run", tmp_path / "run", ignore=shutil.ignore_patterns("*best*"))
    shutil.copytree(text / "pieces" / "bin", tmp_path / "bin")
    for folder in (tmp_path / "run", tmp_path / "bin"):
        for path in folder.glob("dict.*.txt"):
            lines = path.read_text().splitlines()
            random.Random(1).shuffle(lines)
            path.write_text("".join(f"{line}\n" for line in lines))
    return tmp_path


def refused(finished: Finished, file: Path) -> None:
    error = finished.error()
    assert "checkpoint_last.pt was trained with another vocabulary than the " in error
    assert f" pieces of {file}, or with these in another order: use the dictionaries" in error


def test_every_command_notices(text: Path, other: Path) -> None:
    last, data = str(other / "run" / "checkpoint_last.pt"), str(other / "bin")
    plugin = ["--user-dir", str(PLUGIN), "--path", last, "--cpu"]
    train = stages.TRAIN.format(t=text).split()[1:]
    lines = {
        stages.train: [data, *train, "--max-update", "61", "--save-dir", str(other / "run")],
        stages.generate: [data, *plugin],
        partial(stages.fairseq, "fairseq-validate", validate.cli_main): [
            *(data, *plugin, "--task", "translation", "--batch-size", "50")
        ],
        partial(stages.fairseq, "fairseq-interactive", interactive.cli_main): [data, *plugin],
        stages.report: [last, data, "--device", "cpu", "--json"],
        stages.translate: [last, "--device", "cpu"],
    }
    before = Path(last).read_bytes()
    for main, words in lines.items():
        folder = other / ("run" if main in (stages.report, stages.translate) else "bin")
        ended = in_a_child(partial(main, words), other, stdin=text / "test.en")
        refused(ended, folder / "dict.en.txt")
    assert Path(last).read_bytes() == before
    state = torch.load(last, weights_only=True)
    state["cfg"]["task"] |= {"source_lang": "en", "target_lang": "de"}  # as the recipes have them
    torch.save(state, last)
    with pytest.raises(UserError, match=r"another vocabulary .*run/dict\.en\.txt"):
        testset.find(Path(last), str(text / "test"))

    # A new training from these weights may want it so.
    last = str(text / "run" / "checkpoint_last.pt")
    words = [data, *train, "--max-update", "1", "--no-save", "--save-dir", str(other / "new")]
    tuned = in_a_child(partial(stages.train, [*words, "--finetune-from-model", last]), other)
    assert tuned.code == 0, tuned.stdout + tuned.stderr
    [line] = [line for line in tuned.stdout.splitlines() if "another vocabulary" in line]
    assert line.startswith("WARNING:") and "each piece starts with the embedding" in line


def saved(path: Path, key: dict[str, str] | None, **changes: Any) -> str:
    state = whole_state(**changes)
    torch.save(state if key is None else state | {dictionaries.KEY: key}, path)
    return str(path)


def test_checkpoints_with_different_ones_are_not_put_together(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = saved(tmp_path / "1.pt", {"source": "a", "target": "b"})
    two = saved(tmp_path / "2.pt", {"source": "a", "target": "c"}, updates=8)
    old = saved(tmp_path / "3.pt", None)
    out, parts = str(tmp_path / "out"), str(tmp_path / "part")
    assert checkpoint_command(["average", one, two, "--out", out]) == 1
    assert f"{two} and {one} were trained with different target" in capsys.readouterr().err
    assert checkpoint_command(["average", one, old, "--out", out]) == 0  # one that does not say

    assert checkpoint_command(["split", one, "--parts", "2", "--out", parts]) == 0
    second = tmp_path / "part-rank-1.pt"
    state = torch.load(second, weights_only=True)
    state[dictionaries.KEY]["source"] = "x"
    torch.save(state, second)
    assert checkpoint_command(["merge", parts, "--out", out, "--force"]) == 1
    assert "were trained with different source" in capsys.readouterr().err


class Task:
    def __init__(self, **named: Any) -> None:
        vars(self).update(named)


def test_the_order_of_pieces_counts_and_nothing_else() -> None:
    words, same, other = Dictionary(), Dictionary(), Dictionary()
    for text in ("a", "b"):
        words.add_symbol(text)
        same.add_symbol(text, 7)
    for text in ("b", "a"):
        other.add_symbol(text)

    def sums(**named: Any) -> dict[str, str]:
        return dictionaries.checksums(dictionaries.symbols_of(Task(**named)))

    both = sums(source_dictionary=words, target_dictionary=other)
    assert both == sums(source_dictionary=same, target_dictionary=other)
    assert both["source"] != both["target"]
    # Tasks of several languages have another source each time.
    assert sums(dicts={"en": same, "de": other}, source_dictionary=other) == {
        "en": both["source"],
        "de": both["target"],
    }
    assert sums(source_dictionary=None) == {}
    assert sums() == {}
    symbols = {"source": other.symbols}
    dictionaries.check("x.pt", {}, symbols, {})  # a checkpoint before there were checksums
    with pytest.raises(UserError, match="pieces of the source dictionary"):
        dictionaries.check("x.pt", {dictionaries.KEY: both}, symbols, {})
