"""``benchmarks/peak.py``, ``idle.py``, and what ``harness.py`` makes of them."""

import ctypes
import json
import os
import subprocess
import sys
import time
from argparse import Namespace

import pytest
import torch

from nmt_moe.kernels.cpu import bfloat16
from tests.benchmarks.commands import BENCHMARKS, load
from tests.commands import run


@pytest.fixture
def peak(monkeypatch):
    peak = load(monkeypatch, "peak")
    if peak.compiled() is None:
        pytest.skip("no C compiler")
    return peak


@pytest.fixture
def harness(monkeypatch):
    return load(monkeypatch, "harness")


def test_every_multiply_add_that_is_counted_is_done(peak):
    """By the sums: each starts elsewhere, and all of them come back as one number."""
    library, rounds = peak.compiled(), 10
    counted = {dtype: getattr(library, f"in_{dtype}")() for dtype in peak.DTYPES}
    # Each of the sums tends to 0.001 / (1 - 0.999): their number times the lanes were counted.
    sums = round(library.fma_float32(100_000))
    lanes, rest = divmod(counted["float32"], 2 * sums)
    assert sums in (12, 16) and lanes in (4, 8, 16) and rest == 0
    if bfloat16.instructions() == bfloat16.AMX:  # 1 * 1 each
        assert library.fma_bfloat16(rounds) == counted["bfloat16"] / 2 * rounds
    elif counted["bfloat16"]:  # 0.5 * 0.5 + -0.5 * -0.5 for each lane of 32 bits
        assert counted["bfloat16"] == 2 * sums * 32
        assert library.fma_bfloat16(rounds) == sums * rounds / 2 + sum(range(sums))
    if counted["int8"]:  # four times 1 * 1
        assert counted["int8"] == 4 * counted["float32"]
        expected = sum(rounds + number + 4 * rounds for number in range(sums))
        assert library.fma_int8(rounds) == expected


def test_memory_is_read_and_copied(peak):
    library = peak.compiled()
    x, y = torch.randint(256, (2, 4096), dtype=torch.uint8)
    library.copy_memory(y.data_ptr(), x.data_ptr(), 4000)
    assert torch.equal(x[:4000], y[:4000]) and not torch.equal(x, y)
    words = x.view(torch.int64)
    every = {64: 8, 32: 4, 16: 2}  # bytes of a vector: words
    expected = []
    for step in every.values():
        found = 0
        for word in words[::step].tolist():
            found ^= word
        expected.append(float(found))
    assert library.read_memory(x.data_ptr(), 4096) in expected


def test_threads_multiply_the_work(peak, monkeypatch):
    monkeypatch.setattr(peak, "SECONDS", 1e-4)
    ran = []
    monkeypatch.setattr(peak, "at_once", lambda calls: ran.append(len(calls)))
    bound = peak.multiply_adds("float32", 3, tries=2)
    bound()
    assert ran == [3, 3] and len(bound.seconds) == 2
    assert bound.amount % (3 * peak.compiled().in_float32()) == 0
    bound.seconds = [0.5, 0.25]
    assert bound.rate == 4 * bound.amount
    assert peak.multiply_adds("float64", 1) is None


def test_without_a_compiler_peaks_are_unknown(harness, monkeypatch, capfd):
    monkeypatch.setenv("CC", "no-such-compiler")
    harness.multiply_adds.__globals__["compiled"].cache_clear()
    try:
        args = Namespace(dtype="float32", device="cpu", quick=True)
        limits = harness.Limits(args, "int8")
        assert list(limits.turns) == ["product", "copy"]
        harness.take_turns({}, 1, "cpu", limits)
        assert limits.shares(limits.product.rate / 2) == ["unknown", "50%"]
        [line] = capfd.readouterr().err.splitlines()
        assert line.startswith("peaks are unknown") and "no-such-compiler" in line
    finally:
        harness.multiply_adds.__globals__["compiled"].cache_clear()


def test_shares_and_roofline(harness, monkeypatch):
    args = Namespace(dtype="float32", device="cpu", quick=True)
    limits = harness.Limits(args)

    class Fixed:
        def __init__(self, rate):
            self.rate = rate

    limits.fma = {"float32": Fixed(100.0), "int8": Fixed(400.0)}
    limits.product, limits.memory = Fixed(50.0), {"copy": Fixed(10.0)}
    assert limits.shares(25.0) == ["25%", "50%"]
    assert limits.shares(25.0, "int8") == ["6%", "50%"]
    assert limits.roofline(200.0, 5.0) == 2.0 and limits.roofline(200.0, 50.0) == 5.0


def test_too_few_rounds_are_refused():
    command = [sys.executable, BENCHMARKS / "lstm.py", "--rounds", "4"]
    found = subprocess.run(command, capture_output=True, text=True)
    assert found.returncode and "--rounds 4 says little: give 5 or more" in found.stderr


def test_a_table_says_where_it_was_measured_and_whether_that_was_idle(tmp_path):
    out = tmp_path / "lstm.json"
    printed = run("python", BENCHMARKS / "lstm.py", "--quick", "--out", out).stdout
    found = json.loads(out.read_text())
    assert found["machine"]["cores"] == len(os.sched_getaffinity(0))
    assert f"cores {found['machine']['cores']}, threads " in printed
    assert found["idle"] in (True, False) and found["idle"] == (not found["watch"]["why"])
    assert found["rounds"] == 2
    assert found["watch"]["copies"]["slowest"] >= found["watch"]["copies"]["median"] >= 1
    for limit in found["limits"].values():
        assert limit["rate"] > 0 and min(limit["seconds"]) > 0


def test_what_others_took_is_not_idle(monkeypatch):
    idle = load(monkeypatch, "idle")
    moments = iter([(0.0, 5.0, 1.0), (1.0, 5.5, 1.45), (1.0, 6.0, 2.0), (5.0, 11.0, 3.0)])
    monkeypatch.setattr(idle, "_now", lambda: next(moments))
    found = idle.Watch(0).found([1.0, 2.0, 1.5])
    assert found["before"] == pytest.approx(0.05) and found["during"] == pytest.approx(1.0)
    assert not found["idle"] and found["copies"] == {"median": 1.5, "slowest": 2.0}
    assert "others took 1.0 of " in found["why"] and "copies took 1.5 times" in found["why"]

    monkeypatch.setattr(idle, "_now", lambda: (time.monotonic(), 0.0, 0.0))
    found = idle.Watch(0).found([1.0, 1.1, 1.1, 9.0])
    assert found["idle"] and not found["why"]


def test_own_work_is_not_that_of_others(monkeypatch):
    idle = load(monkeypatch, "idle")
    work = "import time\nwhile time.process_time() < 0.3: pass\nprint(flush=True)\ninput()"
    before = idle._own()
    with subprocess.Popen(
        [sys.executable, "-c", work], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        child.stdout.readline()
        assert idle._own() - before > 0.25  # while it lives
        child.communicate(b"\n")
    assert idle._own() - before > 0.25  # and when it has ended


def test_the_source_names_what_python_calls(peak):
    assert isinstance(peak.compiled(), ctypes.CDLL)
    assert peak.multiplies("float32")
