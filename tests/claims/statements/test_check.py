"""``nmt-moe claims check``: of our own results, and of a copy in which something is changed."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from nmt_moe.cli.main import main
from nmt_moe.runs.claims.__main__ import main as claims_main
from nmt_moe.runs.claims.statements.claim import read

ROOT = Path(__file__).resolve().parents[3]
LOG = "results/capacity/logs/256-h-2.log"


def check(root: Path, *words: str) -> int:
    return main(["claims", "check", str(root), *words])


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """What a check reads of the checkout."""
    (tmp_path / "docs").mkdir()
    shutil.copy(ROOT / "docs/results.md", tmp_path / "docs")
    shutil.copytree(ROOT / "results", tmp_path / "results")
    return tmp_path


def edit(path: Path, pattern: str, new: str | Callable[[re.Match[str]], str]) -> None:
    text, number = re.subn(pattern, new, path.read_text(), count=1, flags=re.DOTALL)
    assert number == 1, pattern
    path.write_text(text)


def another_digit(found: re.Match[str]) -> str:
    return f"{found[1]}{(int(found[2]) + 1) % 10}"


def test_all_that_we_say_follows(capsys: pytest.CaptureFixture[str]) -> None:
    assert check(ROOT) == 0
    found = capsys.readouterr()
    assert found.err == ""
    counts = re.fullmatch(
        r"(\d+) claims, (\d+) comparisons: (\d+) shown, (\d+) not shown, (\d+) opposite; "
        r"\d+ of the paper's claims\n",
        found.out,
    )
    assert counts and int(counts[2]) == sum(int(counts[place]) for place in (3, 4, 5))
    assert int(counts[1]) == len(read(ROOT / "results/claims.toml"))


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        (r"(the perplexity is lower|perplexity is lower: by )(\d)", "docs/results.md"),
        (r'(\| INFO \| test \| .*"test_ppl": "\d\d\.)(\d)', LOG),
        (r'("update": 0\.)(\d)', LOG),  # in no table
        (r"(256-h +\| .*?\| +34\.)(\d)", "results/capacity/table.md"),
        (r"(p = 0\.0)(\d)", "results/translation-mixed/paired-gnmt-1.txt"),
        (r'("test_ppl": "7\.)(\d)', "results/translation-multi30k/tried/d128-dense.log"),
        (r"(\w)(\d)", "results/own-text/tried/base.log"),
        (r'("fr-cs": )(\d)', "results/multilingual/logs/32-2.log"),
        (r"(29\.1)(\d)(?= \(`width-64)", "results/multilingual/tried.md"),
        (r"(28\.25, 6\.6)(\d)(?= \(`short)", "results/multilingual/tried.md"),
        (r"(38\.50, -1\.)(\d)(?=% \(`d64-32`\))", "results/capacity/tried.md"),
        (r"(38\.5)(\d)(?=, -1\.7% \(`d64-32`\))", "results/capacity/tried.md"),
        (r"(9\.30, 31\.48 / 31\.1)(\d)", "results/translation-multi30k/tried.md"),
        (r"(\| 4,50)(\d)(?= \| 52 \|)", "results/multi30k/tried.md"),  # updates
        (r"(\| 5)(\d)(?= \| 5\.82)", "results/multi30k/tried.md"),  # minutes
        (r"(is 2\.1)(\d)(?= bits)", "results/multi30k/tried.md"),  # of a log of that sentence
        (r"(a rate of \d\.)(\d)(?=e-3)", "results/multi30k/tried.md"),  # a setting
        (r"(after 3,95)(\d)(?= updates)", "results/multi30k/tried.md"),
        (r"(0\.35, )(\d)(?=2 passes)", "results/multi30k/tried.md"),
        (r"(30\.7)(\d)(?= ± 0\.62)", "results/translation-multi30k/tried.md"),  # of a table
    ],
)
def test_one_digit_that_is_changed(
    pattern: str, path: str, copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(copy) == 0
    edit(copy / path, pattern, another_digit)
    assert check(copy) == 1
    assert path in capsys.readouterr().err


def test_a_log_that_is_changed_with_all_that_is_made_of_it(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Then the claims fail: their verdicts and figures were those of the other log."""
    edit(copy / LOG, r'(\| INFO \| test \| .*"test_ppl": ")34\.', r"\g<1>38.")
    assert claims_main(["show", str(copy / "results/capacity")]) == 0
    capsys.readouterr()
    assert check(copy) == check(copy, "--write") == 1
    error = capsys.readouterr().err
    assert "error: claim 'capacity': 256-h is 'not shown', not 'shown'\n" in error
    assert "'capacity-too-many': 1024-h is 'not shown', not 'shown'" in error
    assert "} stands under 'shown', where it is not" in error
    assert "the paper's claim 'Many experts lower the perplexity" in error


def test_pairs_of_languages_in_which_experts_are_ahead_are_counted(copy: Path) -> None:
    page = copy / "docs/results.md"
    assert "higher in 12 of 12 pairs" in " ".join(page.read_text().split())
    for seed in (1, 2, 3):
        edit(copy / f"results/multilingual/logs/32-{seed}.log", r'("cs-en": )[\d.]+', r"\g<1>1.0")
    assert claims_main(["show", str(copy / "results/multilingual")]) == 0
    assert check(copy) == 1
    assert check(copy, "--write") == 0
    assert "higher in 11 of 12 pairs" in " ".join(page.read_text().split())


@pytest.mark.parametrize(
    ("pattern", "new", "message"),
    [
        (r'1024-h = "shown"', '1024-h = "not shown"', "1024-h is 'shown', not 'not shown'"),
        (r'256-h = "shown"', '256-h = "proved"', "'proved' is none of shown, not shown, opposite"),
        (r"(perplexity is lower: by) ", r"\1 8.7% ", "'8.7%' is a figure of its own"),
        (r"by \{less\|32\} with", "by {less|4} with", "stands under 'shown', where it is not"),
        (r"by \{less\|32\} with", "by {less|33} with", "'33' is not compared"),
        (r"by \{less\|32\} with", "by {lest|32} with", "there is no figure {lest|32}"),
        (r"by \{less\|32\} with", "by {option|32|moe-x} with", "32 has no --moe-x"),
        (r'32-timed = "not shown"', '32-timed = "shown"', "one sentence for each verdict"),
        (r'4 = "not shown"\n(.*?)"not shown" = """.*?"""', r"\1", "nothing is said of 4, which"),
        (r"seeds = \[1, 2, 3\]", "seeds = [1, 2, 4]", "has seeds [1, 2, 3], not [1, 2, 4]"),
        (r'base = "dense"', 'base = "dens"', "256-h is 'not shown', not 'shown', as dens was not"),
        (r"d64-32\.log", "d64-33.log", "there is no log capacity/tried/d64-33.log"),
        (r'tried = "capacity"\n', "", "settings chosen on the test text need 'tried'"),
        (r'figure = "test ppl/piece"', 'figure = "BLEU"', "tables of capacity have no 'BLEU'"),
        (r'name = "cost"', 'name = "capacity"', "two claims have the name 'capacity'"),
        (r"question = ", "answer = ", "a claim has name, question"),
        (r"\[\[claim\]\]", "[[claim]", "cannot be read"),
    ],
)
def test_a_claim_that_does_not_follow(
    pattern: str, new: str, message: str, copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refused(copy / "results/claims.toml", pattern, new, message, copy, capsys)


def refused(
    path: Path, pattern: str, new: str, message: str, copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(path, pattern, new)
    assert check(copy) == 1
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error


@pytest.mark.parametrize(
    ("pattern", "new", "message"),
    [
        (r'verdict = "opposite"', 'verdict = "shown"', "is 'opposite', not 'shown'"),
        (r'verdict = "not shown"', 'verdict = "shown"', "is 'not shown', not 'shown'"),
        (r'of = \["capacity\|4"\]', 'of = ["capacity|5"]', "no comparison 'capacity|5'"),
        (r'ours = "-"', 'ours = "34.3"', "'34.3' is a figure of its own"),
        (r'ours = "-"', 'ours = "{capacitor|mean|4}"', "there is no claim 'capacitor'"),
    ],
)
def test_a_claim_of_the_paper_that_does_not_follow(
    pattern: str, new: str, message: str, copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refused(copy / "results/paper.toml", pattern, new, message, copy, capsys)


def test_a_claim_that_the_page_does_not_have(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(copy / "docs/results.md", r"<!-- generated: claim cost -->\n.*?<!-- end -->\n", "")
    assert check(copy) == 1
    assert "has claim 'cost' 0 times" in capsys.readouterr().err


def test_the_page_is_written(copy: Path) -> None:
    page = copy / "docs/results.md"
    before = page.read_text()
    edit(page, r"(<!-- generated: claim tying -->\n).*?(<!-- end -->)", r"\1\2")
    edit(page, r"(<!-- generated: paper -->\n).*?(<!-- end -->)", r"\1\2")
    assert check(copy) == 1
    assert check(copy, "--write") == 0
    assert page.read_text() == before
