"""``benchmarks/moe_layer.py`` and ``benchmarks/lstm.py``."""

import importlib
import sys

import pytest
import torch

from tests.benchmarks.commands import BENCHMARKS, benchmark
from tests.commands import run

SMALL = ("--rounds", 2, "--threads", 1)


@pytest.fixture
def moe_layer(monkeypatch):
    """The benchmark's module, whose folder is the path of its own imports."""
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
    return importlib.import_module("moe_layer")


def test_a_row_for_each_layer_and_size():
    sizes = ("--tokens", 32, 48, "--experts", 4, 8, "--dim", 16, "--hidden-dim", 32, "--k", 2)
    found = benchmark("moe_layer.py", *SMALL, *sizes)
    names = ["ours", "loop", "grouped_mm", "dense"]
    rows = [[*row[1:3], row[0]] for row in found["rows"]]
    assert rows == [[t, e, name] for t in ("32", "48") for e in ("4", "8") for name in names]
    assert found["machine"]["torch"] == torch.__version__ and found["machine"]["threads"] == 1
    for figure in found["figures"]:
        assert set(figure["seconds"]) == {*names, "product", "copy"}
        assert all(len(seconds) == 2 for seconds in figure["seconds"].values())


def test_the_lstm_against_torchs():
    sizes = ("--width", 16, "--cells", 32, "--steps", 3, "--sentences", 2)
    rows = benchmark("lstm.py", *SMALL, *sizes)["rows"]
    printed = run("python", BENCHMARKS / "lstm.py", *SMALL, *sizes).stdout
    assert "| of matrix peak |" in printed and "| ours " in printed
    assert [row[0] for row in rows] == ["ours", "torch", "plain"]
    ops = [int(row[1].replace(",", "")) for row in rows]
    assert ops[0] == ops[1] == 2 * 4 * 32 * 16 + 32 * 16
    assert abs(ops[2] / ops[0] - 1) < 0.05


def test_what_is_wrong_is_not_timed(moe_layer):
    class Wrong(moe_layer.Ours):
        def forward(self, x_TD):
            return super().forward(x_TD) * 1.001

    class WrongGradient(moe_layer.Ours):
        def forward(self, x_TD):
            y_TD = super().forward(x_TD)
            return y_TD + 0.01 * (x_TD - x_TD.detach())

    for kind in (Wrong, WrongGradient):
        with pytest.raises(SystemExit, match=f"{kind.__name__} is wrong.*not timed"):
            moe_layer.check(kind, "cpu")
    for kind in moe_layer.MIXTURES.values():
        moe_layer.check(kind, "cpu")


def test_turns_rotate(moe_layer):
    harness = sys.modules["harness"]
    order = []
    contenders = {name: lambda name=name: order.append(name) for name in "abc"}
    seconds = harness.take_turns(contenders, 3, "cpu")
    assert order == [*"abc", *"bca", *"cab", *"abc"]
    assert {name: len(found) for name, found in seconds.items()} == dict.fromkeys("abc", 3)
    assert harness.ratios({"a": [2.0, 4.0, 9.0], "b": [1.0, 2.0, 3.0]}, "a", "b").startswith("2.00")
