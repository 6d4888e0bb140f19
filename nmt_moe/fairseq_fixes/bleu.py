"""The BLEU at the end of ``fairseq-generate`` says what it is.

fairseq counts n-grams of the tokens that it compares: wordpieces, or with ``--post-process`` words
between spaces. Other cuts of the same translations give other numbers.
"""

from collections.abc import Callable
from typing import Any

from nmt_moe.fairseq_fixes.fix import Fix

LABEL = (
    "[of tokens as they are compared here; for a BLEU of the text, with signature: nmt-moe score]"
)


def _labelled(result: Callable[..., str]) -> Callable[..., str]:
    def result_string(self: Any, order: int = 4) -> str:
        return f"{result(self, order)} {LABEL}"

    return result_string


FIXES = (
    Fix(
        "fairseq.scoring.bleu:Scorer.result_string",
        _labelled,
        "The BLEU that fairseq-generate prints is labelled as one of tokens.",
    ),
)
