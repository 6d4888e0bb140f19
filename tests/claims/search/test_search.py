"""``nmt-moe claims search`` as it is typed, on a tiny corpus."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import preloaded
from tests.commands import TINY, TRAINING
from tests.recipes import environment
from tests.reliability.processes import of_session

OPTIONS = " ".join([*TINY, *TRAINING[:4], "--batch-size 20 --cpu --num-workers 0"])
BEGINS = "claims search begins"
SETTINGS = 'model = {experts = "", bad = "--moe-k 9", dense = "--feed-forward dense"}'


def table(folder: Path, data: Path, settings: str = SETTINGS, **content: object) -> Path:
    """A file with the space."""
    given = {"data": str(data), "base": OPTIONS, "updates": 10} | content
    lines = [f"{name} = {json.dumps(value)}" for name, value in given.items()]
    path = folder / "space.toml"
    path.write_text("\n".join([*lines, "[settings]", settings]) + "\n")
    return path


def command(*words: object) -> list[str]:
    return preloaded.command("nmt-moe", "claims", *words)


def run(*words: object, code: int = 0, **settings: Any) -> subprocess.CompletedProcess[str]:
    ended = subprocess.run(
        command(*words),
        env=environment(**settings),
        capture_output=True,
        encoding="utf-8",
        timeout=300,
    )
    assert ended.returncode == code, ended.stdout + ended.stderr
    return ended


def start(*words: object, **settings: Any) -> subprocess.Popen[str]:
    """In a session of its own; real programs, which see the end of their parents, and hear Ctrl-C
    also where these tests run in the background of a shell."""
    return subprocess.Popen(
        [str(preloaded.BIN / "nmt-moe"), "claims", *map(str, words)],
        env=environment(fresh=True, **settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def wait_for(running: subprocess.Popen[str], there: Callable[[], Any]) -> None:
    until = time.monotonic() + 200
    while not there():
        assert running.poll() is None and time.monotonic() < until
        time.sleep(0.02)


def rows(folder: Path) -> list[dict[str, Any]]:
    """Without what depends on the machine's speed."""
    lines = (folder / "tried.jsonl").read_text().splitlines()
    return [json.loads(line) | {"seconds": 0} for line in lines]


def without_progress(said: str) -> list[str]:
    """The lines but those that a slow machine shows."""
    lines = said.splitlines()
    return [one for one in lines if not one.startswith(("search: ", "waiting for another"))]


def begun(folder: Path) -> int:
    """How many tries of trainings there were."""
    logs = folder.glob("trained/*/*.log")
    return sum(path.read_text().count(BEGINS) for path in logs)


def test_a_grid_of_which_some_settings_fail(data: Path, tmp_path: Path) -> None:
    space, out, results = table(tmp_path, data), tmp_path / "out", tmp_path / "results"
    ended = run("search", space, "--out", out, JOBS=2)
    assert ended.stdout.startswith("3 settings, at most 30 updates\n")
    assert not without_progress(ended.stderr)
    error = "--moe-k 9 is more than --moe-experts 4: choose from 1 to 4"
    assert f"rung 1: model=bad, seed 1: failed: {error}\n" in ended.stdout
    tried = (out / "tried.md").read_text()
    assert ended.stdout.endswith(tried) and f"\nFailed, 2: {error}\n" in tried
    assert str(tmp_path) not in tried + (out / "tried.jsonl").read_text()

    found = rows(out)
    assert [row.get("error") for row in found] == [None, error, None]
    good = [row for row in found if "error" not in row]
    for row in good:
        log = (out / f"trained/{row['setting']}-1/1.log").read_text()
        assert f'"valid_ppl": "{row["valid_ppl"]:.10g}"' in log and row["updates"] == 10
        assert row["command"].startswith("fairseq-train data --user-dir nmt_moe --seed 1 ")
    best = min(good, key=lambda row: row["valid_ppl"])
    heads, _, first, *_ = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in tried.splitlines()
    ]
    assert heads[:3] == ["setting", "model", "rung"] and first[0] == str(best["setting"])

    # What it trains on lacks the test set, which is there.
    seen = {path.name.partition(".")[0] for path in (out / "data/0").iterdir()}
    assert seen == {"train", "valid", "dict"} and [*data.glob("test.*")]

    times = begun(out)
    again = run("search", space, "--out", out, "--jobs", 2)
    assert begun(out) == times == 3 and (out / "tried.md").read_text() == tried
    assert again.stdout.endswith(tried)
    shown = run("tried", out, "--out", results)
    assert shown.stdout == tried == (results / "tried.md").read_text()
    assert rows(results) == found

    # Settings are numbered by their order: with another one they are those of another search.
    turned = 'model = {dense = "--feed-forward dense", bad = "--moe-k 9", experts = ""}'
    ended = run("search", table(tmp_path, data, turned), "--out", out, code=1)
    assert "is of a search with another space (settings)" in ended.stderr
    assert (out / "tried.md").read_text() == tried
    for damage in ("{}", "3"):
        (out / "tried.jsonl").write_text(damage)
        ended = run("tried", out, code=1)
        assert ended.stderr.endswith("is damaged: the command of the search writes it anew\n")


def test_what_a_user_may_get_wrong(data: Path, tmp_path: Path) -> None:
    space, out = table(tmp_path, data), tmp_path / "out"  # written anew below

    def error(*words: object, **settings: Any) -> str:
        ended = run(*words, code=1, **settings)
        assert len(ended.stderr.splitlines()) == 1, ended.stderr
        return ended.stderr

    assert "JOBS=two is no number of trainings" in error("search", space, "--out", out, JOBS="two")
    assert error("tried", tmp_path).startswith(f"error: {tmp_path} is not the folder of a search")
    said = error("search", table(tmp_path, tmp_path / "none"), "--out", out)
    assert said.startswith("nmt-moe claims search: there is no folder ") and not out.exists()
    said = error("search", table(tmp_path, tmp_path), "--out", tmp_path / "out2")
    assert "has no train set" in said
    said = error("search", table(tmp_path, data, base="--valid-subset test"), "--out", out)
    assert "space.toml: leave out --valid-subset: a search sees the splits train and valid" in said
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken/mine.txt").touch()
    said = error("search", table(tmp_path, data), "--out", tmp_path / "taken")
    assert "holds other files" in said

    (tmp_path / "bad").mkdir()
    (tmp_path / "bad/.lock").touch()  # of one that was stopped at once
    bad = table(tmp_path, data, 'model = {bad = "--moe-k 9"}')
    said = error("search", bad, "--out", tmp_path / "bad")
    assert said.startswith("nmt-moe claims search: all settings of rung 1 failed: ")
    said = error("search", table(tmp_path, data, updates=11), "--out", tmp_path / "bad")
    assert "is of a search with another space (updates, settings): name another folder" in said


@pytest.mark.slow
def test_a_search_killed_stopped_and_continued(data: Path, tmp_path: Path) -> None:
    """By SIGKILL within a training of the second rung, then by Ctrl-C: as if nothing had been."""
    settings, more = "lr = [0.005, 0.01, 0.02]", {"updates": [20, 300, 320]}
    more["base"] = f"{OPTIONS} --dropout 0.2 --save-interval-updates 20 --keep-interval-updates 1"
    space, whole, out = table(tmp_path, data, settings, **more), tmp_path / "1", tmp_path / "2"
    run("search", space, "--out", whole, "--jobs", 2)
    assert len(rows(whole)) == 3 + 1 + 1 == begun(whole)

    running = start("search", space, "--out", out)
    wait_for(running, lambda: [*out.glob("trained/*/2.log")])
    second = next(out.glob("trained/*/2.log"))
    wait_for(running, lambda: '"valid_num_updates": "40"' in second.read_text())
    running.kill()
    running.communicate()
    assert begun(out) == 4 and len(rows(out)) == 3

    running = start("search", space, "--out", out)  # which waits for the end of that training
    wait_for(running, lambda: "Start iterating" in "".join(second.read_text().split(BEGINS)[2:]))
    running.send_signal(signal.SIGINT)
    _, said = running.communicate()
    assert running.returncode == 75
    assert without_progress(said) == [
        "nmt-moe claims search: stopped: the same command goes on from here"
    ]
    assert not of_session(running.pid)

    run("search", space, "--out", out, "--jobs", 2)
    assert rows(out) == rows(whole) and begun(out) == begun(whole) + 2
    texts = [(folder / "tried.md").read_text() for folder in (out, whole)]
    perplexities = [
        [line.split("|")[5] for line in text.splitlines() if line.startswith("|")] for text in texts
    ]
    assert perplexities[0] == perplexities[1]


@pytest.mark.slow
def test_the_terminal_is_closed(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    running = start("search", table(tmp_path, data, "lr = [0.01]", updates=9999), "--out", out)
    wait_for(running, lambda: any("valid_ppl" in log.read_text() for log in out.rglob("1.log")))
    running.send_signal(signal.SIGHUP)
    assert running.communicate(timeout=60)[1].endswith("the same command goes on from here\n")
    assert running.returncode == 75 and not of_session(running.pid)


@pytest.mark.slow
def test_minutes(data: Path, tmp_path: Path) -> None:
    space = table(
        tmp_path, data, "lr = [0.005, 0.02]", base=f"{OPTIONS} --max-update 9999", updates=None
    )
    text = space.read_text().replace("updates = null", "minutes = [0.02, 0.04]")
    space.write_text(text)
    run("search", space, "--out", tmp_path / "out")
    found = rows(tmp_path / "out")
    assert [(row["rung"], row["setting"]) for row in found][:2] == [(1, 1), (1, 2)]
    first, _, last = found
    assert last["rung"] == 2 and 9999 > last["updates"] > first["updates"] > 0
    assert last["command"].endswith("--stop-time-hours 0.000666667")
    assert os.path.exists(tmp_path / "out/trained" / f"{last['setting']}-1/2.log")
