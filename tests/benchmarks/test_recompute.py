"""``benchmarks/recompute.py``."""

import pytest

from tests.benchmarks.commands import benchmark


@pytest.mark.slow
def test_memory_is_saved():
    sizes = ["--tokens", 2048, "--dim", 64, "--hidden-dim", 2048, "--experts", 8, "--k", 2]
    # The peak of a process is at least that of the one that starts it.
    figures = benchmark("recompute.py", *sizes, "--repeat", 2, fresh=True)
    assert figures["hidden_activations"] == 2048 * 2 * 2048 * 4
    assert 0 < figures["saved"] < 2 * figures["hidden_activations"]
