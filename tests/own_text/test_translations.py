"""The file of scored translations, read back by the report."""

import json
from pathlib import Path

import pytest

from nmt_moe.own_text.translations import write
from nmt_moe.report.translations import read
from nmt_moe.score.intervals import scored


def test_the_report_reads_what_is_written(tmp_path: Path) -> None:
    sources = ["A dog.", "Two cats sleep.", "我们 \u2028 <b>"]
    references = ["Ein Hund.", "Zwei Katzen schlafen.", "Wir <b>"]
    hypotheses = ["Ein Hund.", "Zwei Hunde schlafen.", ""]
    path = tmp_path / "translations.json"
    content = write(path, sources, references, hypotheses, "de")
    assert content == json.loads(path.read_text(encoding="utf-8"))
    scores = scored(hypotheses, references, "de")
    assert content["scores"] == {score.name: score.as_dict() for score in scores}
    assert list(content["scores"]) == ["BLEU", "chrF2", "TER"]
    assert [sentence["score"] for sentence in content["sentences"]] == scores[1].lines

    found = read(path)
    shown = [found[group][0] for group in ("best", "middle", "worst")]
    assert shown == content["sentences"] and shown[0]["score"] == pytest.approx(100)
    assert found["sentence_score"] == "chrF2" and found["scores"] == content["scores"]


def test_sources_are_as_many(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="longer"):
        write(tmp_path / "translations.json", ["a"], ["b", "c"], ["b", "c"], "de")
    assert not list(tmp_path.iterdir())
