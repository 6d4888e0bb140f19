"""``nmt-moe model shortlist``, and translations with what it learns, by whoever searches."""

from pathlib import Path

import pytest

from nmt_moe import LSTMMoEModel, Translator
from nmt_moe.cli.main import main
from nmt_moe.corpus import suspicions
from nmt_moe.corpus.suspicions import Suspicion
from nmt_moe.trained import load
from nmt_moe.trained.model import Encoder
from tests.report.experts import sentences, write_checkpoint


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of random weights, and parallel text of words that are copied."""
    folder = tmp_path_factory.mktemp("trained")
    made = write_checkpoint(folder)
    text = "".join(f"{line}\n" for line in sentences(80))
    for side in ("text.en", "text.xx"):
        (folder / side).write_text(text)
    return made


def learn(checkpoint: Path, out: Path, *options: object) -> Path:
    sides = [checkpoint.parent / name for name in ("text.en", "text.xx")]
    words = ["model", "shortlist", checkpoint, *sides, "--out", out, *options]
    assert main([*map(str, words)]) == 0
    return out


def test_translations_have_only_the_pieces_that_it_allows(checkpoint, tmp_path, capsys) -> None:
    table = learn(checkpoint, tmp_path / "table", "--each", 1, "--frequent", 0)
    assert "1 pieces for each" in capsys.readouterr().out
    lines, model = ["the old dog", "a cat", "red bird likes"], load(checkpoint)
    encoder, words = Encoder(model), model.task.target_dictionary
    translator = model.translator(beam=2, max_pieces=10, shortlist=table)
    for group in (lines, *([line] for line in lines)):
        cut = [model.wordpieces().encode(line, out_type=str) for line in group]
        found = {t for [(tokens, _)] in translator._search(cut) for t in tokens.tolist()}
        # In this text each piece is its own translation.
        assert found <= {
            *range(words.nspecial),
            *(t for x in group for t in encoder.source(x).tolist()),
        }
    assert translator(lines) != model.translator(beam=2, max_pieces=10)(lines)


def test_all_who_search_have_the_same_translations(checkpoint, tmp_path, capsysbinary) -> None:
    table = learn(checkpoint, tmp_path / "table", "--each", 3, "--frequent", 2)
    lines = ["the old dog", "a cat"]
    expected = Translator(checkpoint, shortlist=table)(lines)
    text = tmp_path / "text"
    text.write_text("".join(f"{line}\n" for line in lines))
    capsysbinary.readouterr()
    options = ["--shortlist", str(table), "--lines-are-sentences", "--device", "cpu"]
    assert main(["translate", str(checkpoint), str(text), *options]) == 0
    assert capsysbinary.readouterr().out.decode().splitlines() == expected
    hub = LSTMMoEModel.from_pretrained(str(checkpoint.parent), checkpoint.name)
    assert hub.translate(lines, shortlist=str(table)) == expected
    assert hub.translate(lines) == load(checkpoint).translator()(lines) != expected


def test_what_is_refused(checkpoint, tmp_path, capsys) -> None:
    table = learn(checkpoint, tmp_path / "table")
    (tmp_path / "other").mkdir()
    other = write_checkpoint(tmp_path / "other", symbols=["more"])

    def error(*words: object) -> str:
        capsys.readouterr()
        assert main([*map(str, words)]) == 1
        [line] = capsys.readouterr().err.splitlines()
        return line

    assert "was learned for another vocabulary of the source" in error(
        "translate", other, checkpoint.parent / "text.en", "--shortlist", table
    )
    assert "a shortlist is for one model" in error(
        "translate", f"{checkpoint}:{checkpoint}", "--shortlist", table
    )
    sides = [checkpoint.parent / "text.en", checkpoint.parent / "text.xx"]
    assert "is an input" in error("model", "shortlist", checkpoint, *sides, "--out", sides[0])
    assert "no folder" in error("model", "shortlist", checkpoint, *sides, "--out", "/gone/table")
    (tmp_path / "empty").write_text("\n \n\n")
    (tmp_path / "one").write_text("the dog\n")
    empty, one, out = tmp_path / "empty", tmp_path / "one", tmp_path / "new"
    assert "no line to learn from" in error(
        "model", "shortlist", checkpoint, empty, empty, "--out", out
    )
    assert "lines but" in error("model", "shortlist", checkpoint, *sides[:1], one, "--out", out)
    lm = tmp_path / "lm"
    lm.mkdir()
    assert "it is a language model" in error(
        "model", "shortlist", write_checkpoint(lm, "lstm_moe_lm"), *sides, "--out", out
    )
    assert not out.exists()


def test_text_that_looks_wrong_is_warned_of(checkpoint, tmp_path, monkeypatch, capsys) -> None:
    wrong = [Suspicion("swapped", (1, 80), "all lines: source and target look swapped")]
    looked = []
    monkeypatch.setattr(suspicions, "look", lambda *given: looked.append(given) or wrong)
    learn(checkpoint, tmp_path / "table")
    assert "text.xx: all lines: source and target look swapped" in capsys.readouterr().err
    [(pairs, source, target)] = looked
    assert (len(pairs), source, target) == (80, "en", "xx")
