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
    pairs = multi30k.prepare(tmp_path / "in", "de", tmp_path / "out")
    assert pairs == {"train": 2, "valid": 2, "test": 2}
    assert (tmp_path / "out/valid.de").read_text() == "val de 0\nval de 1\n"
    assert (tmp_path / "out/test.en").read_text().startswith("test_2016_flickr en 0\n")


def test_errors_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def run(folder: Path, target: str = "de") -> str:
        out = str(tmp_path / "out")
        assert multi30k.main([str(folder), "--target", target, "--out", out]) == 1
        return capsys.readouterr().err

    assert run(tmp_path / "nowhere").startswith("error: no folder ")
    assert "holds neither train.fr.gz nor train.fr" in run(fill(tmp_path / "in"), "fr")
    assert "2 lines but" in run(fill(tmp_path / "uneven", valid_targets=3))
