"""fairseq's interface to trained models in Python, which finds and searches as our commands do."""

import copy
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Any

import numpy as np
import torch
from fairseq.data import FairseqDataset, LanguagePairDataset
from fairseq.dataclass.configs import GenerationConfig
from fairseq.hub_utils import GeneratorHubInterface
from torch import Tensor

from nmt_moe.common.errors import UserError, suggestion
from nmt_moe.trained.model import TrainedModel
from nmt_moe.trained.search import BATCH_SIZE, BEAM, MAX_PIECES, RANGES, longest_translation
from nmt_moe.trained.searcher import BATCH_PIECES, batches, ordered
from nmt_moe.trained.text import cleaned, in_parts
from nmt_moe.translate.sentences import Sentences
from nmt_moe.translate.text import translate_lines

Hypothesis = dict[str, Any]
"""fairseq's entries of a translation or text: ``tokens`` ``[L]``, ``score``, ``positional_scores``
``[L]``, ``attention`` and ``alignment``."""


class Hub(GeneratorHubInterface):
    """A language model or an ensemble, with its dictionary and wordpieces; a torch module, which
    ``to``, ``half``, ``bfloat16`` and ``cuda`` move and convert.

    Args:
        trained: the opened models.
        bpe: cuts text into pieces, as fairseq's ``--bpe``; None: text comes in pieces.
        tokenizer: fairseq's ``--tokenizer``, or None.
        search: options of fairseq's ``GenerationConfig``, the defaults of each call.
    """

    search_options = frozenset(vars(GenerationConfig())) - {"_name"}
    """The names of options that each call takes."""

    def __init__(
        self, trained: TrainedModel, bpe: Any, tokenizer: Any, search: Mapping[str, Any]
    ) -> None:
        self._check_search(search)
        cfg = copy.deepcopy(trained.cfg)
        cfg.generation = vars(GenerationConfig()) | dict(search)
        cfg.dataset = {"max_tokens": BATCH_PIECES, "batch_size": BATCH_SIZE}
        cfg.bpe = cfg.tokenizer = None
        super().__init__(cfg, trained.task, trained.models)
        self.bpe, self.tokenizer = bpe, tokenizer
        self.to(trained.device)

    def __deepcopy__(self, memo: dict[int, Any]) -> "Hub":
        """A copy with models of its own: fairseq's tasks cannot be copied, and nothing changes
        them here."""
        memo |= {id(shared): shared for shared in (self.task, self.src_dict, self.tgt_dict)}
        copied = memo[id(self)] = type(self).__new__(type(self))
        copied.__setstate__(copy.deepcopy(self.__dict__, memo))
        return copied

    def sample(
        self, sentences: str | Sequence[str], beam: int = 1, verbose: bool = False, **kwargs: Any
    ) -> Any:
        """Continue texts.

        Args:
            sentences: the beginnings; one or several.
            beam: width of the search.
            verbose: log the hypotheses.
            kwargs: options of the search, such as ``sampling=True, sampling_topk=10``.

        Returns:
            The text, or a list of texts; each has its beginning.

        Raises:
            UserError: what is given is no text, or an option does not exist.
        """
        return super().sample(_texts(sentences), beam, verbose, **kwargs)

    def generate(
        self,
        tokenized_sentences: Any,
        beam: int | None = None,
        verbose: bool = False,
        skip_invalid_size_inputs: bool = False,
        inference_step_args: dict | None = None,
        prefix_allowed_tokens_fn: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Search.

        Args:
            tokenized_sentences: what :meth:`encode` returned, a tensor ``[S]`` or a list of them.
            beam: width of the search.
            verbose: log the hypotheses.
            skip_invalid_size_inputs: leave out sentences that are too long.
            inference_step_args: passed to the task's ``inference_step``.
            prefix_allowed_tokens_fn: the tokens that may follow, as fairseq's.
            kwargs: options of the search.

        Returns:
            For each sentence a list of :data:`Hypothesis`, best first; of one tensor ``[S]`` the
            list alone.

        Raises:
            UserError: an option does not exist.
        """
        if beam is not None:
            kwargs["beam"] = beam
        self._check_search(kwargs)
        if not len(tokenized_sentences):
            return []
        return super().generate(
            tokenized_sentences,
            kwargs.pop("beam", self.cfg.generation.beam),
            verbose,
            skip_invalid_size_inputs,
            inference_step_args,
            prefix_allowed_tokens_fn,
            **kwargs,
        )

    def encode(self, sentence: str) -> Tensor:
        """The tokens ``[S]`` of a text, with the end of sentence; cleaned as for training."""
        return super().encode(cleaned(sentence))

    def translate(self, *args: Any, **kwargs: Any) -> Any:
        """Raise a :class:`UserError`: a language model does not translate."""
        raise UserError("a language model does not translate: use sample, generate or score")

    def _build_batches(
        self, tokens: Any, skip_invalid_size_inputs: bool
    ) -> Iterator[dict[str, Any]]:
        lengths = torch.tensor([*map(len, tokens)])
        dataset = self.task.build_dataset_for_inference(tokens, lengths)
        order = self.task.filter_indices_by_size(
            ordered(dataset), dataset, self.max_positions, skip_invalid_size_inputs
        )
        return self._batches(dataset, order)

    def _batches(self, dataset: FairseqDataset, order: np.ndarray) -> Iterator[dict[str, Any]]:
        limits = self.cfg.dataset
        longest = max([limits.max_tokens, *map(dataset.num_tokens, order)])
        return batches(dataset, order, longest, limits.batch_size, self.device)

    def _check_search(self, options: Mapping[str, Any]) -> None:
        for name, value in options.items():
            if name not in self.search_options:
                raise UserError(
                    f"there is no option {name!r}: {suggestion(name, sorted(self.search_options))}"
                )
            if name in RANGES:
                RANGES[name].check(name, value)


class TranslationHub(Hub):
    """A translation model or an ensemble, which searches as ``nmt-moe translate``."""

    search_options = Hub.search_options | {"gnmt_alpha", "gnmt_beta", "shortlist"}

    def __init__(
        self,
        trained: TrainedModel,
        bpe: Any,
        tokenizer: Any,
        search: Mapping[str, Any],
        max_pieces: int = MAX_PIECES,
    ) -> None:
        ours = {"beam": BEAM, "max_len_b": longest_translation(max_pieces)}
        super().__init__(trained, bpe, tokenizer, ours | dict(search))
        self._tag = [tag] if (tag := trained.tag()) else []
        self._longest = min(max_pieces, self.max_positions[0] - 1 - len(self._tag))
        self._sentences = Sentences(trained.source_lang)

    def translate(
        self,
        sentences: str | Sequence[str],
        beam: int | None = None,
        verbose: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Translate texts as ``nmt-moe translate`` does its lines: each sentence by itself, long
        ones in parts.

        Args:
            sentences: the texts; one or several.
            beam: width of the search, 4 if not given here or to ``from_pretrained``.
            verbose: log the hypotheses.
            kwargs: options of the search, such as ``gnmt_alpha``.

        Returns:
            The translation, or a list of them; of an empty text an empty one.

        Raises:
            UserError: what is given is no text, or an option does not exist.
        """
        lines = _texts(sentences)
        if isinstance(lines, str):
            return self.translate([lines], beam, verbose, **kwargs)[0]
        search = partial(self._translate, beam=beam, verbose=verbose, **kwargs)
        lines = map(cleaned, lines)
        return [*chain(*translate_lines(lines, search, self._sentences, buffer_lines=1000))]

    def sample(
        self, sentences: str | Sequence[str], beam: int = 1, verbose: bool = False, **kwargs: Any
    ) -> Any:
        """Translate sentences, which are not looked for in the text; the search is greedy.

        Arguments and result are those of :meth:`translate`.
        """
        lines = _texts(sentences)
        if isinstance(lines, str):
            return self.sample([lines], beam, verbose, **kwargs)[0]
        return self._translate([*map(cleaned, lines)], beam=beam, verbose=verbose, **kwargs)

    def _translate(self, sentences: Sequence[str], **search: Any) -> list[str]:
        def translated(parts: list[list[str]]) -> list[str]:
            found = self.generate([self._tokens(" ".join(part)) for part in parts], **search)
            return [self.decode(hypotheses[0]["tokens"]) for hypotheses in found]

        pieces = [self.apply_bpe(self.tokenize(sentence)).split() for sentence in sentences]
        return in_parts(pieces, self._longest, translated)

    def encode(self, sentence: str) -> Tensor:
        """The tokens ``[S]`` of a source sentence, with the tag of the target language if the model
        has several, and the end of sentence; cleaned as for training."""
        return self._tokens(self.apply_bpe(self.tokenize(cleaned(sentence))))

    def _tokens(self, pieces: str) -> Tensor:
        return self.binarize(" ".join([*self._tag, pieces]))

    def score(
        self,
        sentences: str | Sequence[str],
        translations: str | Sequence[str] | None = None,
        **kwargs: Any,
    ) -> Any:
        """Score translations: their log probabilities.

        Args:
            sentences: the source; one or several.
            translations: as many.
            kwargs: ``print_alignment="hard"`` for an alignment.

        Returns:
            A :data:`Hypothesis`, or a list of them: ``positional_scores`` has the log probability
            of each piece and of the end of sentence, ``score`` their mean.

        Raises:
            UserError: the translations are missing, or of another number.
        """
        if translations is None:
            raise UserError("a translation is scored: score(sentences, translations)")
        sources, targets = _texts(sentences), _texts(translations)
        if isinstance(sources, str) and isinstance(targets, str):
            return self.score([sources], [targets], **kwargs)[0]
        if str in (type(sources), type(targets)) or len(sources) != len(targets):
            raise UserError("score needs as many translations as sentences")
        self._check_search(kwargs)
        encoded = [*map(self.encode, sources)], [*map(self._target, targets)]
        sizes = [[len(tokens) for tokens in side] for side in encoded]
        dataset = LanguagePairDataset(
            encoded[0], sizes[0], self.src_dict, encoded[1], sizes[1], self.tgt_dict
        )
        scorer = self.task.build_generator(self.models, Namespace(score_reference=True, **kwargs))
        found: dict[int, Hypothesis] = {}
        for batch in self._batches(dataset, ordered(dataset)):
            scored = self.task.inference_step(scorer, self.models, batch)
            found |= zip(batch["id"].tolist(), (best for [best] in scored), strict=True)
        return [found[number] for number in range(len(sources))]

    def _target(self, sentence: str) -> Tensor:
        pieces = self.apply_bpe(self.tokenize(cleaned(sentence)))
        return self.tgt_dict.encode_line(pieces, add_if_not_exist=False).long()


def _texts(given: Any) -> Any:
    """A text, or several as a list.

    Raises:
        UserError: it is something else.
    """
    if isinstance(given, str):
        return given
    found = [*given] if hasattr(given, "__iter__") else [given]
    for text in found:
        if not isinstance(text, str):
            raise UserError(f"a text or a list of texts is needed, not {text!r:.80}")
    return found
