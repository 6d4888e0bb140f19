"""Translations of several pairs of languages, which one model has made of one text."""

from collections.abc import Mapping
from itertools import islice
from pathlib import Path

from sacrebleu.metrics import BLEU

from nmt_moe.common.errors import UserError
from nmt_moe.common.files import atomic_write
from nmt_moe.score.bleu import tokenizer


def bleu(hypotheses: list[str], references: list[str], language: str) -> tuple[float, str]:
    """The BLEU of detokenised text in a language, in percent, and sacrebleu's signature."""
    metric = BLEU(tokenize=tokenizer(language))
    score = metric.corpus_score(hypotheses, [references]).score
    return float(score), str(metric.get_signature())


def divided(run: Path, model: str, references: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """A model's translations by pair, written into a file for each.

    Raises:
        UserError: not as many lines as the test texts have together.
    """
    path = run / model / "hypotheses.txt"
    lines = path.read_bytes().decode("utf-8").split("\n")[:-1]  # a "\r" ends no line
    wanted = sum(map(len, references.values()))
    if len(lines) != wanted:
        raise UserError(
            f"{path} has {len(lines):,} lines, the test texts {wanted:,}: remove the folder "
            f"{path.parent} and run again"
        )
    rest = iter(lines)
    found = {pair: list(islice(rest, len(texts))) for pair, texts in references.items()}
    for pair, texts in found.items():
        with atomic_write([run / model / f"{pair}.txt"]) as [file]:
            file.writelines(f"{line}\n" for line in texts)
    return found
