"""A trained model with its task, dictionaries and wordpieces: for translation, or of language."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from fairseq.data import Dictionary
from fairseq.utils import split_paths
from sentencepiece import SentencePieceProcessor
from torch import Tensor

from nmt_moe.trained import folder
from nmt_moe.trained.search import BATCH_SIZE, BEAM, MAX_PIECES
from nmt_moe.trained.text import cleaned
from nmt_moe.trained.translator import Translator
from nmt_moe.trained.vocabulary import choose_tag, read_wordpieces


@dataclass(frozen=True)
class TrainedModel:
    """A model or an ensemble in evaluation mode, with its task, dictionaries and options."""

    path: Path
    """The checkpoint; in an ensemble, the first one."""
    cfg: Any
    """The options of its training, as fairseq's configuration."""
    updates: int
    task: Any
    models: list[Any]
    languages: tuple[str, str] | None
    """Source and target; None: a language model."""
    dictionaries: list[Path]
    """The files of the source and the target dictionary, or of the only one."""
    device: torch.device
    target_lang: str | None = None
    """The language that the user has chosen, where the model translates into several."""
    sentencepiece_model: Path | None = None
    """The file, where it is not beside the checkpoint."""

    @property
    def model(self) -> Any:
        """The model; of an ensemble the first."""
        return self.models[0]

    @property
    def pad(self) -> int:
        """The index of the padding symbol, the same in all dictionaries."""
        return int(self.task.target_dictionary.pad())

    @property
    def read_dictionary(self) -> Dictionary:
        """The dictionary of the decoder's input; a language model may predict fewer symbols."""
        task = self.task
        return task.target_dictionary if self.languages else task.source_dictionary

    @property
    def limits(self) -> tuple[int, int]:
        """The longest source and target in the training, in pieces."""
        cfg = self.cfg.task
        if self.languages is None:
            return cfg.tokens_per_sample, cfg.tokens_per_sample
        return cfg.max_source_positions, cfg.max_target_positions

    @property
    def source_lang(self) -> str:
        """The language that it translates from: of a model's folder of several directions the one
        that goes with the target language, otherwise that of the training."""
        about = self.path.parent / folder.ABOUT
        target = self.target_lang if about.is_file() else None
        found = target and folder.read(about.parent).source_of(target)
        return found or (self.languages or [""])[0]

    @property
    def training_data(self) -> Path:
        """The folder of the training data."""
        return Path(split_paths(self.cfg.task.data)[0])

    def wordpieces(self) -> SentencePieceProcessor:
        """The sentencepiece model that cuts text into its pieces.

        Raises:
            UserError: it is missing, or of another vocabulary.
        """
        return read_wordpieces(
            self.sentencepiece_model, self.path, self.task.source_dictionary, self.dictionaries[0]
        )

    def translator(
        self,
        beam: int = BEAM,
        batch_size: int = BATCH_SIZE,
        max_pieces: int = MAX_PIECES,
        workers: int = 1,
        gnmt_alpha: float = 0.2,
        gnmt_beta: float = 0.2,
        shortlist: str | Path | None = None,
    ) -> Translator:
        """A translator of sentences with this model, the same as ``nmt-moe translate``.

        Args:
            beam: width of the search.
            batch_size: sentences that are translated together.
            max_pieces: a longer sentence is translated in parts.
            workers: processes that search at the same time where there are several batches, on a
                CPU; they are forked from this one.
            gnmt_alpha: weight of the length normalisation.
            gnmt_beta: weight of the coverage penalty.
            shortlist: file of ``nmt-moe model shortlist``, whose pieces translations are made of.

        Raises:
            UserError: it is a language model, its sentencepiece model is missing, the target
                language is needed, a number is out of range, or the shortlist is missing or that of
                another vocabulary.
        """
        return Translator(
            self,
            beam=beam,
            batch_size=batch_size,
            max_pieces=max_pieces,
            workers=workers,
            gnmt_alpha=gnmt_alpha,
            gnmt_beta=gnmt_beta,
            shortlist=shortlist,
        )

    def tag(self) -> str | None:
        """The piece before each source sentence that selects the target language; None: there is
        only one.

        Raises:
            UserError: the model translates into several languages and none is chosen.
        """
        if self.languages is None:
            return None
        return choose_tag(self.task.source_dictionary, self.target_lang, self.languages[1])


class Encoder:
    """Converts text into the tokens that a model reads.

    Args:
        trained: the model.

    Raises:
        UserError: its sentencepiece model is missing, or the target language is needed.
    """

    def __init__(self, trained: TrainedModel) -> None:
        self._pieces = trained.wordpieces()
        self._source, self._target = trained.task.source_dictionary, trained.read_dictionary
        tag = trained.tag()
        self._tag = [tag] if tag else []

    def source(self, line: str) -> Tensor:
        """A source sentence, cleaned as for translation."""
        return self._tokens(self._source, self._tag, line)

    def target(self, line: str) -> Tensor:
        """A target sentence, or a line for a language model."""
        return self._tokens(self._target, [], line)

    def _tokens(self, words: Dictionary, first: list[str], line: str) -> Tensor:
        pieces = self._pieces.encode(cleaned(line), out_type=str)
        return torch.tensor([*map(words.index, first + pieces), words.eos()])
