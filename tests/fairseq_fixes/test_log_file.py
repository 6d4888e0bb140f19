"""``--log-file``."""

import json
import logging
from pathlib import Path

from fairseq.logging import progress_bar

import nmt_moe.plugin  # noqa: F401 (applies the fix)


def test_each_line_is_written_once(tmp_path: Path, caplog) -> None:
    caplog.set_level("INFO")
    file = tmp_path / "train.log"
    for epoch in (1, 2, 3):  # as a training does it
        bar = progress_bar.progress_bar([], log_format="json", log_file=str(file), epoch=epoch)
        bar.print({"loss": 1}, tag="train")
    assert [json.loads(line)["epoch"] for line in file.read_text().splitlines()] == [1, 2, 3]


def test_a_handler_of_ones_own_stays(tmp_path: Path) -> None:
    own = logging.FileHandler(tmp_path / "own.log")
    progress_bar.logger.addHandler(own)
    try:
        progress_bar.progress_bar([], log_format="json", log_file=str(tmp_path / "train.log"))
        assert own in progress_bar.logger.handlers
    finally:
        progress_bar.logger.removeHandler(own)
