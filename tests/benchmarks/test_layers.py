"""``benchmarks/moe_layer.py`` and ``benchmarks/lstm.py``."""

import pytest
import torch

from tests.benchmarks.commands import BENCHMARKS, benchmark, load
from tests.commands import run

SMALL = ("--quick", "--threads", 1)


@pytest.fixture
def moe_layer(monkeypatch):
    return load(monkeypatch, "moe_layer")


def test_a_row_for_each_layer_and_size(moe_layer):
    others = list(moe_layer.PEERS)
    more = ("--leave-out", *others) if others else ()
    found = benchmark("moe_layer.py", *SMALL, *more)
    names = [*moe_layer.MIXTURES, "dense"]
    assert names[:2] == ["ours", "loop"]
    rows = [[*row[1:3], row[0]] for row in found["rows"]]
    assert rows == [[t, e, name] for t in ("32", "48") for e in ("4", "8") for name in names]
    assert found["machine"]["torch"] == torch.__version__ and found["machine"]["threads"] == 1
    for figure in found["figures"]:
        forward = {f"{name}, forward" for name in names}
        assert set(figure["seconds"]) == {*names, *forward}
        assert all(len(seconds) == 2 for seconds in figure["seconds"].values())
        assert set(figure["times_dense"]) == {*names} - {"dense"}


def test_the_lstm_against_torchs():
    rows = benchmark("lstm.py", *SMALL)["rows"]
    printed = run("python", BENCHMARKS / "lstm.py", *SMALL).stdout
    assert "| of FMA peak | of torch.mm |" in printed and "| ours " in printed
    assert [row[0] for row in rows] == ["ours", "torch", "plain"]
    ops = [int(row[1].replace(",", "")) for row in rows]
    assert ops[0] == ops[1] == 2 * 4 * 32 * 16 + 32 * 16
    assert abs(ops[2] / ops[0] - 1) < 0.05


def test_what_is_wrong_is_not_timed(monkeypatch):
    mixtures = load(monkeypatch, "mixtures")

    class Wrong(mixtures.Ours):
        def forward(self, x_TD):
            return super().forward(x_TD) * 1.001

    class WrongGradient(mixtures.Ours):
        def forward(self, x_TD):
            y_TD = super().forward(x_TD)
            return y_TD + 0.01 * (x_TD - x_TD.detach())

    for kind in (Wrong, WrongGradient):
        with pytest.raises(SystemExit, match=f"{kind.__name__} is wrong.*not timed"):
            mixtures.check(kind, "cpu")
    for kind in mixtures.MIXTURES.values():
        mixtures.check(kind, "cpu")


def test_another_package_is_checked_with_the_gates_that_it_chose(monkeypatch):
    peers = load(monkeypatch, "peers")

    class Dense(peers.Peer):
        """All experts for all tokens, with even gates."""

        off = 1.0

        def __init__(self, dim, hidden_dim, experts, k):
            super().__init__()
            made = [peers.feed_forward(dim, hidden_dim) for _ in range(experts)]
            self.experts = torch.nn.ModuleList(made)

        def forward(self, x_TD):
            count = len(self.experts)
            self.gates_TE = lambda: x_TD.new_full((len(x_TD), count), 1 / count)
            return self.off * sum(expert(x_TD) for expert in self.experts) / count

        def expert(self, number):
            return peers.run_linear(self.experts[number])

    class Wrong(Dense):
        off = 1.001

    peers.check(Dense, "cpu")
    with pytest.raises(SystemExit, match="Wrong is wrong.*not timed"):
        peers.check(Wrong, "cpu")


def test_layers_that_mix_types_run_under_autocast(monkeypatch):
    peers = load(monkeypatch, "peers")

    class Mixed(torch.nn.Linear):
        def forward(self, x_TD):
            return super().forward(x_TD.float())

    for kind, wrapped in ((torch.nn.Linear, False), (Mixed, True)):
        layer = kind(8, 8).to(torch.bfloat16)
        x_TD = torch.randn(4, 8, dtype=torch.bfloat16, requires_grad=True)
        found = peers.suited(layer, x_TD)
        assert isinstance(found, peers.Autocast) == wrapped
        y_TD = found(x_TD)
        assert y_TD.dtype == torch.bfloat16 and x_TD.grad is None and layer.weight.grad is None
        assert torch.equal(y_TD, torch.nn.functional.linear(x_TD, layer.weight, layer.bias))
        assert peers.suited(kind(8, 8), x_TD.float()).__class__ is kind


@pytest.mark.slow
def test_all_layers_get_bfloat16(moe_layer):
    found = benchmark("moe_layer.py", *SMALL, "--dtype", "bfloat16")
    names = {row[0] for row in found["rows"]}
    assert names == {*moe_layer.MIXTURES, "dense", *moe_layer.PEERS} - {"davidmrau"}
    assert "bfloat16" in found["title"]


@pytest.mark.slow
def test_the_other_packages_that_are_installed_are_right(monkeypatch):
    peers = load(monkeypatch, "peers")
    if not peers.PEERS:
        pytest.skip("none is installed")
    for kind in peers.PEERS.values():
        peers.check(kind, "cpu")


def test_turns_rotate(monkeypatch):
    harness = load(monkeypatch, "harness")
    order = []
    contenders = {name: lambda name=name: order.append(name) for name in "abc"}
    seconds = harness.take_turns(contenders, 3, "cpu")
    assert order == [*"abc", *"bca", *"cab", *"abc"]
    assert {name: len(found) for name, found in seconds.items()} == dict.fromkeys("abc", 3)
    found = {"a": [2.0, 4.0, 9.0], "b": [1.0, 2.0, 3.0]}
    assert harness.ratios(found, "a", "b") == "2.00 (2.00-2.50)"
