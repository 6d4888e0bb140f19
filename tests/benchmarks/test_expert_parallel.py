"""``benchmarks/expert_parallel.py``: what it counts, and when it stops."""

import pytest

from tests.benchmarks.commands import benchmark

PROCESSES, TOKENS, DIM, EXPERTS, K = 2, 40, 8, 8, 2
SIZES = [
    *("--processes", PROCESSES, "--tokens", TOKENS, "--dim", DIM, "--hidden-dim", 16),
    *("--experts", EXPERTS, "--k", K, "--repeat", 2),
]


@pytest.mark.slow
@pytest.mark.parametrize(("options", "per_token"), [([], K), (["--groups", 4], K * K)])
def test_bytes_are_those_of_the_plan_but_for_imbalance(options, per_token):
    figures = benchmark("expert_parallel.py", *SIZES, *options)
    rows_PP = figures["rows_from_to"]
    assert sum(map(sum, rows_PP)) == PROCESSES * TOKENS * per_token

    sent = [found["forward"]["rows"] + found["backward"]["rows"] for found in figures["sent"]]
    for place in range(PROCESSES):
        out = sum(row for other, row in enumerate(rows_PP[place]) if other != place)
        back = sum(rows[place] for other, rows in enumerate(rows_PP) if other != place)
        assert sent[place] == 2 * (out + back) * DIM * 4  # outputs go back; each way twice
        assert figures["sent"][place]["forward"]["counts"] == EXPERTS // PROCESSES * 8
        assert figures["sent"][place]["backward"]["counts"] == 0

    # The plan has the share (n - 1) / n of all rows leave their process.
    left = sum(map(sum, rows_PP)) - sum(rows_PP[place][place] for place in range(PROCESSES))
    even = PROCESSES * TOKENS * per_token * (PROCESSES - 1) / PROCESSES
    assert sum(sent) / PROCESSES == pytest.approx(figures["planned"] * left / even, rel=1e-12)
    assert 0.5 < left / even < 1.5

    assert figures["difference"] < 1e-9
    assert {len(seconds) for seconds in figures["seconds"].values()} == {2}
    assert list(figures["seconds"]) == ["spread", "copies", "alone"]
    assert 1 <= figures["imbalance"]["process"] <= figures["imbalance"]["expert"] <= EXPERTS
