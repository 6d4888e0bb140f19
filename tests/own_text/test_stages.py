"""The stages of ``nmt-moe train``: done once for what they are made with."""

import io
from pathlib import Path

import pytest

from nmt_moe.own_text.screen import Screen
from nmt_moe.own_text.stages import Stages

NAMES = ("text", "binary", "training", "report")


class Way:
    """Four stages, of which report goes on from text alone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def go(self, text: str = "a", lr: float = 0.1, fails: str = "") -> tuple[list[str], str]:
        """The stages that were done, and what was shown."""
        shown, did = io.StringIO(), []
        stages = Stages(self.folder, Screen(NAMES, shown))

        def work(folder: Path) -> None:
            did.append(folder.name)
            if folder.name == fails:
                raise KeyboardInterrupt
            if folder.name == "training":
                (folder / "checkpoint_last.pt").touch()

        try:
            stages.do("text", {"text": text}, work)
            stages.do("binary", {}, work, ["text"])
            stages.do("training", {"lr": lr, "options": ["--lr", lr]}, work, ["binary"])
            stages.do("report", {}, work, ["text"])
        except KeyboardInterrupt:
            pass
        return did, shown.getvalue()


@pytest.fixture
def way(tmp_path: Path) -> Way:
    return Way(tmp_path)


def test_what_is_done_is_not_done_again(way: Way) -> None:
    assert way.go()[0] == [*NAMES]
    did, shown = way.go()
    assert not did and "[3/4] training: done before" in shown


def test_a_changed_setting_repeats_what_follows_from_it(way: Way) -> None:
    way.go()
    did, shown = way.go(lr=0.2)
    assert did == ["training"]
    assert (
        "training again: lr (0.1 before, 0.2 now), options (0.1 before, 0.2 now) changed" in shown
    )
    did, shown = way.go(text="b", lr=0.2)
    assert did == [*NAMES] and "binary again: what text made has changed" in shown


def test_a_stopped_stage_goes_on_in_its_folder(way: Way) -> None:
    assert way.go(fails="training")[0] == ["text", "binary", "training"]
    (way.folder / "training/checkpoint_last.pt").write_text("half a training")
    assert way.go()[0] == ["training", "report"]
    assert not list(way.folder.glob("*.old*"))


def test_no_checkpoint_is_removed(way: Way) -> None:
    for number, lr in enumerate((0.1, 0.2, 0.3)):
        way.go(lr=lr)
        assert len(list(way.folder.glob("training.old*/checkpoint_last.pt"))) == number
    assert not list(way.folder.glob("training.old*/.done"))
