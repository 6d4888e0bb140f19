"""What is behind the translation of one sentence: other translations, words, and experts.

Words are aligned by the attention of the model; the experts of a wordpiece are those that the
model's gates chose for it when it read the sentence and wrote its translation.
"""

from typing import Any

import numpy as np
import torch

from nmt_moe.report.experts.sentences import picture
from nmt_moe.trained.alignment import Aligned, shares, words
from nmt_moe.trained.model import TrainedModel
from nmt_moe.trained.text import cleaned
from nmt_moe.trained.translator import Hypothesis, Translator

_NOTICEABLE = 0.2
"""Of the attention of a word; less than this on each source word aligns it with none."""
_COMPARABLE = 0.5
"""Source words with this share of the most that one has belong to the word, too."""


def explain(trained: TrainedModel, translator: Translator, sentence: str) -> dict[str, Any]:
    """Translate a sentence and say how.

    Args:
        trained: the model; of an ensemble, the experts are those of the first one.
        translator: of that model.
        sentence: one of the text, as it is.

    Returns:
        Plain JSON types. ``translation`` is the translator's, ``alternatives`` are the others of
        its beam, the best first. ``source`` and ``target`` are the words, with their ``start`` and
        ``end`` in ``text`` and ``translation`` (in characters of Unicode), and ``alignment`` has
        for each target word the numbers of its source words. ``pieces`` are what the model read,
        on the ``side`` of the source or of the target, where it reads what it has written so far:
        each has its ``layers`` with ``experts``, and their ``gate``. A sentence that is translated
        in parts has neither alignment nor pieces.
    """
    text = cleaned(sentence)
    found = translator.hypotheses(text)
    if not found:
        return dict.fromkeys(("text", "translation"), "") | {
            name: [] for name in ("alternatives", "source", "target", "alignment", "pieces")
        }
    best, *others = found
    return {
        "text": text,
        "translation": best.aligned.text,
        "alternatives": [one.aligned.text for one in others],
        "source": _spans(text),
        "target": _spans(best.aligned.text),
        "alignment": alignment(best.aligned, text),
        "pieces": pieces(trained, best),
    }


def alignment(aligned: Aligned, source: str) -> list[list[int]]:
    """The numbers of the source words that each word of a translation was made from."""
    share_TS = shares(aligned, words(aligned.text), words(source))
    if not share_TS.size:
        return [[] for _ in share_TS]
    most_T1 = share_TS.max(axis=1, keepdims=True)
    belongs_TS = (share_TS >= _COMPARABLE * most_T1) & (most_T1 >= _NOTICEABLE)
    return [np.flatnonzero(row_S).tolist() for row_S in belongs_TS]


def pieces(trained: TrainedModel, hypothesis: Hypothesis) -> list[dict[str, Any]]:
    """The wordpieces that the model read, with their experts in each layer of their side."""
    if not hypothesis.source:
        return []
    pair = torch.tensor(hypothesis.source), torch.tensor(hypothesis.target)
    seen = picture(trained, pair)
    sides = {"source": "encoder.", "target": "decoder."}
    return [
        {
            "text": piece,
            "side": side,
            "layers": [
                {
                    "layer": layer,
                    "experts": [{"expert": expert, "gate": gate} for expert, gate in rows[place]],
                }
                for layer, rows in seen["experts"].items()
                if layer.startswith(stack)
            ],
        }
        for side, stack in sides.items()
        for place, piece in enumerate(seen[side])
    ]


def _spans(text: str) -> list[dict[str, int]]:
    return [{"start": start, "end": end} for start, end in words(text)]
