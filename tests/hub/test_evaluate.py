"""``nmt-moe evaluate``: the scores are sacrebleu's of what ``nmt-moe translate`` writes."""

import gzip
import json
from pathlib import Path

import pytest
import sacrebleu
import torch
from fairseq.scoring.bleu import BleuConfig, Scorer

import nmt_moe.plugin  # noqa: F401 (labels fairseq's BLEU)
from nmt_moe import Translator
from nmt_moe.cli.main import main
from nmt_moe.report.translations import read
from nmt_moe.score.evaluation import compare, content, for_card
from nmt_moe.score.intervals import scored
from nmt_moe.trained.folder import ModelFolder
from tests.hub.conftest import KNOWN
from tests.hub.test_model_folder import written


@pytest.fixture(scope="module")
def model(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> ModelFolder:
    return written(tmp_path_factory.mktemp("evaluate") / "my-model", folder)


@pytest.fixture
def texts(tmp_path: Path) -> list[Path]:
    source, reference = tmp_path / "test.en.gz", tmp_path / "test.xx"
    source.write_bytes(gzip.compress("".join(f"{line}\n" for line in KNOWN).encode()))
    reference.write_text("".join(f"{line}\n" for line in KNOWN))
    return [source, reference]


def error(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert main(["evaluate", *map(str, arguments)]) == 1
    return capsys.readouterr().err


def test_the_scores_are_of_the_translations(model, texts, tmp_path, capsys) -> None:
    found, lines = tmp_path / "found.json", tmp_path / "lines.tsv"
    more = ["--json", found, "--per-line", lines, "--resamples", 50]
    assert main(["evaluate", *map(str, [model.path, *texts, *more])]) == 0
    shown = capsys.readouterr().out
    hypotheses = Translator(model.path).translate(KNOWN)
    bleu = sacrebleu.corpus_bleu(hypotheses, [KNOWN])
    assert 20 < bleu.score < 100 and f"BLEU  {bleu.score:6.2f}  (" in shown
    assert "case:mixed|eff:no|tok:13a|smooth:exp" in shown and "TER " in shown and "chrF2" in shown
    assert read(found)["count"] == len(KNOWN)
    head, *rows = [line.split("\t") for line in lines.read_text().split("\n")[:-1]]
    assert head == ["line", "BLEU", "chrF2", "TER", "source", "reference", "translation"]
    assert [row[-1] for row in rows] == hypotheses and [row[4] for row in rows] == KNOWN
    same = [row for row in rows if row[-1] == row[-2]]
    assert same and all(row[1:4] == ["100.00", "100.00", "0.00"] for row in same)


def test_against_a_model_and_its_translations(model, texts, tmp_path, capfd) -> None:
    other = tmp_path / "other.xx"
    other.write_text("".join(f"{line}\n" for line in KNOWN))
    for against in (other, model.path):
        arguments = [model.path, *texts, "--against", against, "--resamples", 50, "--json", "-"]
        assert main(["evaluate", *map(str, arguments)]) == 0
        printed = capfd.readouterr()
        scores = json.loads(printed.out)["comparison"]["scores"]
        assert [one["name"] for one in scores] == ["BLEU", "chrF2", "TER"]
        assert f"against {against}, paired bootstrap:" in printed.err
        if against == other:
            assert scores[0]["against"] == pytest.approx(100) and scores[0]["p_value"] < 0.1
            assert scores[2]["against"] == 0 < scores[2]["score"]
        else:
            assert all(one["p_value"] == 1 and one["score"] == one["against"] for one in scores)


def test_a_text_in_another_language_is_said(model, texts, tmp_path, capsys) -> None:
    chinese = tmp_path / "test.zh"
    chinese.write_text("".join(f"我现在要去{chr(0x8001 + n)}车站。\n" for n in range(len(KNOWN))))
    for source, said in {chinese: "the source does not look like en but ", texts[0]: ""}.items():
        words = map(str, [model.path, source, texts[1], "--resamples", 2])
        assert main(["evaluate", *words]) == 0
        warnings = [one for one in capsys.readouterr().err.split("\n") if "warning" in one]
        assert len(warnings) == bool(said) and all(said in one for one in warnings)


def test_what_does_not_belong_together(model, texts, tmp_path, capsys) -> None:
    short = tmp_path / "short"
    short.write_text("a\n")
    assert "has 12 lines but" in error(capsys, model.path, texts[0], short)
    assert "short has 1 lines but" in error(capsys, model.path, *texts, "--against", short)
    assert "into xx only, not into fr" in error(capsys, model.path, *texts, "--target-lang", "fr")
    short.write_text("")
    assert "is empty: there is nothing" in error(capsys, model.path, short, short)
    assert "is an input: write" in error(capsys, model.path, *texts, "--json", texts[1])
    assert "there is no checkpoint" in error(capsys, tmp_path / "none", *texts)


def test_the_card_has_the_lowest_scores() -> None:
    references = [f"a word {number} and more" for number in range(30)]
    hypotheses = ["", *references[1:29], "a word"]
    found = content(scored(hypotheses, references, "de", 20), references, references, hypotheses)
    entry = for_card(found, ("en", "de"), "test")
    assert entry["sentences"] == 30 and entry["scores"] == found["scores"]
    assert [one["hypothesis"] for one in entry["worst"][:2]] == ["", "a word"]
    assert len(entry["worst"]) == 10
    assert [one["name"] for one in compare(hypotheses, references, references, "th", 20)] == [
        "BLEU",
        "chrF2",
    ]


def test_fairseqs_own_bleu_says_what_it_is_of() -> None:
    scorer = Scorer(BleuConfig())
    tokens = torch.tensor([5, 6, 7, 8, 2], dtype=torch.int32)
    scorer.add(tokens, tokens)
    said = scorer.result_string()
    assert said.startswith("BLEU4 = 100.00, ") and "of tokens as they are compared here" in said
