"""The stages of the recipes: what is out of date is told by what it was made of, not by times."""

import io
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import redirect_stdout
from itertools import count
from pathlib import Path

import pytest

from nmt_moe.runs import commands
from nmt_moe.runs.folder import Run, cksum
from tests.commands import run
from tests.recipes import ROOT, environment, error, headings

# A recipe whose stages take no time; the environment can let one of them wait or fail.
RECIPE = """
source "{common}"
parse_options "$@"
made() {{ # made STAGE INPUT: what the stage makes, of what the one before has made
    [[ ${{WAIT-}} != "$1" ]] || {{ touch "$RUN_DIR/waits" && sleep 60; }}
    cat "$RUN_DIR/$2" >"$RUN_DIR/$1/made"
    echo "$1 $$" >>"$RUN_DIR/$1/made"
}}
learn() {{
    local out=$RUN_DIR/$1
    [[ -f $out/checkpoint_last.pt ]] || echo "update 0 $$" >"$out/checkpoint_last.pt"
    made "$@"
    cp "$out/checkpoint_last.pt" "$out/checkpoint_best.pt"
}}
export -f made learn
open_run "seed=${{SEED:-1}}"
stage corpus made corpus settings
stage binary --after corpus made binary corpus/made
stage training --after binary learn training binary/made
for name in translation examples; do stage "$name" --after training made "$name" training/made; done
"""
STAGES = ["corpus", "binary", "training", "translation", "examples"]
BEST = "training/checkpoint_best.pt"


def done(number: int = len(STAGES)) -> list[str]:
    """What is printed where so many stages were done before."""
    return [f"{name}: done" for name in STAGES[:number]] + STAGES[number:]


@pytest.fixture
def recipe(tmp_path: Path):
    """The recipe as a user runs it."""
    script = tmp_path / "recipe.sh"
    script.write_text(RECIPE.format(common=ROOT / "recipes/common.sh"))

    def run(folder: Path, *arguments: str, **settings: object):
        return subprocess.run(
            ["bash", str(script), *arguments],
            env=environment(RUN_DIR=folder, **settings),
            capture_output=True,
            encoding="utf-8",
            stdin=subprocess.DEVNULL,
            timeout=60,
        )

    return run


@pytest.fixture
def stages():
    """The same stages without bash, which the recipe's Python takes care of."""
    numbers = count()

    def run(folder: Path, seed: int = 1) -> str:
        def made(stage: Path, source: str) -> None:
            text = (folder / source).read_text()
            (stage / "made").write_text(f"{text}{stage.name} {next(numbers)}\n")

        def learn(stage: Path) -> None:
            last = stage / "checkpoint_last.pt"
            if not last.exists():
                last.write_text(f"update 0 {next(numbers)}\n")
            made(stage, "binary/made")
            shutil.copy(last, stage / "checkpoint_best.pt")

        run, said = Run(folder, "recipe"), io.StringIO()
        with redirect_stdout(said):
            run.open([f"seed={seed}", "extra="])
            run.stage("corpus", lambda stage: made(stage, "settings"))
            run.stage("binary", lambda stage: made(stage, "corpus/made"), "corpus")
            run.stage("training", learn, "binary")
            for name in ("translation", "examples"):
                run.stage(name, lambda stage: made(stage, "training/made"), "training")
        return said.getvalue()

    return run


@pytest.fixture
def finished(stages, tmp_path: Path) -> Path:
    """The folder of a run that is done."""
    folder = tmp_path / "a run"
    assert headings(stages(folder)) == STAGES
    return folder


def contents(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("made")}


COPIES = {
    "cp -r": ["cp", "-r", "a run", "other"],
    "cp -a": ["cp", "-a", "a run", "other"],
    "tar": ["bash", "-c", "mkdir other; tar -C 'a run' -c . | tar -C other -x -m"],
    "mv": ["mv", "a run", "other"],
}


@pytest.mark.parametrize("way", COPIES)
def test_a_copy_of_a_run(way: str, stages, finished: Path, tally) -> None:
    before = contents(finished)
    subprocess.run(COPIES[way], cwd=finished.parent, check=True)
    other = finished.parent / "other"
    for _ in range(2):
        assert headings(stages(other)) == done()
        lost = contents(other) != before or not (other / BEST).exists()
        tally(faults=1, losses=int(lost))


@pytest.mark.parametrize("newest_first", [True, False])
def test_times_say_nothing(newest_first: bool, stages, finished: Path) -> None:
    """As of a checkout, a restored backup, a clock that was changed: also in the future."""
    markers = [finished / "settings"]
    markers += [finished / name / end for name in STAGES for end in (".started", ".done")]
    for number, path in enumerate(reversed(markers) if newest_first else markers):
        os.utime(path, (1e9 + number, 1e9 + number))
    os.utime(finished / "binary/.done", (4e9, 4e9))
    assert headings(stages(finished)) == done()


@pytest.mark.parametrize("first", range(len(STAGES)))
def test_a_removed_stage_is_repeated_with_all_after_it(first: int, stages, finished, tally) -> None:
    trained = (finished / BEST).read_text()
    shutil.rmtree(finished / STAGES[first])
    again = stages(finished)
    # The last two do not need each other.
    after = STAGES[first:] if first < 3 else STAGES[first : first + 1]
    assert headings(again) == [name if name in after else f"{name}: done" for name in STAGES], again
    kept = finished / "training.old/checkpoint_best.pt"
    if first < 2:  # the training was of another corpus
        assert f"it was kept as {finished}/training.old" in again
    assert kept.exists() == (first < 2)
    lost = first != 2 and trained not in {p.read_text() for p in finished.glob("*/*best.pt")}
    tally(faults=1, losses=int(lost))
    assert headings(stages(finished)) == done()
    if first < 2:
        shutil.rmtree(finished / STAGES[first])
        stages(finished)
        assert kept.read_text() == trained and (finished / "training.old2" / kept.name).exists()


@pytest.mark.slow
@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_stage_goes_on(by: signal.Signals, recipe, tmp_path: Path, tally) -> None:
    folder = tmp_path / "run"
    started = subprocess.Popen(
        ["bash", str(tmp_path / "recipe.sh")],
        env=environment(fresh=True, RUN_DIR=folder, WAIT="training"),
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    until = time.monotonic() + 60
    while not (folder / "waits").exists() and time.monotonic() < until:
        time.sleep(0.02)
    os.killpg(started.pid, by)
    started.wait()
    while by == signal.SIGTERM and not (folder / "training/.seconds").exists():
        assert time.monotonic() < until, "the seconds of a stage that was ended are not noted"
    last = (folder / "training/checkpoint_last.pt").read_text()
    shutil.copytree(folder, tmp_path / "copy", copy_function=shutil.copyfile)  # killed, and copied
    for copy in (folder, tmp_path / "copy"):
        again = recipe(copy)
        assert headings(again.stdout) == done(2), again
        lost = (copy / "training/checkpoint_last.pt").read_text() != last
        tally(faults=1, losses=int(lost))


SAVES = """
import pathlib, signal, sys, time
run = pathlib.Path(sys.argv[1])
def save(*_):
    time.sleep(0.5)
    (run / "saved").touch()
    sys.exit(75)
signal.signal(signal.SIGTERM, save)
(run / "waits").touch()
time.sleep(60)
"""


@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGTERM])
def test_what_a_recipe_started_saves_when_the_recipe_alone_is_killed(
    by: signal.Signals, tmp_path: Path, tally
) -> None:
    script, folder = tmp_path / "recipe.sh", tmp_path / "run"
    script.write_text(
        f'source "{ROOT}/recipes/common.sh"\nopen_run\n'
        'stage training python -c "$SAVES" "$RUN_DIR"\ntouch "$RUN_DIR/goes on"\n'
    )
    with subprocess.Popen(
        ["bash", str(script)],
        env=environment(fresh=True, RUN_DIR=folder, SAVES=SAVES),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    ) as started:
        until = time.monotonic() + 60
        while not (folder / "waits").exists() and time.monotonic() < until:
            time.sleep(0.02)
        started.send_signal(by)
        said = started.communicate(timeout=60)[1]  # all of them have ended
    assert started.returncode == (75 if by == signal.SIGTERM else -by)
    assert "stopped in stage training; the same command continues there" in said
    assert (folder / "saved").exists() and not (folder / "goes on").exists()
    tally(faults=1)


def test_a_stage_of_another_run(stages, finished: Path) -> None:
    """As where only some folders were copied: it is not of this run's data."""
    other = finished.parent / "other"
    stages(other, seed=2)
    shutil.rmtree(finished / "binary")
    shutil.copytree(other / "binary", finished / "binary")
    again = stages(finished)
    assert headings(again) == done(1)
    assert (finished / "training.old" / "checkpoint_best.pt").exists()


def old(folder: Path) -> None:
    """Make it a run of a version that compared times."""
    for marker in (*folder.glob("*/.done"), *folder.glob("*/.started")):
        marker.write_text("")


def test_the_checksum_of_the_settings_is_that_of_runs_made_in_bash(tmp_path: Path) -> None:
    for data in (b"", b"seed=1\nextra=\n", bytes(range(256)) * 300):
        found = subprocess.run(["cksum"], input=data, capture_output=True, check=True).stdout
        assert cksum(data) == found.decode().strip()


def test_runs_of_versions_that_compared_times(stages, finished: Path, tally) -> None:
    old(finished)
    before = contents(finished)
    for _ in range(2):
        assert headings(stages(finished)) == done()
    tally(faults=1, losses=int(contents(finished) != before))
    shutil.rmtree(finished / "binary")
    assert headings(stages(finished)) == done(1)
    assert (finished / "training.old" / "checkpoint_best.pt").exists()
    assert headings(stages(finished)) == done()
    # Killed by the old version within a stage; the new one goes on, and all after it is repeated.
    old(finished)
    (finished / "training/.done").unlink()
    last = (finished / "training/checkpoint_last.pt").read_text()
    assert headings(stages(finished)) == done(2)
    assert (finished / "training/checkpoint_last.pt").read_text() == last


def test_clean_and_other_settings(recipe, finished: Path) -> None:
    assert "seed=1, now it is seed=2" in error(recipe(finished, SEED=2))
    assert headings(recipe(finished).stdout) == done()
    assert headings(recipe(finished, "--clean", SEED=2).stdout) == STAGES
    assert not list(finished.glob("*.old"))


def test_another_machine_waits_for_what_is_out_of_date(recipe, finished: Path) -> None:
    """Machine 1 must not take what machine 0 is about to repeat for done."""
    shutil.rmtree(finished / "corpus")
    other = subprocess.Popen(
        ["bash", str(finished.parent / "recipe.sh")],
        env=environment(RUN_DIR=finished, NODES=2, NODE_RANK=1),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
    )
    time.sleep(0.5)
    assert other.poll() is None
    assert recipe(finished, NODES=2, NODE_RANK=0).returncode == 0
    said = other.communicate(timeout=60)[0]
    assert other.returncode == 0, said


def test_another_machine_waits_until_the_run_is_opened(tmp_path: Path, capfd) -> None:
    """Of machines that start together, the second may meet what the first is about to write."""
    (tmp_path / "settings.draft").write_text("see")
    second = threading.Thread(target=Run(tmp_path, "recipe", node=1).open, args=[["seed=1"]])
    second.start()
    time.sleep(0.2)
    assert second.is_alive()
    (tmp_path / "settings.draft").unlink()
    Run(tmp_path, "recipe").open(["seed=1"])
    second.join(timeout=10)
    assert not second.is_alive()
    assert capfd.readouterr().out == "recipe: waiting until machine 0 opens the run\n"


def test_a_file_of_a_recipe_is_whole_or_as_it_was(tmp_path: Path) -> None:
    script = f'source "{ROOT}/recipes/common.sh"; step into "$1" bash -c "$2"'
    path = tmp_path / "table.md"

    def into(command: str) -> int:
        words = ["bash", "-c", script, "recipe", path, command]
        return subprocess.run(words, env=environment(RUN_DIR=tmp_path)).returncode

    assert into("echo old") == 0
    assert into("echo half; exit 3") != 0
    assert path.read_text() == "old\n" and os.listdir(tmp_path) == ["table.md"]


def test_a_second_signal_does_not_end_what_follows_the_first(tmp_path: Path) -> None:
    program = """
import os, signal, sys
from pathlib import Path
from nmt_moe.runs.commands import exit_code
def work():
    try:
        os.kill(os.getpid(), signal.SIGTERM)
    finally:
        os.kill(os.getpid(), signal.SIGTERM)
        Path("noted").touch()
sys.exit(exit_code("test", work))
"""
    assert run("python", "-c", program, cwd=tmp_path, fails=True).code == 143
    assert (tmp_path / "noted").exists()


def test_programs_are_those_beside_this_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where its environment is not activated, and another Python comes first."""
    other = tmp_path / "python"
    other.write_text("#!/bin/sh\necho another\n")
    other.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    commands.written(tmp_path / "its", ["python", "-c", "import sys; print(sys.prefix)"])
    assert (tmp_path / "its").read_text() == f"{sys.prefix}\n"
