"""The experts' load in the event files that fairseq writes."""

import io
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from fairseq.logging import meters, metrics, progress_bar
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor

from nmt_moe.fairseq_fixes import tensorboard
from tests.commands import train

NAME = "moe_encoder_2_load"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """For the events of a training that has just begun."""
    monkeypatch.setattr(progress_bar, "_tensorboard_writers", {})
    monkeypatch.setattr(
        progress_bar, "TensorboardProgressBarWrapper", progress_bar.TensorboardProgressBarWrapper
    )
    tensorboard.FIXES[0].apply()
    metrics.reset()
    yield tmp_path
    metrics.reset()


def bar(folder: Path) -> progress_bar.BaseProgressBar:
    """As ``fairseq-train`` makes it for each epoch and each validation."""
    return progress_bar.progress_bar(
        [0], log_format="none", tensorboard_logdir=str(folder), default_log_format="none"
    )


def log_load(counts_E: Tensor) -> None:
    metrics.log_custom(meters.SumMeter, "_moe_counts/encoder.2", counts_E.double())


def training(folder: Path, loads: list[Tensor], interval: int = 100, start: int = 0) -> None:
    """Lines of the log, one for each of the loads."""
    with metrics.aggregate("train"):
        progress = bar(folder)
        for _ in progress:
            for number, counts_E in enumerate(loads, 1):
                with metrics.aggregate("train_inner"):
                    log_load(counts_E)
                progress.log({"loss": 1.0}, tag="train_inner", step=start + interval * number)
                metrics.reset_meters("train_inner")
        progress.print({"loss": 1.0}, tag="train", step=start + interval * len(loads))
        metrics.reset_meters("train")


def events(folder: Path, tag: str) -> EventAccumulator:
    found = EventAccumulator(str(folder / tag), size_guidance={"images": 0, "histograms": 0})
    found.Reload()
    return found


def history(tag: str) -> Tensor:
    return metrics.get_meter("moe_load", f"{tag}/encoder.2").tensor


def test_histograms_hold_the_load_of_each_expert(folder):
    loads = [torch.tensor([5, 0, 3, 2]), torch.tensor([1, 1, 7, 1])]
    training(folder, loads)
    for tag, expected in {"train_inner": loads, "train": [loads[0] + loads[1]]}.items():
        written = events(folder, tag).Histograms(NAME)
        for event, counts_E in zip(written, expected, strict=True):
            value = event.histogram_value
            assert value.bucket == counts_E.tolist() and value.bucket_limit == [1, 2, 3, 4]
            assert (value.min, value.max, value.num) == (0, 4, counts_E.sum().item())
        assert written[-1].step == 200


def test_a_validation_has_its_own(folder):
    with metrics.aggregate("train"):
        log_load(torch.tensor([9, 9]))
        with metrics.aggregate(new_root=True):
            progress = bar(folder)
            for _ in progress:
                log_load(torch.tensor([3, 1]))
        progress.print({"loss": 1.0}, tag="valid", step=7)
    [event] = events(folder, "valid").Histograms(NAME)
    assert event.histogram_value.bucket == [3, 1] and event.step == 7
    assert history("valid").tolist() == [[7, 1.5, 0.5]]


@pytest.mark.parametrize(("experts", "rows"), [(256, 256), (2048, 256), (700, 234)])
def test_neighbours_of_thousands_of_experts_share_a_row(folder, experts, rows):
    counts_E = torch.arange(experts)
    training(folder, [counts_E])
    value = events(folder, "train").Histograms(NAME)[0].histogram_value
    group = -(-experts // 256)
    groups = [counts_E[at : at + group].double() for at in range(0, experts, group)]
    assert len(groups) == rows
    assert value.bucket == [group_E.sum().item() for group_E in groups]
    assert value.bucket_limit[-1] == experts
    means = torch.stack([group_E.mean() for group_E in groups]) / counts_E.double().mean()
    torch.testing.assert_close(history("train")[0, 1:].double(), means, rtol=1e-6, atol=0)


def test_the_picture_shows_what_has_been_and_changes_with_the_load(folder):
    even, uneven = torch.tensor([4, 4, 4, 4]), torch.tensor([16, 0, 0, 0])
    training(folder, [even, even, uneven])
    pictures = []
    for event in events(folder, "train_inner").Images(f"{NAME}_over_time"):
        picture = Image.open(io.BytesIO(event.encoded_image_string)).convert("RGB")
        assert picture.size == (800, 500)
        pictures.append(torch.tensor(list(picture.tobytes())).view(500, 800, 3))
    assert len(pictures) == 3
    # On the right, from top to bottom: the first expert is the lowest.
    middle = pictures[-1][:, 600]
    red, blue = middle[400], middle[100]
    assert red[0] > red[2] + 50 and blue[2] > blue[0] + 50
    assert pictures[-1][100, 200].min() > 240  # even at the start
    assert pictures[-2][100, 600].min() > 240
    assert history("train_inner").tolist() == [
        [100, 1, 1, 1, 1],
        [200, 1, 1, 1, 1],
        [300, 4, 0, 0, 0],
    ]


def test_long_trainings_get_coarser_columns(folder):
    for number in range(1, 1501):
        before, columns_CX = tensorboard.remember("x", 10 * number, torch.tensor([number % 2, 1]))
        assert before == 10 * (number - 1)
        assert len(columns_CX) < 256
    assert len(columns_CX) >= 128
    assert columns_CX[-1, 0] == 15000 and (columns_CX[:, 0].diff() > 0).all()
    # Each of the older columns is the mean of lines of both kinds.
    torch.testing.assert_close(columns_CX[:100, 1:], torch.tensor([0.5, 1.0]).expand(100, 2))


def test_long_trainings_get_few_pictures():
    steps = [0, *range(10, 1_000_010, 10)]
    drawn = [step for before, step in pairwise(steps) if tensorboard.due(before, step)]
    assert drawn[:5] == steps[1:6]
    assert 40 < len(drawn) < 60
    assert all(after <= 1.25 * before + 20 for before, after in pairwise(drawn))


def test_a_resumed_training_keeps_the_columns(folder):
    training(folder, [torch.tensor([1, 3])] * 3)
    file = io.BytesIO()
    torch.save(metrics.state_dict(), file)
    training(folder, [torch.tensor([9, 0])], start=300)  # what the checkpoint does not have
    metrics.reset()
    metrics.load_state_dict(torch.load(io.BytesIO(file.getvalue()), weights_only=True))
    training(folder, [torch.tensor([3, 1])] * 2, start=300)
    assert history("train_inner").tolist() == [
        *([step, 0.5, 1.5] for step in (100, 200, 300)),
        *([step, 1.5, 0.5] for step in (400, 500)),
    ]
    training(folder, [torch.tensor([1, 1])], start=100)  # back behind the checkpoint
    assert history("train_inner")[:, 0].tolist() == [100, 200]


@pytest.mark.slow
def test_whole_trainings_write_them_and_warn_once(data, tmp_path):
    """A limit that any balance exceeds shows the warning; the second command resumes."""
    logdir = tmp_path / "events"
    limits = ["--moe-collapse-load", 0.5, "--moe-collapse-updates", 3, "--log-interval", 2]
    options = [*limits, "--tensorboard-logdir", logdir]
    first = train(data, tmp_path / "run", "--max-update", 8, *options)
    second = train(data, tmp_path / "run", "--max-update", 12, *options)
    [warning] = [line for line in first.stdout.splitlines() if "| WARNING | nmt_moe" in line]
    assert "experts collapse in layer encoder.2 (0 of 4 " in warning
    assert "experts collapse" not in second.stdout + second.stderr

    for tag, steps in {"train_inner": [2, 4, 6, 8, 10, 12], "train": [8, 10, 12]}.items():
        written = events(logdir, tag)
        for layer in ("encoder_2", "decoder_1"):
            histograms = written.Histograms(f"moe_{layer}_load")
            assert [event.step for event in histograms] == steps, tag
            assert len(histograms[0].histogram_value.bucket) == 4
            share = max(histograms[-1].histogram_value.bucket) / histograms[-1].histogram_value.num
            scalar = written.Scalars(f"moe_{layer}_top_share")[-1]
            assert scalar.value == pytest.approx(share, abs=1e-5)
            assert written.Images(f"moe_{layer}_load_over_time")[-1].step == 12
            assert 0 < written.Scalars(f"moe_{layer}_entropy")[-1].value <= 1  # k = 2
    assert events(logdir, "valid").Histograms("moe_encoder_2_load")
    state = torch.load(tmp_path / "run" / "checkpoint_last.pt", weights_only=True)
    kept = dict((name, state) for _, name, _, state in state["extra_state"]["metrics"]["moe_load"])
    assert kept["train_inner/encoder.2"]["tensor"][:, 0].tolist() == [2, 4, 6, 8, 10, 12]


def test_nothing_is_kept_without_a_folder(trained):
    state = torch.load(trained, weights_only=True)
    assert "moe_load" not in state["extra_state"]["metrics"]
