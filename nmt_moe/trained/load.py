"""A trained model and all that belongs to it, from the files that a training has left.

The folder of the checkpoint holds ``dict.<source>.txt``, ``dict.<target>.txt`` and
``sentencepiece.model``; the dictionaries may lie in the folder it was trained on instead.
"""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from fairseq import checkpoint_utils
from fairseq.data import Dictionary
from fairseq.data.data_utils import infer_language_pair
from fairseq.tasks import TASK_REGISTRY
from fairseq.tasks.translation import TranslationTask
from fairseq.utils import split_paths
from omegaconf import OmegaConf
from sentencepiece import SentencePieceProcessor

from nmt_moe.checkpoint import dictionaries, parts
from nmt_moe.checkpoint import files as checkpoint_files
from nmt_moe.common.errors import UserError
from nmt_moe.common.languages import same
from nmt_moe.corpus.wordpieces import model as wordpieces
from nmt_moe.tasks.gnmt_translation import GNMTTranslationConfig, GNMTTranslationTask
from nmt_moe.trained.model import Translator

TAG = re.compile(r"<2(\w+)>")
"""The source piece that asks for a language, see ``corpus.multilingual``."""


def load(
    checkpoints: str,
    sentencepiece_model: Path | None,
    source: str | None,
    target: str | None,
    gnmt_alpha: float,
    gnmt_beta: float,
    device: torch.device,
    **options: Any,
) -> Translator:
    """Read a checkpoint, or several of the same vocabulary.

    Args:
        checkpoints: a path; several with a colon between them, as fairseq has it.
        sentencepiece_model: that of the vocabulary, where it is not beside the first checkpoint.
        source: the source language, needed where the checkpoint does not say it.
        target: the language to translate into, needed there too, and where the model knows several.
        gnmt_alpha: weight of the length normalisation.
        gnmt_beta: weight of the coverage penalty.
        device: where to translate.
        options: the other arguments of :class:`Translator`.

    Raises:
        UserError: a file that is missing, or does not belong to the others.
    """
    first, *others = map(Path, split_paths(checkpoints))
    state = _read(first)
    trained = state["cfg"].task
    languages = languages_of(first, trained, source, target)
    files = _dictionary_files(first, trained.data, languages)
    cfg = GNMTTranslationConfig(
        source_lang=languages[0],
        target_lang=languages[1],
        max_source_positions=trained.max_source_positions,
        max_target_positions=trained.max_target_positions,
        gnmt_alpha=gnmt_alpha,
        gnmt_beta=gnmt_beta,
    )
    task = GNMTTranslationTask(cfg, *map(read_dictionary, files))
    pieces = read_wordpieces(sentencepiece_model, first, task.source_dictionary, files[0])
    models = [read_model(first, state, task, files)]
    for path in others:
        state = _read(path)
        between = languages_of(path, state["cfg"].task, *languages)
        if between != languages:
            raise UserError(
                f"{path} translates {' to '.join(between)}, the first checkpoint "
                f"{' to '.join(languages)}: they cannot translate together"
            )
        _check_same(task, files, path, state["cfg"].task.data)
        models.append(read_model(path, state, task, files))
    return Translator(
        task,
        [model.eval().to(device) for model in models],
        pieces,
        device=device,
        tag=choose_tag(task.source_dictionary, target, languages[1]),
        **options,
    )


def read_state(path: Path) -> dict[str, Any]:
    """What a complete checkpoint holds, its ``cfg`` as fairseq has it.

    Raises:
        UserError: no such file, or one that is damaged, a part, or of an older fairseq.
    """
    if path.is_dir():
        raise UserError(f"{path} is a folder: name a file in it, such as checkpoint_best.pt")
    if not path.is_file():
        if parts.part_files(str(path)):
            raise UserError(f"{path} is there in parts: {parts.MERGE}")
        raise UserError(f"there is no checkpoint {path}")
    state = checkpoint_files.read(str(path))
    if parts.MARK in state:
        raise UserError(f"{path} is a part of a checkpoint: {parts.MERGE}")
    if not state.get("cfg"):
        raise UserError(f"{path} is of an older fairseq: its options are in another form")
    state["cfg"] = OmegaConf.create(state["cfg"], flags={"allow_objects": True})
    return state


def _read(path: Path) -> dict[str, Any]:
    state = read_state(path)
    name = state["cfg"].task._name
    if not translates(name):
        raise UserError(
            f"{path} does not translate: its model was trained with --task {name}"
            + (", it is a language model" if name == "language_modeling" else "")
        )
    return state


def translates(task: str) -> bool:
    """Whether fairseq's task of this name is one of translation."""
    return issubclass(TASK_REGISTRY.get(task, object), TranslationTask)


def languages_of(
    path: Path, trained: Any, source: str | None, target: str | None
) -> tuple[str, str]:
    """Those of the training, where fairseq may have found them by the names of the files."""
    if trained.source_lang and trained.target_lang:
        return trained.source_lang, trained.target_lang
    data = split_paths(trained.data)[0]
    found = infer_language_pair(data) if Path(data).is_dir() else (None, None)
    first, second = (source, target) if None in found else found
    if not (first and second):
        raise UserError(
            f"{path} does not say between which languages it translates: name those of its "
            "training with --source-lang and --target-lang"
        )
    return first, second


def _dictionary_files(checkpoint: Path, data: str, languages: Iterable[str]) -> list[Path]:
    names = [f"dict.{language}.txt" for language in languages]
    folders = [checkpoint.parent, *map(Path, split_paths(data)[:1])]
    files = find_together(folders, names)
    if not files:
        raise UserError(
            f"neither {folders[0]} nor {folders[1]} holds {' and '.join(names)}: copy them beside "
            "the checkpoint, from the folder that fairseq-preprocess has written"
        )
    return files


def find_together(folders: Iterable[Path], names: list[str]) -> list[Path]:
    """These files in the first folder that holds them all; none if there is no such folder."""
    for folder in folders:
        files = [folder / name for name in names]
        if all(file.is_file() for file in files):
            return files
    return []


def _check_same(task: GNMTTranslationTask, files: list[Path], other: Path, data: str) -> None:
    """Pieces of the same number must be the same pieces; what is not there cannot be compared."""
    own = (task.source_dictionary, task.target_dictionary)
    folders = [other.parent, *map(Path, split_paths(data)[:1])]
    for words, file in zip(own, files, strict=True):
        there = next((path for path in (f / file.name for f in folders) if path.is_file()), None)
        if there and read_dictionary(there).symbols != words.symbols:
            raise UserError(
                f"{other} has another vocabulary than the first checkpoint: {there} differs from "
                f"{file}"
            )


def read_dictionary(path: Path) -> Dictionary:
    """One file, as ``fairseq-preprocess`` has written it."""
    try:
        return Dictionary.load(str(path))
    except Exception as error:  # fairseq raises it bare where the file is not UTF-8
        raise UserError(f"{path} is no dictionary of fairseq: {error}") from None


def read_wordpieces(
    given: Path | None, checkpoint: Path, words: Dictionary, file: Path
) -> SentencePieceProcessor:
    """Those given, or beside the checkpoint; they must be of the dictionary's vocabulary."""
    path = given or checkpoint.parent / "sentencepiece.model"
    if not given and not path.is_file():
        raise UserError(
            f"there is no {path}: copy the sentencepiece model of the training there, or name it "
            "with --sentencepiece-model"
        )
    pieces = wordpieces.load(path)
    known = {pieces.id_to_piece(number) for number in range(pieces.get_piece_size())}
    own = [word for word in words.symbols[words.nspecial :] if not TAG.fullmatch(word)]
    if sum(word in known for word in own) < len(own) / 2:
        raise UserError(f"{path} is of another vocabulary than {file}: most pieces are not in it")
    return pieces


def read_model(path: Path, state: dict[str, Any], task: Any, files: Sequence[Path]) -> Any:
    """The model of a checkpoint, if the task has its vocabulary.

    Args:
        path: of the checkpoint.
        state: what it holds, from :func:`read_state`.
        task: of fairseq, with the dictionaries.
        files: these, that of the source first.

    Raises:
        UserError: it was trained with others.
    """
    named = {"source": str(files[0]), "target": str(files[-1])}
    dictionaries.check(str(path), state, dictionaries.symbols_of(task), named)
    try:
        [model], _ = checkpoint_utils.load_model_ensemble([str(path)], task=task, state=state)
    except RuntimeError as error:
        if "size mismatch" not in str(error):
            raise
        raise UserError(
            f"{path} was trained with another vocabulary than the {len(task.source_dictionary):,} "
            f"pieces of {files[0]}: use the dictionaries of its own training"
        ) from None
    return model


def choose_tag(words: Dictionary, target: str | None, trained: str) -> str | None:
    """The piece that asks for the target language, None where the model knows only one."""
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
