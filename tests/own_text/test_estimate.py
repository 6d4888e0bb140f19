"""Time, memory and disk of a training, measured in a short one."""

import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from nmt_moe.common.errors import UserError
from nmt_moe.own_text.choices import Choices, choose
from nmt_moe.own_text.estimate import Estimate, measure
from nmt_moe.own_text.machine import Machine
from tests import preloaded
from tests.commands import PLUGIN, run

_ESTIMATE = Estimate(
    start=5,
    updates_per_second=2.0,
    pieces_per_second=1800.0,
    updates_per_pass=500,
    validation=2.0,
    memory=3 << 30,
    checkpoint=100 << 20,
    measured=55.0,
)


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


def made(size: str, updates: int) -> Choices:
    settings = {"updates": f"{updates}", "moe-experts": "4", "num-workers": "0"}
    machine = Machine(cores=1, memory=16 << 30)
    return choose(2000, words=10_000, size=size, machine=machine, settings=settings)


@pytest.fixture
def tiny() -> Choices:
    return made("tiny", 12)


def test_a_short_training_is_measured_and_leaves_nothing(
    data: Path, tiny: Choices, tmp_path: Path
) -> None:
    command = preloaded.command("fairseq-train")
    found = measure(data, tiny, 60, command=command, folder=tmp_path)
    assert found.updates_per_pass == 2
    assert found.updates_per_second > 0 and found.pieces_per_second > found.updates_per_second
    assert 0 < found.validation < 60 and found.start > 0
    assert 1_000_000 < found.checkpoint < 10_000_000 and found.memory > 1_000_000
    assert not [*tmp_path.iterdir()]


def test_a_training_that_fails_gives_its_own_reason(tiny: Choices, tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import sys; sys.exit(f'error: no {sys.argv[1]}')"]
    with pytest.raises(UserError, match="^no .*nowhere"):
        measure(tmp_path / "nowhere", tiny, 1, command=command, folder=tmp_path)


def test_the_time_holds_the_updates_the_validations_and_what_follows() -> None:
    assert _ESTIMATE.seconds(1000, validations=10) == 5 + 500 + 20
    assert _ESTIMATE.updates(525, validations=10) == 1000
    chosen = choose(
        29_000,
        words=350_000,
        machine=Machine(cores=2, memory=16 << 30),
        settings={},
    )
    short = _ESTIMATE.fit(chosen, 1000)
    assert short.updates == int(2 * (0.95 * (1000 - 60 - 6 * 2) - 5 - 25 * 2))
    assert short.reasons[0] == "15.5 minutes of training and 25 validations at 2 updates a second"
    assert (short.validations, short.seconds) == (25, 1000 - 60 - 6 * 2)
    assert "3.22 GB of memory and 734.0 MB of disk" in short.reasons[-1]
    assert _ESTIMATE.fit(chosen, None).updates == 13 * 500
    slow = replace(_ESTIMATE, validation=6.0).fit(chosen, 1000)  # a tenth of the time
    updates = int(2 * (0.95 * (1000 - 60 - 6 * 6) - 5 - 15 * 6))
    assert (slow.validations, slow.updates) == (15, updates)
    silent = _ESTIMATE.fit(chosen, 1000, translates=False)
    assert silent.seconds == 1000 - 60 - 60 * 2
    news = replace(_ESTIMATE, validation=72.0).fit(chosen, 3900)  # 3,000 long sentences
    left = 3900 - 60 - 6 * 72
    assert (news.translates, news.validations) == (False, int(0.1 * left / (0.3 * 72)))
    assert news.updates == int(2 * (0.95 * left - 5 - news.validations * 0.3 * 72))
    assert news.reasons[-1] == "no BLEU in validations, one of which would take 72 seconds"
    assert short.translates and slow.translates
    with pytest.raises(
        UserError, match="too short for 29,000 pairs, give a --time that is 1 minute longer"
    ):
        _ESTIMATE.fit(chosen, 140)


@pytest.mark.slow
@pytest.mark.parametrize("size", ["tiny", "small", "medium"])
def test_the_time_of_a_training_is_predicted(size: str, data: Path, tmp_path: Path) -> None:
    ratios = []
    for attempt in range(3):  # another process may take the processor meanwhile
        choices = made(size, 10_000)
        found = measure(data, choices, 8, folder=tmp_path)
        updates = int(found.updates(found.start + 12, validations=1))
        begun = time.monotonic()
        run(
            "fairseq-train", data, "--user-dir", PLUGIN, *choices.options, "--max-update", updates,
            "--save-dir", tmp_path / f"{attempt}", "--no-epoch-checkpoints",
            "--save-interval", 1000000, "--validate-interval", 1000000,
            "--log-format", "json", fresh=True,
        )  # fmt: skip
        ratios.append((time.monotonic() - begun) / found.seconds(updates, validations=1))
        if 1 / 1.5 < ratios[-1] < 1.5:
            return
    pytest.fail(f"took {ratios} times as long as predicted")
