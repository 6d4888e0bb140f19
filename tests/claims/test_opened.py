"""``nmt-moe claims test``: a test text is opened once for a line, and that is recorded."""

import gzip
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

from nmt_moe import Translator
from nmt_moe.cli.main import main
from nmt_moe.cli.opened import measures
from nmt_moe.common.errors import UserError
from nmt_moe.runs.claims import opened
from nmt_moe.runs.claims.machine import commit
from tests.hub.conftest import KNOWN, folder  # noqa: F401  the fixture


class Line:
    """A line to publish, of a model that is there."""

    def __init__(self, model: Path, made: Path) -> None:
        self.record, self.out = made / "opened.jsonl", made / "out.xx"
        self.model = model / "checkpoint_best.pt"
        if not self.model.exists():
            [self.model] = model.glob("*.pt")
        self.source, self.reference = made / "test.en", made / "test.xx"
        self.source.write_text("".join(f"{line}\n" for line in KNOWN))
        self.reference.write_text("".join(f"{line}\n" for line in KNOWN))

    def test(self, line: str, *more: object, **texts: Path) -> int:
        sides = [texts.get("source", self.source), texts.get("reference", self.reference)]
        words = ["claims", "test", self.model, *sides, "--line", line, "--record", self.record]
        return main([*map(str, [*words, *more])])

    def entries(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.record.read_text().splitlines()]


@pytest.fixture
def line(folder: Path, tmp_path: Path) -> Line:  # noqa: F811
    return Line(folder, tmp_path)


def test_it_is_recorded(line: Line, capsys: pytest.CaptureFixture[str]) -> None:
    assert line.test("ours", "--out", line.out) == 0
    shown = capsys.readouterr().out
    first, second = line.entries()
    assert (first["event"], second["event"]) == ("opened", "scored") and first["id"] == second["id"]
    assert first["line"] == "ours" and first["commit"] == commit()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", first["time"])
    for side, path in (("source", line.source), ("reference", line.reference)):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        assert first[side] == {"name": path.name, "sha256": digest}
    assert first["model"][0]["sha256"] == hashlib.sha256(line.model.read_bytes()).hexdigest()
    assert str(line.model.parent) not in line.record.read_text()

    hypotheses = Translator(line.model).translate(KNOWN)
    assert line.out.read_text().splitlines() == hypotheses
    found = [one.score(hypotheses, KNOWN) for _, one in measures("xx")]
    assert [score["score"] for score in second["scores"]] == [one.score for one in found]
    assert f"\nBLEU, detokenised: {found[0].score:.2f}   {found[0].signature}\n" in shown
    assert f"\nBLEU, lower-cased, detokenised: {found[2].score:.2f}   " in shown
    assert found[0].score > 20


def test_both_scores_of_german() -> None:
    """Of text that differs in case and in quotation marks alone."""
    texts = [['Er sagt "ja" zu der Frau .'], ["er sagt „ja“ zu der Frau ."]]
    found = {
        (case, score.text, score.name): score
        for case, one in measures("de")
        if (score := one.score(*texts))
    }
    assert len(found) == 8
    lower = found[True, "tokenised", "BLEU"]
    assert lower.score == pytest.approx(100) and "case:lc" in lower.signature
    assert all(found[False, text, "BLEU"].score < 60 for text in ("tokenised", "detokenised"))


def test_a_second_time_is_refused(line: Line, capsys: pytest.CaptureFixture[str]) -> None:
    assert line.test("ours") == 0
    before = line.record.read_text()
    capsys.readouterr()
    other = line.source.with_name("copy.en")  # another name, the same text
    other.write_text(line.source.read_text())
    assert line.test("ours", source=other) == 1
    said = capsys.readouterr()
    score = line.entries()[1]["scores"][0]["score"]
    assert not said.out and re.fullmatch(
        r"error: test\.en was opened for the line 'ours' on \d{4}-\d\d-\d\d "
        rf"\(BLEU {score:.2f}\), "
        r"as \S+opened\.jsonl says: --again REASON opens it once more, and records why\n",
        said.err,
    )
    packed = line.source.with_name("copy.en.gz")
    packed.write_bytes(gzip.compress(line.source.read_bytes()))
    assert line.test("ours", source=packed) == 1
    longer = line.source.with_name("longer.en")  # another source of the same reference
    longer.write_text(line.source.read_text().upper())
    assert line.test("ours", source=longer) == 1 and line.record.read_text() == before

    assert line.test("theirs") == 0
    assert line.test("ours", "--again", "the beam was a mistake", "--beam", 2) == 0
    found = line.entries()
    assert [entry["event"] for entry in found] == ["opened", "scored"] * 3
    assert found[4]["again"] == "the beam was a mistake" and found[4]["how"]["beam"] == 2
    assert "again" not in found[2] and line.record.read_text().startswith(before)


def test_one_that_was_interrupted(line: Line, capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody has seen a score: the same model may go on, and no other one."""
    assert line.test("ours") == 0
    whole = line.record.read_text()
    line.record.write_text(whole.splitlines(keepends=True)[0])
    assert line.test("ours", "--beam", 2) == 1 and "(not scored)" in capsys.readouterr().err
    other = line.reference.with_name("other.xx")  # whose scores the record would have for those
    other.write_text(line.reference.read_text().upper())
    assert line.test("ours", reference=other) == 1 and "(not scored)" in capsys.readouterr().err
    assert line.test("ours") == 0
    assert [entry["event"] for entry in line.entries()] == ["opened", "scored"]
    assert opened.read(line.record)[0]["scores"] == json.loads(whole.splitlines()[1])["scores"]


def test_what_is_wrong_opens_nothing(line: Line, capsys: pytest.CaptureFixture[str]) -> None:
    for more, message in (
        (["--again", " "], "--again is empty: say what it is"),
        (["--out", line.source], "is an input"),
        (["--out", "/no/folder/out"], "there is no folder /no/folder"),
        (["--out", line.record], "opened.jsonl is named twice"),
        (["--device", "abacus"], "abacus"),
    ):
        assert line.test("ours", *more) == 1 and message in capsys.readouterr().err
    assert line.test(" ") == 1 and "--line is empty" in capsys.readouterr().err
    assert line.test("ours", source=line.source.with_name("none.en")) == 1
    assert "none.en" in capsys.readouterr().err
    short = line.reference.with_name("short.xx")
    short.write_text(KNOWN[0] + "\n")
    assert line.test("ours", reference=short) == 1 and "lines" in capsys.readouterr().err
    assert not line.record.exists() or not line.record.read_text()


def test_a_record_whose_last_line_was_cut_by_an_editor(line: Line) -> None:
    assert line.test("ours") == 0
    line.record.write_text(line.record.read_text().removesuffix("\n"))
    assert line.test("theirs") == 0
    assert [entry["line"] for entry in opened.read(line.record)] == ["ours", "theirs"]


def test_a_damaged_record(line: Line) -> None:
    assert opened.read(line.record) == []
    line.record.write_text('{"event": "opened", "id": "1"}\n{"event": "sco')
    with pytest.raises(UserError, match="line 2: this is no record"):
        opened.read(line.record)
