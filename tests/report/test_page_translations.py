"""Scores and translations at the head of a report: the file, the command, and a real browser."""

import json
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from nmt_moe.common.errors import UserError
from nmt_moe.report import __main__ as command
from nmt_moe.report.page import write_report
from nmt_moe.report.translations import read
from tests.report import contents
from tests.report.browser import Window, overflow
from tests.report.experts import sentences, write_checkpoint
from tests.report.test_page_report import EVIL, SECTIONS, sections

BLEU = {"value": 34.216, "low": 33.1, "high": 35.25, "signature": "nrefs:1|tok:zh"}
VERDICT = "Attention follows the source: 1% of the steps ..."


def sentence(score: float, source: str, reference: str = "b", hypothesis: str = "c") -> Any:
    return {"source": source, "reference": reference, "hypothesis": hypothesis, "score": score}


def written(folder: Path, found: list[Any], **more: Any) -> Path:
    path = folder / "translations.json"
    path.write_text(json.dumps({"scores": {"BLEU": BLEU}, "sentences": found, **more}))
    return path


@pytest.mark.parametrize(
    ("number", "best", "middle", "worst"),
    [
        (1, [0], [], []),
        (2, [1], [], [0]),
        (4, [3], [2], [0]),
        (7, [6, 5], [4, 3], [0, 1]),
        (101, [100, 99, 98, 97, 96], [52, 51, 50, 49, 48], [0, 1, 2, 3, 4]),
    ],
)
def test_best_middle_and_worst_are_chosen(number, best, middle, worst, tmp_path) -> None:
    found = read(written(tmp_path, [sentence(score, f"{score}") for score in range(number)]))
    groups = {group: [s["score"] for s in found[group]] for group in ("best", "middle", "worst")}
    assert groups == {"best": best, "middle": middle, "worst": worst}
    assert found["count"] == number and found["scores"] == {"BLEU": BLEU}


def test_each_source_is_shown_once_and_the_longer_first(tmp_path) -> None:
    same = [sentence(100, source) for source in ("Yes.", "Yes.", "Where is the station?")]
    found = read(written(tmp_path, [*same, *(sentence(i, f"{i}") for i in range(4))]))
    assert [s["source"] for s in found["best"]] == ["Where is the station?", "Yes."]


def test_the_page_begins_with_them(window: Window, tmp_path: Path) -> None:
    texts = [
        sentence(88.25, "我们去车站。", "ما به ایستگاه می‌رویم. OK", "به ایستگاه رفتیم."),
        sentence(50, "<b>", f"{EVIL}", "x" * 300),
        sentence(0, "没有。", "نه.", ""),
    ]
    made = contents.content(experts=4, k=2)
    figures = dict(entropy=0.3, top_share=0.95, last_share=0.87, stuck=0.01)
    made["attention"] = {**figures, "dead": False, "verdict": VERDICT}
    made["languages"] = ["zh_Hans", "fa"]
    made["translations"] = read(written(tmp_path, texts, sentence_score="chrF2"))
    write_report([made], tmp_path / "report.html")
    page = window.open(tmp_path / "report.html")
    assert sections(page) == ["scores", "translations", "attention", *SECTIONS]
    card = page.locator("#scores .cards > div").inner_text()
    assert card == "BLEU\n34.22\n95%: 33.10 to 35.25"
    expect(page.locator("#scores .facts")).to_contain_text("nrefs:1|tok:zh")
    expect(page.locator("#scores")).to_contain_text("3 translations")
    assert page.locator("#translations h3").all_inner_texts() == ["Best", "In the middle", "Worst"]

    rows = page.locator(".translation")
    assert rows.count() == 3
    names = rows.first.locator("dt").all_inner_texts()
    assert names == ["chrF2", "Source", "Translation", "Reference"]
    assert rows.first.locator("dd").first.inner_text() == "88.3"
    for row, text in zip(rows.all(), texts, strict=True):
        shown = [cell.text_content() for cell in row.locator("dd").all()[1:]]
        assert shown == [text["source"], text["hypothesis"] or "–", text["reference"]]
    looks = rows.first.locator("dd").evaluate_all(
        "cells => cells.slice(1).map((cell) => [cell.lang, getComputedStyle(cell).direction])"
    )
    assert looks == [["zh-Hans", "ltr"], ["fa", "rtl"], ["fa", "rtl"]]
    assert page.locator("main img, main b b").count() == 0

    assert page.locator("#attention > p").first.inner_text() == VERDICT
    assert page.locator("#attention .cards > div").count() == 4
    assert "Attention" not in page.locator("#overview").inner_text()
    boxes = [cell.bounding_box() for cell in rows.first.locator("dd").all()]
    assert len({round(box["y"]) for box in boxes if box}) == 1  # beside each other
    page.set_viewport_size({"width": 360, "height": 800})
    assert overflow(page) <= 0
    boxes = [cell.bounding_box() for cell in rows.first.locator("dd").all()]
    assert len({round(box["x"]) for box in boxes if box}) == 1  # below each other


def test_the_command_takes_the_file(tmp_path, capsys) -> None:
    checkpoint = write_checkpoint(tmp_path)
    for side, seed in (("en", 0), ("xx", 1)):
        lines = sentences(5, seed=seed)
        (tmp_path / f"test.{side}").write_text("".join(f"{line}\n" for line in lines))
    path = written(tmp_path, [sentence(10, "a dog")])
    arguments = [checkpoint, tmp_path / "test.en", tmp_path / "test.xx", "--device", "cpu"]
    arguments += ["--translations", path, "--out", tmp_path / "report.html", "--json"]
    assert command.main([*map(str, arguments)]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["translations"] == read(path)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<title>Translations and experts: " in page and '"sentence_score":"score"' in page

    def error(*arguments: object) -> str:
        assert command.main([*map(str, arguments)]) == 1
        return capsys.readouterr().err

    with_file = ["--translations", path]
    assert "goes without --compare" in error("--compare", "a.pt", "b.pt", *with_file)
    assert "is an input" in error("a.pt", "b", *with_file, "--out", path)
    assert f"{tmp_path}/gone: No such" in error("a.pt", "b", "--translations", tmp_path / "gone")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "no scored translations in JSON; docs"),
        ("[]", "no scored translations in JSON; docs"),
        ('{"scores": {}}', "in JSON: it lacks 'sentences'"),
        ('{"scores": {"BLEU": {"value": 1}}, "sentences": []}', "it lacks 'low'"),
        ('{"scores": {}, "sentences": []}', "holds no sentences"),
        ('{"scores": {}, "sentences": ["a"]}', "no scored translations in JSON; docs"),
    ],
)
def test_other_files_are_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text(text)
    with pytest.raises(UserError) as caught:
        read(tmp_path / "other.json")
    assert message in str(caught.value)
