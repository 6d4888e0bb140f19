"""The figures of one mixture-of-experts layer over a text."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from nmt_moe.moe import MixtureOfExperts, Routing
from nmt_moe.moe.balance import cv_squared, max_over_mean
from nmt_moe.report.experts import profiles
from nmt_moe.report.experts.contexts import TopContexts
from nmt_moe.report.experts.counting import Ints, PairCounts
from nmt_moe.report.experts.information import information
from nmt_moe.report.experts.text import Spelling

_CONTEXTS = 8


@dataclass(frozen=True)
class Side:
    """The tokens of a batch that a layer reads: the source, or the decoder's input.

    A routing numbers only real tokens, step by step over all sentences (time-major).
    """

    tokens_BL: Ints
    """Padded on the right."""
    line_B: Ints
    """The number of each sentence in the data."""
    label_B: Ints | None
    """The number of its label, where the data has labels."""
    sentence_T: Ints
    position_T: Ints

    @classmethod
    def of(cls, tokens_BL: Ints, pad: int, line_B: Ints, label_B: Ints | None) -> "Side":
        """Compute the sentence and position of each row of a routing."""
        position_T, sentence_T = np.nonzero(tokens_BL.T != pad)
        return cls(tokens_BL, line_B, label_B, sentence_T, position_T)


class LayerTally:
    """Accumulates the figures of a layer over batches.

    Args:
        name: of the layer, such as ``encoder.2``.
        layer: its module.
        gating: the kind of its gate.
        k: experts per token at each level of the gate.
        pad: the index of the padding symbol.
    """

    def __init__(self, name: str, layer: MixtureOfExperts, gating: str, k: int, pad: int) -> None:
        experts = layer.num_experts
        self._facts = {
            "name": name,
            "gating": gating,
            "experts": experts,
            "k": k,
            "groups": layer.groups if layer.groups > 1 else None,
        }
        self._tokens = 0
        self._entropy = 0.0
        self._counts_E: Ints = np.zeros(experts, np.int64)
        self._importance_E = np.zeros(experts)
        self._wordpieces = PairCounts()
        self._labels = PairCounts()
        self._contexts = TopContexts(experts, _CONTEXTS, pad)

    def add(self, routing: Routing, side: Side) -> None:
        """Add the routing of a batch whose tokens are those of ``side``."""
        token_A, expert_A = routing.token_A.cpu().numpy(), routing.expert_A.cpu().numpy()
        gates_A = routing.gate_A.detach().cpu().double()
        gate_A = gates_A.numpy()
        sentence_A, position_A = side.sentence_T[token_A], side.position_T[token_A]
        self._tokens += len(side.sentence_T)
        self._entropy += float(torch.special.entr(gates_A).sum()) / math.log(2)
        self._counts_E += routing.counts_E.cpu().numpy()
        self._importance_E += np.bincount(expert_A, gate_A, len(self._counts_E))
        self._wordpieces.add(expert_A, side.tokens_BL[sentence_A, position_A])
        if side.label_B is not None:
            self._labels.add(expert_A, side.label_B[sentence_A])
        self._contexts.add(expert_A, gate_A, sentence_A, position_A, side.line_B, side.tokens_BL)

    def content(self, spelling: Spelling, labels: list[str] | None) -> dict[str, Any]:
        """All figures, by their names in the report.

        Args:
            spelling: of the tokens.
            labels: the names of the labels, where the data has any.
        """
        counts_E = torch.from_numpy(self._counts_E).double()
        importance_E = torch.from_numpy(self._importance_E)
        assignments = int(self._counts_E.sum())
        experts = len(self._counts_E)
        wordpieces, of_labels = self._wordpieces.cells(), None
        details: dict[str, list[Any]] = {
            "contexts": self._contexts.content(spelling),
            "typical": profiles.typical(wordpieces, experts, spelling),
            "labels": [None] * experts,
            "nearest": profiles.nearest(wordpieces, experts),
        }
        if labels is not None:
            cells = self._labels.cells()
            of_labels = information(cells, experts)
            details["labels"] = profiles.labels(cells, experts, labels)
        return self._facts | {
            "tokens": self._tokens,
            "assignments": assignments,
            "counts": self._counts_E.tolist(),
            "importance": self._importance_E.tolist(),
            "importance_cv": cv_squared(importance_E).sqrt().item(),
            "load_cv": cv_squared(counts_E).sqrt().item(),
            "max_over_mean": max_over_mean(counts_E).item(),
            "dead": int((self._counts_E == 0).sum()),
            "entropy": self._entropy / max(1, self._tokens),
            "top_share": int(self._counts_E.max()) / max(1, assignments),
            "information": {
                "wordpiece": information(wordpieces, experts),
                "label": of_labels,
            },
            "details": _transposed(details),
        }


def _transposed(columns: Mapping[str, list[Any]]) -> list[dict[str, Any]]:
    """A dict of lists as a list of dicts."""
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
