"""A full disk at each stage: one line that says so, what was there before is whole, and go on."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from nmt_moe.corpus.multilingual.__main__ import main as multilingual
from tests.reliability.disk import PAGE, Disk, small_disk
from tests.reliability.stages import STAGES, Stage, contents
from tests.tally import Tally

ROOM = 16 << 20  # more than all need
LONG = ["train", "generate", "translate"]


def sizes(folder: Path) -> list[int]:
    """Of the files, in whole pages."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [-(-path.stat().st_size // PAGE) * PAGE for path in files]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    with small_disk(tmp_path / "disk", ROOM) as disk:
        yield disk


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow if name in LONG else ()) for name in STAGES],
)
def test_stage(name: str, text: Path, tmp_path: Path, disk: Disk, tally: Tally) -> None:
    """Less and less is missing; then there is room for all, and then too little once more."""
    stage = STAGES[name]

    def fails(share: float) -> None:
        disk.resize(int(share * size) + held)
        finished = stage.run(text, out, tmp_path, disk.limit)
        disk.resize(ROOM)
        printed = finished.stdout + finished.stderr
        assert finished.code == 1 and "Traceback" not in printed, printed
        [said] = [line for line in finished.stderr.splitlines() if "error: " in line]
        assert said.startswith("error: ") and "free some space" in said
        assert str(out) in said or not stage.whole
        left = [path for path in out.rglob("*") if path.name.endswith((".draft", ".tmp"))]
        assert not left
        tally(faults=1)

    whole = tmp_path / "whole"
    finished = stage.run(text, whole, tmp_path)
    assert finished.code == 0, finished.stderr
    want = contents(whole)
    size = sum(sizes(whole)) if disk.mounted else max(sizes(whole))
    out, held = disk.folder / "out", 0
    for share in (0.0, 0.7):
        fails(share)
    finished = stage.run(text, out, tmp_path)
    assert finished.code == 0, finished.stderr
    lost = contents(out) != want
    if not lost and stage.whole and stage.again:
        held = size if disk.mounted else 0
        fails(0.5)
        lost = contents(out) != want
    tally(losses=int(lost))
    assert not lost


def test_dictionary_that_gets_tags(text: Path, tmp_path: Path, disk: Disk, tally: Tally) -> None:
    """It is there already, and holds what cannot be had again: it is replaced or stays."""
    model, dictionary = disk.folder / "wp.model", disk.folder / "wp.dict.txt"
    model.write_bytes((text / "wp.model").read_bytes())
    before = "".join(f"piece{number} 1\n" for number in range(3000))  # some pages
    dictionary.write_text(before)
    names = sorted(path.name for path in disk.folder.iterdir())
    mix = Stage(multilingual, f"mix --model {model} --out {tmp_path}/out en-de={text} de-en={text}")
    held = sum(sizes(disk.folder))
    for room in (0, PAGE, 2 * PAGE):
        disk.resize(held + room if disk.mounted else PAGE + room)
        finished = mix.run(text, tmp_path, tmp_path, disk.limit)
        disk.resize(ROOM)
        assert "free some space" in finished.error()
        assert str(dictionary) in finished.stderr or not disk.mounted
        lost = dictionary.read_text() != before
        tally(faults=1, losses=int(lost))
        assert not lost and sorted(path.name for path in disk.folder.iterdir()) == names
    finished = mix.run(text, tmp_path, tmp_path)
    assert finished.code == 0, finished
    assert dictionary.read_text() == before + "<2de> 1\n<2en> 1\n"
