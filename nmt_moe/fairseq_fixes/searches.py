"""Options of a search that have no effect in fairseq, or fail.

``--no-repeat-ngram-size`` on a CPU: fairseq looks for the last words of a hypothesis at the end of
the room for the longest one. ``--replace-unk``: it takes alignments for another kind of list.
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from nmt_moe.fairseq_fixes.fix import Fix


def _so_far(block: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def no_repeat_ngram(
        self: Any, tokens_BL: Tensor, lprobs_BV: Tensor, bsz: int, beam_size: int, step: int
    ) -> Tensor:
        return block(self, tokens_BL[:, : step + 1], lprobs_BV, bsz, beam_size, step)

    return no_repeat_ngram


def _by_word(replace: Callable[..., str]) -> Callable[..., str]:
    def replace_unk(
        hypo_str: str, src_str: str, alignment: Any, align_dict: dict[str, str], unk: str
    ) -> str:
        places = {target: source for source, target in alignment}
        end = len(src_str.split())
        sources = [places.get(target, end) for target in range(len(hypo_str.split()))]
        return replace(hypo_str, src_str, sources, align_dict, unk)

    return replace_unk


FIXES = (
    Fix(
        "fairseq.ngram_repeat_block:NGramRepeatBlock._no_repeat_ngram",
        _so_far,
        "--no-repeat-ngram-size has its effect on CPUs, too.",
    ),
    Fix(
        "fairseq.utils:replace_unk",
        _by_word,
        "--replace-unk works: fairseq takes its pairs of words for a number for each word.",
    ),
)
