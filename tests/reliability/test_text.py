"""Generated lines through all that reads text: none is an error of ours, and lines stay lines."""

import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from sentencepiece import SentencePieceProcessor

from nmt_moe.corpus.wordpieces import model as wordpieces
from tests.reliability import texts
from tests.reliability.checks import check_cleaning, check_sgm, check_text, check_wordpieces
from tests.tally import Tally

often = settings(
    max_examples=50,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("text")


@pytest.fixture(scope="module")
def model(folder: Path) -> SentencePieceProcessor:
    """Wordpieces of some of the sentences: all other characters are unknown to them."""
    (folder / "learn").write_text("".join(f"{text}\n" for text in texts.SENTENCES[:3]))
    wordpieces.train([folder / "learn"], folder / "model", 120)
    return wordpieces.load(folder / "model.model")


@often
@given(sources=texts.LINES, chance=texts.CHANCE)
def test_cleaning(folder, tally: Tally, sources: list[bytes], chance: random.Random) -> None:
    targets = [chance.choice([source, texts.line(chance), b"x" + source]) for source in sources]
    check_cleaning(folder, sources, targets)
    tally(inputs=2 * len(sources))


@often
@given(chance=texts.CHANCE)
def test_sgm(tally: Tally, chance: random.Random) -> None:
    content, other = texts.damaged_sgm(chance), texts.damaged_sgm(chance)
    check_sgm(content, other)
    tally(inputs=2)


@often
@given(lines=texts.LINES)
def test_wordpieces(folder, model, tally: Tally, lines: list[bytes]) -> None:
    check_wordpieces(folder, model, lines)
    tally(inputs=len(lines))


@often
@given(lines=texts.LINES)
def test_text_to_translate(model, tally: Tally, lines: list[bytes]) -> None:
    check_text(model, lines)
    tally(inputs=len(lines))


@pytest.mark.slow
def test_cleaning_10_000_pairs(folder, tally: Tally) -> None:
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")  # shown where the test fails
    sources = texts.lines(seed, 10_000)
    chance = random.Random(seed)
    targets = [chance.choice([texts.line(chance), source[::-1]]) for source in sources]
    for options in ([], ["--language-id", "--keep-duplicates", "--workers", "2"]):
        assert check_cleaning(folder, sources, targets, *options) > 100
    tally(inputs=20_000)
