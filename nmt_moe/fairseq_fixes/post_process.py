"""fairseq joins wordpieces as this package cuts them.

``sentencepiece`` of ``--bpe``, ``--post-process`` and BLEU: fairseq itself only replaces the mark
of words, and would print bytes as ``<0xE6>``. A name of ours for ``--bpe`` would leave the other
two options, and everybody's habits, as they are.
"""

from collections.abc import Callable
from typing import Any

from nmt_moe.corpus.wordpieces.reversible import join
from nmt_moe.fairseq_fixes.fix import Fix


def _joining(process: Callable[[str, str], str]) -> Callable[[str, str], str]:
    def post_process(sentence: str, symbol: str) -> str:
        if symbol == "sentencepiece":
            return join(sentence.split(" ")).strip()
        return process(sentence, symbol)

    return post_process


def _decode(self: Any, x: str) -> str:
    return join(x.split(" ")).strip()


_WHY = "Wordpieces are joined to the text that they were cut from, bytes among them."

FIXES = (
    Fix("fairseq.data.data_utils:post_process", _joining, _WHY),
    Fix(
        "fairseq.data.encoders.sentencepiece_bpe:SentencepieceBPE.decode",
        lambda decode: _decode,
        _WHY,
    ),
)
