"""How a model's text is cut into the pieces of its dictionary, and joined again."""

from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fairseq.data import encoders
from fairseq.registry import REGISTRIES
from sentencepiece import SentencePieceProcessor

from nmt_moe.common.errors import UserError, suggestion
from nmt_moe.corpus.wordpieces.reversible import WORD
from nmt_moe.trained.model import TrainedModel
from nmt_moe.trained.vocabulary import WORDPIECES

FOUND = "found"
"""In place of a name for ``bpe``: what belongs to the model."""
SENTENCEPIECE = "sentencepiece"
_FAIRSEQS = "sentencepiece.bpe.model"


class Wordpieces:
    """A sentencepiece model in the form of fairseq's ``--bpe``; text is joined as by ``nmt-moe
    translate``."""

    def __init__(self, model: SentencePieceProcessor) -> None:
        self.model = model

    def encode(self, text: str) -> str:
        """The pieces, with spaces between them."""
        return " ".join(self.model.encode(text, out_type=str))

    def decode(self, pieces: str) -> str:
        """The text of pieces with spaces between them."""
        return " ".join(self.model.decode_pieces(pieces.split(" ")).split())


class Pieces:
    """In place of a sentencepiece model that is missing: text that is cut already stays as it is,
    as with fairseq's other models; other text is an error."""

    def __init__(self, trained: TrainedModel) -> None:
        self.trained = trained

    def encode(self, text: str) -> str:
        """The same text.

        Raises:
            UserError: it is not in pieces of the dictionary; says where the sentencepiece model
                has to be.
        """
        words = self.trained.task.source_dictionary
        if all(piece in words for piece in text.split()):
            return text
        return Wordpieces(self.trained.wordpieces()).encode(text)

    def decode(self, pieces: str) -> str:
        """The same text."""
        return pieces


def wordpiece_file(given: str | Path | None, folder: Path) -> Path | None:
    """The sentencepiece model under fairseq's name in a folder, where no other is given."""
    if given is not None:
        return Path(given)
    fairseqs = folder / _FAIRSEQS
    return fairseqs if fairseqs.is_file() and not (folder / WORDPIECES).is_file() else None


def find_bpe(name: str | None, options: Mapping[str, Any], trained: TrainedModel) -> Any:
    """What cuts words into pieces; None: text comes in pieces of the dictionary.

    Args:
        name: as of fairseq's ``--bpe``, or :data:`FOUND`: the sentencepiece model; without one text
            has to be in pieces, or of whole words where the dictionary is.
        options: of fairseq's ``--bpe``.
        trained: the model.

    Raises:
        UserError: the sentencepiece model is of another vocabulary, or is named and missing.
    """
    if name == FOUND:
        if trained.sentencepiece_model or (trained.path.parent / WORDPIECES).is_file():
            name = SENTENCEPIECE
        else:
            return Pieces(trained) if _in_pieces(trained.task.source_dictionary) else None
    if name == SENTENCEPIECE:
        return Wordpieces(trained.wordpieces())
    return encoders.build_bpe(Namespace(bpe=name, **options))


def build_tokenizer(name: str | None, options: Mapping[str, Any], trained: TrainedModel) -> Any:
    """One of fairseq's ``--tokenizer``, for the languages of the model; None without a name."""
    source, target = trained.languages or (None, None)
    languages = {"source_lang": source, "target_lang": target} if source else {}
    return encoders.build_tokenizer(Namespace(tokenizer=name, **languages | dict(options)))


def _in_pieces(words: Any) -> bool:
    return any(word.startswith(WORD) or word.endswith("@@") for word in words.symbols)


def names_of_options(kind: str, name: str | None) -> set[str]:
    """The options of one of fairseq's ``--bpe`` or ``--tokenizer``, by its name; none of
    sentencepiece, whose options draw cuts of words at random.

    Raises:
        UserError: there is none of that name.
    """
    if name in (None, FOUND, SENTENCEPIECE):
        return set()
    known = REGISTRIES[kind]["registry"]
    if name not in known:
        raise UserError(f"there is no {kind} {name!r}: {suggestion(name, known)}")
    options = REGISTRIES[kind]["dataclass_registry"].get(name)
    return set(vars(options())) - {"_name"} if options else set()
