"""From archives on a failing server to BLEU scores and a translation, by the recipes alone."""

import json
import re
import shutil
from pathlib import Path

import pytest

from tests.recipes import TRAINING, error, headings, run
from tests.server import Fault, Server
from tests.wmt14_archives import build

# A small model on a small batch; save and validate often enough to average.
TINY = [
    *TRAINING,
    *("--moe-groups", "1", "--moe-k", "2", "--save-interval-updates", "3"),
    *("--validate-interval-updates", "3", "--lr", "0.01", "--warmup-updates", "3"),
]


def test_what_is_wrong_with_the_arguments(tmp_path: Path) -> None:
    text = run("wmt14_train.sh", "--help").stdout
    assert text.startswith("usage: recipes/wmt14_train.sh") and "BATCH_GPUS" in text
    assert "name a pair, en-de or en-fr" in error(run("wmt14_train.sh"))
    assert "unknown size '64'" in error(run("wmt14_train.sh", "en-de", "64"))
    assert "one size, please" in error(run("wmt14_train.sh", "en-de", "32", "512h"))
    settings = {"MAX_TOKENS": "0", "GPUS": "two", "AVERAGE": "-1", "PRECISION": "fp16"}
    for name, value in settings.items():
        text = error(run("wmt14_train.sh", "en-fr", **{name: value}))
        assert text.startswith(f"wmt14_train: {name}={value}: ")
    text = error(run("wmt14_train.sh", "en-fr", PREPARED=tmp_path))
    assert f"{tmp_path} is not prepared to its end: run recipes/wmt14_prepare.sh en-fr" in text


@pytest.mark.slow
def test_prepare_train_score_translate(tmp_path: Path) -> None:
    mirror = build(tmp_path / "mirror", "en-fr", lines=40)
    prepared, trained = tmp_path / "prepared data", tmp_path / "trained"
    archives = {"WMT14_ARCHIVES": tmp_path / "archives", "VOCABULARY": 300, "RUN_DIR": prepared}
    with Server(mirror) as server:
        archives |= {"WMT14_MIRROR": server.url, "WMT14_MANIFEST": mirror / "manifest.json"}
        size = (mirror / "wmt10/training-giga-fren.tar").stat().st_size
        server.faults = {
            # Truncated, then from a server that does not know how to go on.
            "wmt10/training-giga-fren.tar": iter([Fault(cut=size // 2), Fault(cut=size // 3)]),
            "wmt14/test-full.tgz": iter([Fault(status=500), Fault(wrong=b"another file")]),
        }
        server.ranges = False
        stopped = run("wmt14_prepare.sh", "en-fr", **archives)
        assert stopped.returncode == 1 and "test-full.tgz: its sha256 should be" in stopped.stderr
        made = run("wmt14_prepare.sh", "en-fr", **archives)
    assert made.returncode == 0, made.stdout + made.stderr

    settings = {"PREPARED": prepared, "RUN_DIR": trained, "GPUS": 2, "MAX_TOKENS": 500}
    settings |= {"BATCH_GPUS": 1, "UPDATES": 3, "AVERAGE": 2}
    first = run("wmt14_train.sh", "en-fr", "32", *TINY, "--update-freq", "4", **settings)
    assert first.returncode == 0, first.stdout + first.stderr
    assert headings(first.stdout) == ["training", "average"]
    log = (trained / "training/train.log").read_text()
    for setting in (
        *("'moe_gating': strictly_balanced", "'dropout': 0.4", "'_name': 'moe_adam'"),
        *("'hold_updates': 8000", "'distributed_world_size': 2", "'bf16': False"),
    ):
        assert setting in log, setting
    best = trained / "training/checkpoint_average.pt"
    assert f"next: recipes/wmt14_score.sh {best}" in first.stdout
    again = run("wmt14_train.sh", "en-fr", "32", *TINY, "--update-freq", "4", **settings)
    assert headings(again.stdout) == ["training: done", "average: done"]

    shutil.rmtree(trained / "average")
    again = run("wmt14_train.sh", "en-fr", "32", *TINY, "--update-freq", "4", **settings)
    assert headings(again.stdout) == ["training: done", "average"], again.stderr

    scored = run("wmt14_score.sh", str(best), "--", "--max-len-b", "20")
    assert scored.returncode == 0, scored.stdout + scored.stderr
    assert re.search(r"BLEU", scored.stdout) and "perplexity" in scored.stdout
    scores = json.loads(next(best.parent.glob("score-*/scores.json")).read_text())
    assert scores["sentences"] == 6

    text = "A first line. And a second sentence.\n\nThe third\rline\n"
    (tmp_path / "text").write_text(text, encoding="utf-8")
    translated = run("translate.sh", str(best), input=text)
    assert translated.returncode == 0, translated.stderr
    assert translated.stdout.count("\n") == 3 and translated.stdout.split("\n")[1] == ""


@pytest.mark.slow
@pytest.mark.parametrize(("gpus", "batches"), [(1, 2), (2, 1)])
def test_fewer_gpus_take_more_batches(tmp_path: Path, gpus: int, batches: int) -> None:
    mirror = build(tmp_path / "mirror", "en-de", lines=20)
    common = {"WMT14_ARCHIVES": tmp_path / "archives", "WMT14_MANIFEST": mirror / "manifest.json"}
    small = {"VOCABULARY": 200, "CORPORA": "news-commentary-v9"}
    made = run("wmt14_prepare.sh", "en-de", **common, **small, RUN_DIR=tmp_path / "data")
    assert made.returncode == 0, made.stderr
    settings = {"PREPARED": tmp_path / "data", "RUN_DIR": tmp_path / "run", "AVERAGE": 1}
    settings |= {"GPUS": gpus, "BATCH_GPUS": 1, "MAX_TOKENS": 8000, "UPDATES": 1}
    dense = TINY[: TINY.index("--max-tokens")]
    done = run("wmt14_train.sh", "en-de", "dense", *dense, **settings)
    assert done.returncode == 0, done.stdout + done.stderr
    assert headings(done.stdout) == ["training"]
    log = (tmp_path / "run/training/train.log").read_text()
    assert f"'update_freq': [{batches}]" in log and "'feed_forward': none" in log

    (tmp_path / "data/binary/train.en-de.en.idx").write_bytes(b"prepared anew")
    text = error(run("wmt14_train.sh", "en-de", "dense", *dense, **settings))
    assert "was made with data=" in text and "use --clean" in text
