"""Single sentences: the experts of each piece, and the attention of the decoder."""

from functools import cache
from typing import Any

import numpy as np

from nmt_moe.common.errors import UserError
from nmt_moe.moe import Routing
from nmt_moe.report.experts.batches import Batch, Sentence, run
from nmt_moe.report.experts.data import Pair
from nmt_moe.report.experts.text import Spelling
from nmt_moe.trained.model import Encoder, TrainedModel
from nmt_moe.trained.text import cleaned

_SHOWN = 5  # sentences of the data
_LENGTHS = range(6, 26)  # pieces of such a sentence, on each side


class Chosen:
    """Chooses the first few sentences of moderate length, or the first one if there are none."""

    def __init__(self) -> None:
        self._moderate: list[Pair] = []
        self._first: list[Pair] = []

    def see(self, sentence: Sentence) -> None:
        """Consider a sentence."""
        if not self._first:
            self._first.append(sentence.pair)
        moderate = all(length in _LENGTHS for length in sentence.lengths if length)
        if moderate and len(self._moderate) < _SHOWN:
            self._moderate.append(sentence.pair)

    def pairs(self) -> list[Pair]:
        """The chosen sentences."""
        return self._moderate or self._first


def typed(trained: TrainedModel, texts: list[str]) -> list[Pair]:
    """Sentences as a user types them: ``source``, or ``source ||| target``.

    Without a target, the model translates the source. A language model reads the text.

    Raises:
        UserError: more than one ``|||``, or a target for a language model.
    """
    if not texts:
        return []
    encoder = Encoder(trained)
    translator = cache(trained.translator)
    pairs: list[Pair] = []
    for text in texts:
        source, *targets = map(str.strip, text.split("|||"))
        if len(targets) > 1:
            raise UserError(f"--sentence {text!r} is not 'source' or 'source ||| target'")
        if targets and trained.languages is None:
            raise UserError(f"--sentence {text!r}: a language model has no target")
        if trained.languages is None:
            pairs.append((None, encoder.target(source)))
        else:
            [target] = targets or translator()([cleaned(source)])
            pairs.append((encoder.source(source), encoder.target(target)))
    return pairs


def picture(trained: TrainedModel, pair: Pair) -> dict[str, Any]:
    """The pieces of a sentence with their experts.

    ``target`` are the pieces that the decoder reads, ``predicted`` those that it predicts: row
    ``i`` of the attention belongs to the step that reads ``target[i]`` and predicts
    ``predicted[i]``.
    """
    [batch] = run(trained, [Sentence(0, pair, None)], max_tokens=1)
    source = Spelling(trained.task.source_dictionary)
    target = Spelling(trained.read_dictionary)
    attention_BLS = batch.attention_BLS
    return {
        "source": [] if batch.source_BS is None else source.pieces(batch.source_BS[0]),
        "target": target.pieces(batch.read_BL[0]),
        "predicted": target.pieces(batch.predicted_BL[0]),
        "attention": None if attention_BLS is None else _rounded(attention_BLS[0]),
        "experts": {
            name: _experts(routing, _length(batch, name)) for name, routing in batch.routing.items()
        },
    }


def _length(batch: Batch, layer: str) -> int:
    source = layer.startswith("encoder.") and batch.source_BS is not None
    return (batch.source_BS if source else batch.read_BL).shape[1]  # type: ignore[union-attr]


def _rounded(weights: Any) -> list[list[float]]:
    return [[round(weight, 4) for weight in row] for row in weights.tolist()]


def _experts(routing: Routing, length: int) -> list[list[list[Any]]]:
    """The experts of each token with their gates, the highest first."""
    gate_A = routing.gate_A.double().cpu().numpy()
    token_A = routing.token_A.cpu().numpy()
    expert_A = routing.expert_A.cpu().numpy()
    found: list[list[list[Any]]] = [[] for _ in range(length)]
    for at in np.lexsort((expert_A, -gate_A, token_A)):
        found[token_A[at]].append([int(expert_A[at]), round(float(gate_A[at]), 6)])
    return found
