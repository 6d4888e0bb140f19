"""Training curves out of fairseq's logs."""

import json
import logging
from pathlib import Path

import pytest
from fairseq.logging import progress_bar
from fairseq.logging.meters import AverageMeter

from nmt_moe.common.errors import UserError
from nmt_moe.report.curves import log_file, read_runs
from tests.commands import train

STAMP = "2026-01-01 12:00:00 | INFO | "


def meter(value: float) -> AverageMeter:
    found = AverageMeter()
    found.update(value)
    return found


def logged(folder: Path, log_format: str) -> Path:
    """What fairseq's own progress bar logs in two intervals, an epoch and its validation."""
    path = folder / f"{log_format}.log"
    handler = logging.FileHandler(path)
    handler.setFormatter(logging.Formatter(f"{STAMP}%(name)s | %(message)s"))
    logger = logging.getLogger("fairseq.logging.progress_bar")
    logger.addHandler(handler)
    level = logger.level
    logger.setLevel(logging.INFO)
    try:
        with progress_bar.progress_bar(
            [0] * 40, log_format=log_format, log_interval=10, epoch=1
        ) as bar:
            iterator = iter(bar)
            for update in (10, 20):
                next(iterator)
                stats = {"loss": meter(9 - update / 10), "ppl": 2.5e6, "wps": 1234.0}
                bar.log({**stats, "num_updates": update}, tag="train_inner", step=update)
            bar.print({"loss": meter(7.5), "wall": 3.0, "num_updates": 20}, tag="train")
        prefix = "valid on 'valid' subset"
        with progress_bar.progress_bar([], log_format=log_format, epoch=1, prefix=prefix) as bar:
            stats = {"loss": meter(6.25), "ppl": float("inf"), "num_updates": 20, "best_loss": 6.25}
            bar.print(stats, tag="valid")
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
    return path


@pytest.mark.parametrize("log_format", ["json", "simple"])
def test_formats_of_fairseq_give_the_same(tmp_path: Path, log_format: str) -> None:
    path = logged(tmp_path, log_format)
    train = {"updates": [10, 20], "loss": [8.0, 7.0], "ppl": [2.5e6] * 2, "wps": [1234.0] * 2}
    valid = {"updates": [20], "loss": [6.25], "ppl": [None], "best_loss": [6.25]}
    assert read_runs([path]) == [{"name": str(path), "train": train, "valid": valid}]


def test_log_of_tqdm_has_the_epochs(tmp_path: Path) -> None:
    """fairseq's tqdm logs ends of epochs as "simple" does; its bar is not part of the log."""
    lines = logged(tmp_path, "simple").read_text().splitlines(keepends=True)
    path = tmp_path / "tqdm.log"
    path.write_text("".join(line for line in lines if "train_inner" not in line))
    run = read_runs([path])[0]
    assert run["train"] == {"updates": [20], "loss": [7.5], "wall": [3.0]}
    assert run["valid"]["loss"] == [6.25]
    path.write_text("".join(line for line in lines if "| train |" in line))
    assert read_runs([path])[0]["valid"] == {"updates": []}


def test_the_bar_of_tqdm_in_what_a_terminal_showed(tmp_path: Path) -> None:
    bar = (
        "epoch 001:  {0}%|##  | {0}/100 [00:01<00:09, 9.9it/s, loss={0}.5, ppl= 4, num_updates={0}]"
    )
    shown = "\r".join(["epoch 001:   0%|    | 0/100", bar.format(10), bar.format(20)])
    (tmp_path / "train.log").write_text(shown + "\n")
    run = read_runs([tmp_path])[0]
    assert run["train"] == {"updates": [10, 20], "loss": [10.5, 20.5], "ppl": [4.0, 4.0]}


def test_repeated_updates_and_missing_figures(tmp_path: Path) -> None:
    def line(**figures: object) -> str:
        return json.dumps({"epoch": 1, "update": 0.5} | figures) + "\n"

    (tmp_path / "train.log").write_text(
        "torch: {'a': 1}\n"
        + line(loss="4", num_updates="200", gnorm="1.5")
        + line(loss="5", num_updates="100", note="text")
        + line(loss="nan", num_updates="200")
        + line(valid_loss="5", valid_num_updates="200")
        + line(valid_loss="4.5", valid_num_updates="200")
        + line(test_loss="1", test_num_updates="200")
        + '{"epoch": 1, "loss": "3", "num_upd'
    )
    run = read_runs([tmp_path])[0]
    assert run["train"] == {"updates": [100, 200], "loss": [5.0, None]}
    assert run["valid"] == {"updates": [200], "loss": [4.5]}


def test_where_the_log_is(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no log.*--log-file"):
        log_file(tmp_path)
    (tmp_path / "a.log").touch()
    assert log_file(tmp_path) == tmp_path / "a.log"
    (tmp_path / "b.log").touch()
    with pytest.raises(UserError, match=r"holds 2 logs.*--log-file"):
        log_file(tmp_path)
    (tmp_path / "train.log").touch()
    assert log_file(tmp_path) == tmp_path / "train.log"
    assert log_file(tmp_path / "b.log") == tmp_path / "b.log"


def test_errors_name_the_log(tmp_path: Path) -> None:
    (tmp_path / "train.log").write_bytes(b"\xff no figures\n")
    with pytest.raises(UserError, match=r"train\.log holds no figures of a training"):
        read_runs([tmp_path])
    with pytest.raises(UserError, match=r"none\.log cannot be read: No such file"):
        read_runs([tmp_path / "none.log"])


@pytest.mark.slow
def test_a_training_in_both_formats(data: Path, tmp_path: Path) -> None:
    runs = []
    for log_format in ("json", "simple"):
        folder = tmp_path / log_format
        log = ["--log-file", folder / "train.log", "--log-format", log_format]
        folder.mkdir()
        train(data, folder, "--max-update", 30, *log)
        runs += read_runs([folder])
    as_json, as_simple = runs
    assert as_json["train"]["updates"] == [10, 20, 30]
    assert {"ppl", "lr", "gnorm", "wps", "moe_encoder_2_load_cv"} <= as_json["train"].keys()
    for split in ("train", "valid"):
        timeless = as_json[split].keys() - {"wps", "ups", "wall", "train_wall"}
        for name in timeless:
            pairs = zip(as_simple[split][name], as_json[split][name], strict=True)
            assert all(a == b or a == pytest.approx(b, rel=1e-3) for a, b in pairs), name
