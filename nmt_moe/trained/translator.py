"""Translating sentences with loaded models."""

import importlib
from argparse import Namespace
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fairseq.utils import resolve_max_positions

from nmt_moe.common.errors import UserError
from nmt_moe.trained.alignment import Aligned, places
from nmt_moe.trained.device import find_device
from nmt_moe.trained.folder import in_int8
from nmt_moe.trained.search import (
    BATCH_SIZE,
    BEAM,
    BUFFER_LINES,
    MAX_PIECES,
    RANGES,
    longest_translation,
)
from nmt_moe.trained.searcher import Found, Searcher
from nmt_moe.trained.text import cleaned, in_parts


@dataclass(frozen=True)
class Hypothesis:
    """One of the translations that a search has found for a sentence."""

    aligned: Aligned
    source: list[int]
    """The tokens that the encoder read, with the tag of the language and the end."""
    target: list[int]
    """The tokens of the translation, with the end."""


class Translator:
    """Translates with a trained model, as ``nmt-moe translate`` does.

    Args:
        model: a :class:`~nmt_moe.trained.model.TrainedModel`; or a model's folder or a checkpoint,
            which is opened.
        source_lang: of the text, where it is not the language of the training.
        target_lang: the language to translate into, needed where a model that is opened here has
            several.
        device: for a model that is opened here; None: a GPU if there is one.
        int8: open the model with weights in int8, for translating on CPUs.
        beam: width of the search.
        batch_size: sentences that are translated together.
        max_pieces: a longer sentence is translated in parts.
        workers: processes that search at the same time where there are several batches, on a CPU;
            they are forked from this one.
        gnmt_alpha: weight of the length normalisation.
        gnmt_beta: weight of the coverage penalty.
        shortlist: file of ``nmt-moe model shortlist``, whose pieces translations are made of; None:
            all pieces.

    Raises:
        UserError: the model is missing or damaged, it is a language model, its sentencepiece model
            is missing, the target language is needed, a number is out of range, or the shortlist
            is missing or that of another vocabulary.
    """

    def __init__(
        self,
        model: Any,
        *,
        source_lang: str | None = None,
        target_lang: str | None = None,
        device: str | None = None,
        int8: bool = False,
        beam: int = BEAM,
        batch_size: int = BATCH_SIZE,
        max_pieces: int = MAX_PIECES,
        workers: int = 1,
        gnmt_alpha: float = 0.2,
        gnmt_beta: float = 0.2,
        shortlist: str | Path | None = None,
    ) -> None:
        search = beam, batch_size, max_pieces, workers, gnmt_alpha, gnmt_beta
        for (name, allowed), value in zip(RANGES.items(), search, strict=True):
            allowed.check(name, value)
        if isinstance(model, str | Path):
            # By name: opening makes a model, whose translator this is.
            load = importlib.import_module("nmt_moe.trained.loading").load
            place = find_device(device, int8 or in_int8(model))
            model = load(model, target_lang=target_lang, device=place, int8=int8)
        elif int8:
            raise UserError("int8 is for a model that is opened here: give load(..., int8=True)")
        if model.languages is None:
            raise UserError(f"{model.path} does not translate: it is a language model")
        if shortlist is not None and len(model.models) > 1:
            raise UserError("a shortlist is for one model: leave it out for an ensemble")
        weights = {"gnmt_alpha": gnmt_alpha, "gnmt_beta": gnmt_beta}
        table = "" if shortlist is None else str(shortlist)
        cfg = replace(model.task.cfg, **weights, shortlist=table)
        task = type(model.task)(cfg, model.task.source_dictionary, model.task.target_dictionary)
        self.source_lang = source_lang or model.source_lang
        """The language of the text, whose rules split it into sentences."""
        self.target_lang = model.target_lang or model.languages[1]
        """The language that it translates into."""
        self._task = task
        self._wordpieces = model.wordpieces()
        self._beam = beam
        tag = model.tag()
        self._tag = [] if tag is None else [tag]
        self._searcher = Searcher(
            task,
            model.models,
            model.device,
            Namespace(beam=beam, max_len_a=0, max_len_b=longest_translation(max_pieces)),
            batch_size,
            workers,
        )
        positions = resolve_max_positions(
            task.max_positions(), *[one.max_positions() for one in model.models]
        )
        self.max_pieces: int = min(max_pieces, positions[0] - 1 - len(self._tag))
        """Of a sentence that is translated as a whole."""

    def translate(self, lines: str | Iterable[str]) -> Any:
        """Translate lines of text: cleaned, and each of their sentences by itself.

        Args:
            lines: one or several.

        Returns:
            The translation, or a list of them in the same order; of an empty line an empty one.

        Raises:
            UserError: what is given is no text.
        """
        if isinstance(lines, str):
            return self.translate([lines])[0]
        lines = _strings(lines)
        # By name: their room is above this one.
        text = importlib.import_module("nmt_moe.translate.text")
        sentences = importlib.import_module("nmt_moe.translate.sentences").Sentences
        found = text.translate_lines(
            map(cleaned, lines), self, sentences(self.source_lang), BUFFER_LINES
        )
        return [*chain(*found)]

    def __call__(self, sentences: Iterable[str]) -> list[str]:
        """The translations in the same order, without line ends; an empty sentence stays empty.

        Raises:
            UserError: it is not given a list of strings.
        """
        if isinstance(sentences, str):
            raise UserError("a translator takes a list of sentences: put the string into a list")
        given = _strings(sentences)
        pieces = (self._wordpieces.encode(sentence, out_type=str) for sentence in given)
        return in_parts(pieces, self.max_pieces, self._translate)

    def parts(self, parts: list[list[str]], number: int = 1) -> list[list[str]]:
        """The best translations of sentences, or of parts of them, that are cut into pieces.

        Args:
            parts: each has 1 to :attr:`max_pieces` pieces.
            number: of translations of each; the beam holds no more than its width.
        """
        found = self._search(parts, number)
        return [[self._text(tokens) for tokens, _ in best] for best in found]

    def aligned(self, sentences: Sequence[str]) -> list[Aligned]:
        """The translations with their alignments by the attention of the model.

        A sentence that is translated in parts has none, and no sentence where the model shows no
        attention.
        """
        cut = [self._wordpieces.encode(sentence, out_type=str) for sentence in sentences]
        whole = [n for n, pieces in enumerate(cut) if 0 < len(pieces) <= self.max_pieces]
        others = [n for n in range(len(cut)) if n not in set(whole)]
        result = [Aligned("")] * len(cut)
        for number, text in zip(others, self([sentences[n] for n in others]), strict=True):
            result[number] = Aligned(text)
        for number, [found] in zip(whole, self._search([cut[n] for n in whole]), strict=True):
            result[number] = self._aligned(sentences[number], cut[number], *found)
        return result

    def hypotheses(self, sentence: str) -> list[Hypothesis]:
        """What the search has found for a sentence, the best first and each text once.

        A sentence that is translated in parts has only its translation, without tokens, and an
        empty one nothing.
        """
        pieces = self._wordpieces.encode(sentence, out_type=str)
        if not pieces:
            return []
        if len(pieces) > self.max_pieces:
            [text] = self([sentence])
            return [Hypothesis(Aligned(text), [], [])]
        [found] = self._search([pieces], self._beam)
        words = self._task.source_dictionary
        source = [*map(words.index, self._tag + pieces), words.eos()]
        unique: dict[str, Hypothesis] = {}
        for tokens, attention_ST in found:
            aligned = self._aligned(sentence, pieces, tokens, attention_ST)
            unique.setdefault(aligned.text, Hypothesis(aligned, source, tokens.tolist()))
        return [*unique.values()]

    def _aligned(
        self, sentence: str, pieces: list[str], tokens: np.ndarray, attention_ST: np.ndarray
    ) -> Aligned:
        text = self._text(tokens)
        words = self._task.target_dictionary
        written = [words[token] for token in tokens.tolist() if token != words.eos()]
        source, target = places(pieces, sentence), places(written, text)
        if source is None or target is None or not attention_ST.size:
            return Aligned(text)
        # A batch is padded on one side, and a model may move that; padding has no attention.
        padding = len(attention_ST) - (len(self._tag) + len(pieces) + 1)
        first = padding if padding and not attention_ST[:padding].any() else 0
        first += len(self._tag)
        own_ST = attention_ST[first : first + len(pieces), : len(written)]
        return Aligned(text, source, target, own_ST.T.astype(np.float64))

    def _translate(self, parts: list[list[str]]) -> list[str]:
        return [best for [best] in self.parts(parts)]

    def _search(self, parts: list[list[str]], best: int = 1) -> list[list[Found]]:
        """The best translations of each part."""
        words = self._task.source_dictionary
        tokens = [
            torch.tensor([*map(words.index, self._tag + pieces), words.eos()]) for pieces in parts
        ]
        return self._searcher(tokens, best)

    def _text(self, tokens: np.ndarray) -> str:
        words = self._task.target_dictionary
        pieces = [words[token] for token in tokens.tolist() if token != words.eos()]
        return " ".join(self._wordpieces.decode_pieces(pieces).split())


def _strings(given: Iterable[str]) -> list[str]:
    """All of what may be read once only, such as a file or a generator."""
    if isinstance(given, Mapping) or not isinstance(given, Iterable):
        raise UserError(f"a translator takes a list of strings, not {given!r:.80}")
    found = list(given)
    for one in found:
        if not isinstance(one, str):
            raise UserError(f"a translator takes a list of strings, not {one!r:.80}")
    return found
