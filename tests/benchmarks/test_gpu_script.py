"""``benchmarks/gpu.sh`` in miniature, on a CPU, and what prepares its folder."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.benchmarks.commands import BENCHMARKS, load

ROOT = BENCHMARKS.parent
SCRIPT = [str(BENCHMARKS / "gpu.sh"), "--miniature"]
FEW = ["ceilings", "collectives", "updates-16k"]


@pytest.fixture
def gpu(monkeypatch):
    return load(monkeypatch, "gpu")


@pytest.fixture
def prepare(monkeypatch):
    return load(monkeypatch, "gpu_prepare")


@pytest.fixture
def install(monkeypatch):
    return load(monkeypatch, "gpu_install")


def prepared(folder: Path, text: Path) -> Path:
    """A folder that compares with the last commit, and has one small wheel."""
    if subprocess.run(["git", "-C", ROOT, "rev-parse", "HEAD"], capture_output=True).returncode:
        pytest.skip("no git, or no clone")
    made = folder / "prepared"
    options = ["--without-wheels", "--before", "HEAD", "--text", str(text), str(made)]
    subprocess.run([sys.executable, BENCHMARKS / "gpu_prepare.py", *options], check=True)
    wheel(made / "wheels")
    sums(made)
    return made


def wheel(folder: Path) -> Path:
    """A package that nobody has."""
    path = folder / "only_here-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("only_here.py", "HERE = True\n")
        about = "only_here-1.0.dist-info"
        archive.writestr(
            f"{about}/METADATA", "Metadata-Version: 2.1\nName: only-here\nVersion: 1\n"
        )
        archive.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr(f"{about}/RECORD", "")
    return path


def sums(folder: Path) -> None:
    """Write the checksums of all that is in it."""
    paths = [p for p in sorted(folder.rglob("*")) if p.is_file() and p.name != "SHA256SUMS"]
    lines = [
        f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.relative_to(folder)}" for p in paths
    ]
    (folder / "SHA256SUMS").write_text("\n".join(lines) + "\n")


def environment(folder: Path) -> dict[str, str]:
    own = {"PYTHON": sys.executable, "GPU_SITE": str(folder / "site"), "OMP_NUM_THREADS": "1"}
    return os.environ | own | {"CUDA_VISIBLE_DEVICES": ""}


def start(folder: Path, made: Path, steps: list[str]) -> subprocess.Popen:
    words = [*SCRIPT, "--limit", "3000", "--only", ",".join(steps), str(made), str(folder / "out")]
    return subprocess.Popen(
        words,
        env=environment(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def results(folder: Path) -> dict[str, Any]:
    """The files of the steps."""
    files = [p for p in (folder / "out").glob("*.json") if p.name != "summary.json"]
    return {path.stem: json.loads(path.read_text()) for path in files}


def running(folder: Path) -> list[str]:
    """Processes that write into the folder."""
    said = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout
    return [line for line in said.splitlines() if str(folder / "out") in line]


@pytest.mark.slow
def test_it_is_killed_and_run_again_and_a_step_fails(tmp_path, data):
    made = prepared(tmp_path, data)
    archive = made / "HEAD.tar.gz"
    right = archive.read_bytes()
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(BENCHMARKS / "gpu.sh", "README.md")
    sums(made)

    killed = start(tmp_path, made, FEW)
    assert killed.stdout
    for line in killed.stdout:
        if "== updates-16k" in line:
            break
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    until = time.monotonic() + 20
    while running(tmp_path) and time.monotonic() < until:
        time.sleep(0.1)
    assert running(tmp_path) == []
    found = results(tmp_path)
    assert set(found) == {"ceilings", "collectives"} and found["ceilings"]["step"]["ok"]
    assert (tmp_path / "site" / "only_here.py").exists()

    failed = start(tmp_path, made, FEW)
    said, _ = failed.communicate()
    assert failed.returncode == 1 and "== ceilings: done before" in said
    step = results(tmp_path)["updates-16k"]["step"]
    assert not step["ok"] and step["why"] == "ended with 1"
    assert "no benchmarks/contenders.py" in step["last_lines"][-1]
    assert results(tmp_path)["collectives"]["step"]["ok"]

    archive.write_bytes(right)
    sums(made)
    again = start(tmp_path, made, FEW)
    said, _ = again.communicate()
    assert again.returncode == 0, said
    assert "installed 0 packages" in said and said.count("done before") == 2
    updates = results(tmp_path)["updates-16k"]
    assert {row[0] for row in updates["rows"]} == {
        *("before", "now", "before, dense twin", "now, dense twin")
    }
    losses = {n: [u["loss"] for u in said] for n, said in updates["figures"]["updates"].items()}
    assert losses["before"] == pytest.approx(losses["now"], rel=0.02)
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert len(summary["steps"]) == 3 and all(line.endswith("  ok") for line in summary["steps"])


@pytest.fixture
def ran(tmp_path, data):
    """The results of steps that all must succeed."""

    def run(steps: list[str]) -> dict[str, Any]:
        began = start(tmp_path, prepared(tmp_path, data), steps)
        said, _ = began.communicate()
        assert began.returncode == 0, said
        found = results(tmp_path)
        assert set(found) == set(steps)
        for name, content in found.items():
            assert content["step"]["ok"] and content["step"]["seconds"] > 0, name
            assert content["rows"] and len(content["rows"][0]) == len(content["heads"]), name
            assert {"device", "date", "commit", "torch"} <= content["machine"].keys()
        return found

    return run


@pytest.mark.slow
def test_checks_run(ran):
    found = ran(["precision", "kernels", "parts", "waits", "layer-32"])
    tests = found["kernels"]["rows"]
    assert sum(int(row[1]) for row in tests) > 0 and {row[3] for row in tests} == {"0"}
    parts = {row[0] for row in found["parts"]["rows"]}
    assert {"LSTM layers", "decoder layer 1", "feed-forward layers", "loss", "optimizer"} <= parts


@pytest.mark.slow
def test_trainings_and_the_search_run(ran):
    found = ran(["search", "large", "text-moe", "text-dense"])
    losses = found["large"]["figures"]["losses"]
    assert sum(losses[-10:]) < sum(losses[:10])
    for model in ("moe", "dense"):
        valid = found[f"text-{model}"]["figures"]["valid"]
        assert valid[-1][0] == 15 and valid[-1][2] < valid[0][2]


def test_a_step_that_takes_too_long_is_stopped(gpu, tmp_path):
    step = gpu.Step("late", 1, ["ceilings"])
    ended = gpu.run(step, tmp_path, "cpu", False, 100)
    assert not ended["ok"] and ended["why"] == "ran out of time, 1 s"
    assert json.loads((tmp_path / "late.json").read_text()) == {"step": ended}
    assert gpu.done(tmp_path, step) is None and ended["seconds"] < 30


def test_what_would_not_fit_is_left_for_the_next_run(gpu, tmp_path, monkeypatch, capsys):
    (tmp_path / "prepared.json").write_text(
        json.dumps({"before": "x.tar.gz", "commit": "abc", "checksum": ""})
    )
    monkeypatch.setattr(sys, "argv", ["gpu.py", str(tmp_path), str(tmp_path / "out"), "--limit=1"])
    assert gpu.main() == 1
    said = capsys.readouterr().out
    assert "ceilings: left out" in said and "no time was left" in said
    assert "text-moe" not in said  # there is none
    assert results(tmp_path) == {}


def test_a_copy_without_git_has_the_commit_that_it_was_prepared_at(gpu, tmp_path):
    for sum_, commit in ((gpu.checksum(ROOT), "abc"), ("other", "abc+")):
        (tmp_path / "one.json").write_text(json.dumps({"machine": {"commit": ""}}))
        gpu.note_commit(tmp_path, ["one"], {"commit": "abc", "checksum": sum_})
        found = json.loads((tmp_path / "one.json").read_text())
        assert found["machine"]["commit"] == commit


def test_only_what_is_missing_is_installed(install, tmp_path):
    mine = wheel(tmp_path)
    there = tmp_path / "PyTest-1.0-py3-none-any.whl"
    assert install.missing([mine, there]) == [mine]


def test_a_damaged_folder_is_refused(install, tmp_path):
    with pytest.raises(SystemExit, match="has no SHA256SUMS.*gpu_prepare"):
        install.check(tmp_path)
    (tmp_path / "one").write_text("1")
    sums(tmp_path)
    install.check(tmp_path)
    (tmp_path / "one").write_text("2")
    with pytest.raises(SystemExit, match="one is missing or damaged"):
        install.check(tmp_path)


def test_all_that_is_needed_is_locked(prepare):
    names = prepare.needed({"numpy"}, "3.12")
    assert {"fairseq-fixed", "hydra-core", "omegaconf", "sacrebleu", "pytest"} <= names
    assert not names & {"torch", "numpy", "nmt-moe", "plotly", "triton"}
    found = prepare.locked(names)
    assert names - set(found) <= {"setuptools"}
    assert all("--hash=sha256:" in lines and "==" in lines for lines in found.values())


def test_a_folder_that_is_too_large_is_refused(prepare, tmp_path, monkeypatch, data):
    monkeypatch.setattr(prepare, "git", lambda *words: "abc")  # of what git says nothing is asked
    made = tmp_path / "made"
    words = ["--without-wheels", "--text", str(data), "--most", "0.001", str(made)]
    monkeypatch.setattr(sys, "argv", ["gpu_prepare.py", *words])
    with pytest.raises(SystemExit, match=r"(?s)more than 0 MiB.*train\.a-b.*--has"):
        prepare.main()
    assert not made.exists()
    words[2] = str(tmp_path)
    monkeypatch.setattr(sys, "argv", ["gpu_prepare.py", *words])
    with pytest.raises(SystemExit, match="has no text of fairseq-preprocess"):
        prepare.main()


def test_what_backward_runs_belongs_to_the_part_of_its_forward(monkeypatch):
    parts = load(monkeypatch, "parts")

    class One(nn.Module):
        def forward(self, x):
            return x.sin()

    class Two(nn.Module):
        def forward(self, x):
            return x.exp() + 1

    one, two = One(), Two()
    parts.mark(one, "forward", "one")
    parts.mark(two, "forward", "two")
    x = torch.ones(3, requires_grad=True)
    with torch.profiler.profile() as profiler:
        two(one(x.tan())).sum().backward()
    events = profiler.events()
    forward = {
        e.sequence_nr: e
        for e in sorted(events, key=lambda e: e.time_range.start)
        if e.sequence_nr >= 0 and not parts._in_gradient(e)
    }
    found = {e.name: parts._part(e, forward) for e in events}
    wanted = {"SinBackward0": "one", "ExpBackward0": "two", "TanBackward0": parts.REST}
    assert wanted.items() <= found.items()
    found = parts.parts_of(events)
    assert set(found) == {"one", "two", parts.REST}
    assert all(part["host"] > 0 for part in found.values())


def test_kernels_and_the_gaps_between_them(monkeypatch):
    parts = load(monkeypatch, "parts")

    def event(name: str, start: float, end: float, device: str = "CUDA"):
        kind = getattr(torch.autograd.DeviceType, device)
        return parts.FunctionEvent(1, name, 1, start, end, device_type=kind, use_device="cuda")

    mark, op = event("part: one", 0, 50, "CPU"), event("aten::mm", 10, 30, "CPU")
    mark.append_cpu_child(op)
    op.set_cpu_parent(mark)
    mark.append_kernel("part: one", 0, 900)  # the range as the GPU has it
    op.append_kernel("product", 0, 300)
    op.append_kernel("product", 0, 200)
    kernels = [event("product", 100, 400), event("product", 600, 800), event("fill", 700, 900)]
    events = [mark, op, *kernels, event("part: one", 0, 1000)]
    found = parts.parts_of(events)
    assert found["one"] == {"device": pytest.approx(5e-4), "host": 50e-6, "kernels": 2}
    assert parts.busy(events) == (pytest.approx(8e-4), pytest.approx(6e-4))
    assert parts.largest(events) == [["product", 2, pytest.approx(5e-4)]]
    assert parts.busy([mark, op]) == (0, 0)


def test_a_gpu_has_five_rounds_before_those_that_count(monkeypatch):
    harness = load(monkeypatch, "harness")
    seconds = iter(range(100))
    found = harness.take_turns({"a": lambda: next(seconds)}, 3, "cuda", clock=lambda call: call())
    assert found == {"a": [5, 6, 7]}
    monkeypatch.setattr(harness, "Watch", lambda *_: None)
    for words, rounds in (([], 9), (["--device", "cuda"], 20), (["--rounds", "6"], 6)):
        args = harness.parser("").parse_args(words)
        harness.start(args)
        assert args.rounds == rounds


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_is_wrong_as_it_is_timed_is_not_timed(monkeypatch, dtype):
    mixtures, layers = load(monkeypatch, "mixtures"), load(monkeypatch, "dense_layers")

    class WrongGradient(mixtures.Ours):
        def forward(self, x_TD):
            y_TD = super().forward(x_TD)
            return y_TD + 0.1 * (x_TD - x_TD.detach())

    torch.manual_seed(1)
    moe = mixtures.MixtureOfExperts(16, 32, 8, 2).to(dtype)
    nn.init.normal_(moe.gate.w_gate)
    x_TD = torch.randn(60, 16, dtype=dtype)
    with pytest.raises(SystemExit, match="dx of WrongGradient is wrong.*60 tokens, 8 experts"):
        mixtures.check_as_timed(WrongGradient, moe, x_TD)
    for name, kind in mixtures.MIXTURES.items():
        if name != "loop":
            mixtures.check_as_timed(kind, moe, x_TD)

    dense = layers.Dense(
        nn.Linear(16, 64, bias=False), nn.ReLU(), nn.Linear(64, 16, bias=False)
    ).to(dtype)
    layers.check_fused(dense, x_TD)
    monkeypatch.setattr(layers.Fused, "forward", lambda self, x: self.last(self.first(x)))
    with pytest.raises(SystemExit, match="fused is wrong"):
        layers.check_fused(dense, x_TD)
