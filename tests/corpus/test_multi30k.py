"""Multi30k from a folder: plain, gzipped, or as a clone lays it out."""

import gzip
from pathlib import Path

import pytest

from nmt_moe.corpus import multi30k


def fill(folder: Path, packed: bool = False, valid_targets: int = 2) -> Path:
    folder.mkdir(parents=True)
    for name in ("train", "val", "test_2016_flickr"):
        for language in ("en", "de"):
            lines = valid_targets if (name, language) == ("val", "de") else 2
            text = "".join(f"{name} {language} {i}\n" for i in range(lines)).encode()
            if packed:
                (folder / f"{name}.{language}.gz").write_bytes(gzip.compress(text))
            else:
                (folder / f"{name}.{language}").write_bytes(text)
    return folder


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("inside", [".", "data/task1/raw"])
def test_writes_the_three_splits(tmp_path: Path, packed: bool, inside: str) -> None:
    fill(tmp_path / "in" / inside, packed)
    pairs = multi30k.prepare(tmp_path / "in", "en", "de", tmp_path / "out")
    assert pairs == {"train": 2, "valid": 2, "test": 2}
    assert (tmp_path / "out/valid.de").read_text() == "val de 0\nval de 1\n"
    assert (tmp_path / "out/test.en").read_text().startswith("test_2016_flickr en 0\n")


def test_test_sets_of_2017_are_written_where_both_languages_have_them(tmp_path: Path) -> None:
    folder, out = fill(tmp_path / "in"), tmp_path / "out"
    for name in ("test_2017_flickr.en", "test_2017_flickr.de", "test_2017_mscoco.en"):
        (folder / name).write_text(f"{name}\n")
    pairs = multi30k.prepare(folder, "de", "en", out)
    assert pairs == {"train": 2, "valid": 2, "test": 2, "test_2017_flickr": 1}
    assert (out / "test_2017_flickr.de").read_text() == "test_2017_flickr.de\n"


def test_the_text_of_papers_is_lower_cased_normalised_and_tokenised(tmp_path: Path) -> None:
    folder = fill(tmp_path / "in")
    (folder / "val.de").write_text("Ein Mann, der „Hallo“ sagt.\nÜber 1.000 Hunde!\n")
    multi30k.prepare(folder, "en", "de", tmp_path / "out", papers=True)
    assert (tmp_path / "out/valid.de").read_text().splitlines() == [
        "ein mann , der &quot; hallo &quot; sagt .",
        "über 1.000 hunde !",
    ]


def test_errors_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def run(folder: Path, target: str = "de") -> str:
        out = str(tmp_path / "out")
        assert multi30k.main([str(folder), "--target", target, "--out", out]) == 1
        return capsys.readouterr().err

    assert run(tmp_path / "nowhere").startswith("error: no folder ")
    assert "holds neither train.fr.gz nor train.fr" in run(fill(tmp_path / "in"), "fr")
    assert "are both en: name two languages" in run(tmp_path / "in", "en")
    assert "2 lines but" in run(fill(tmp_path / "uneven", valid_targets=3))
