"""Dictionaries, sentencepiece models, and the tags of target languages."""

import re
from collections.abc import Iterable
from pathlib import Path

from fairseq.data import Dictionary
from sentencepiece import SentencePieceProcessor

from nmt_moe.common.errors import UserError
from nmt_moe.common.languages import same
from nmt_moe.corpus.wordpieces import model as wordpieces
from nmt_moe.trained.folder import WORDPIECES

TAG = re.compile(r"<2(\w+)>")
"""The source piece that asks for a language, see ``corpus.multilingual``."""


def dictionary_files(folders: Iterable[Path], names: list[str]) -> list[Path]:
    """The files of these names in the first folder that holds all of them.

    Raises:
        UserError: there is no such folder.
    """
    folders = list(folders)
    for folder in folders:
        files = [folder / name for name in names]
        if all(file.is_file() for file in files):
            return files
    raise UserError(
        f"neither {' nor '.join(map(str, folders))} holds {' and '.join(names)}: copy them beside "
        "the checkpoint, from the folder that fairseq-preprocess has written"
    )


def read_dictionary(path: Path) -> Dictionary:
    """Read a dictionary that ``fairseq-preprocess`` has written.

    Raises:
        UserError: the file is no dictionary.
    """
    try:
        return Dictionary.load(str(path))
    except Exception as error:  # fairseq raises it bare where the file is not UTF-8
        raise UserError(f"{path} is no dictionary of fairseq: {error}") from None


def read_wordpieces(
    given: Path | None, checkpoint: Path, words: Dictionary, file: Path
) -> SentencePieceProcessor:
    """Read the sentencepiece model that belongs to a dictionary.

    Args:
        given: its file; None: the one beside the checkpoint.
        checkpoint: the file of the checkpoint.
        words: the dictionary.
        file: where the dictionary was read from, for the message.

    Raises:
        UserError: there is no such file, or it is of another vocabulary.
    """
    path = given or checkpoint.parent / WORDPIECES
    if not given and not path.is_file():
        raise UserError(
            f"there is no {path}: copy the sentencepiece model of the training there, or name it "
            "with --sentencepiece-model; text in words or other pieces goes through "
            "fairseq-interactive or LSTMMoEModel.from_pretrained"
        )
    pieces = wordpieces.load(path)
    known = {pieces.id_to_piece(number) for number in range(pieces.get_piece_size())}
    own = [word for word in words.symbols[words.nspecial :] if not TAG.fullmatch(word)]
    if sum(word in known for word in own) < len(own) / 2:
        raise UserError(f"{path} is of another vocabulary than {file}: most pieces are not in it")
    return pieces


def choose_tag(words: Dictionary, target: str | None, trained: str) -> str | None:
    """The piece that asks for the target language, None where the model knows only one.

    Args:
        words: the dictionary of the source.
        target: the language that is asked for, if any.
        trained: the target language of the training.

    Raises:
        UserError: the model does not translate into that language, or into several and none is
            asked for.
    """
    tags = {match[1]: match[0] for match in map(TAG.fullmatch, words.symbols) if match}
    if not tags:
        if target is not None and same(target, [trained]) is None:
            raise UserError(f"the model translates into {trained} only, not into {target}")
        return None
    meant = None if target is None else same(target, tags)
    if meant is None:
        raise UserError(
            f"the model translates into {', '.join(sorted(tags))}: choose one with --target-lang"
        )
    return tags[meant]
