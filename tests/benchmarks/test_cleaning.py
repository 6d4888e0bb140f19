"""``benchmarks/cleaning.py``."""

import pytest

from tests.benchmarks.commands import benchmark


@pytest.mark.slow
def test_memory_does_not_grow_with_the_corpus(tmp_path):
    for language, words in (("en", "Seven dogs run"), ("de", "Sieben Hunde laufen")):
        lines = "".join(f"{words}, {number}.\n" for number in range(1000))
        (tmp_path / f"text.{language}").write_text(lines)
    figures = benchmark(
        "cleaning.py", "--text", tmp_path / "text", "--pairs", 20_000, 400_000, "--workers", 2
    )
    small, large = figures["sizes"]
    assert (small["pairs"], large["pairs"]) == (20_000, 400_000)
    assert 18 < large["bytes"] / small["bytes"] < 22
    assert 2**24 < small["pss"] <= small["rss"]
    assert 2**22 < small["pss_without_files"] < small["pss"] and large["pss"] < 2**30
    assert large["pss_without_files"] < 1.15 * small["pss_without_files"] + 2**25
    assert large["per_minute_and_core"] > 200_000
