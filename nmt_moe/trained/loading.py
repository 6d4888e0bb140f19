"""Loading trained models: checkpoints with the dictionaries that belong to them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from fairseq import checkpoint_utils
from fairseq.data import Dictionary, TruncatedDictionary
from fairseq.data.data_utils import infer_language_pair
from fairseq.tasks import TASK_REGISTRY
from fairseq.tasks.language_modeling import LanguageModelingTask
from fairseq.tasks.translation import TranslationTask
from fairseq.utils import split_paths
from omegaconf import OmegaConf

from nmt_moe.checkpoint import dictionaries
from nmt_moe.checkpoint.record import Checkpoint
from nmt_moe.common.errors import UserError
from nmt_moe.fairseq_fixes import threads
from nmt_moe.models import quantized
from nmt_moe.tasks.gnmt_translation import GNMTTranslationConfig, GNMTTranslationTask
from nmt_moe.trained.model import TrainedModel
from nmt_moe.trained.vocabulary import dictionary_files, read_dictionary


def load(
    *checkpoints: str | Path | Checkpoint,
    source_lang: str | None = None,
    target_lang: str | None = None,
    sentencepiece_model: Path | None = None,
    data: Path | None = None,
    device: str | torch.device = "cpu",
    int8: bool = False,
) -> TrainedModel:
    """Load a checkpoint of a translation or language model, or several as an ensemble.

    Args:
        checkpoints: complete checkpoints of one vocabulary; a string may name several with a colon
            between them, as in fairseq.
        source_lang: the source language, needed where the checkpoint does not name it.
        target_lang: the target language, needed there too; and to translate text with a model of
            several target languages.
        sentencepiece_model: the file, where it is not beside the first checkpoint.
        data: a folder of ``fairseq-preprocess`` that provides dictionaries and languages where
            those of the training are gone.
        device: where to put the models.
        int8: open translation models with weights in int8, for translating on CPUs; those that are
            packed so are in any case.

    Raises:
        UserError: a file is missing or damaged, holds another kind of model, does not belong to the
            others, or is in int8 and the device is no CPU.
    """
    threads.one_after_fork()
    first, *others = [one for given in checkpoints for one in _read(given)]
    languages, names = None, ["dict.txt"]
    if translates(first):
        languages = _languages(first, source_lang, target_lang, data)
        names = [f"dict.{language}.txt" for language in languages]
    elif int8:
        raise UserError(f"{first.path} is no translation model, and int8 is for those alone")
    elif (task_name := first.options("task").get("_name")) != "language_modeling":
        raise UserError(
            f"{first.path} was trained with --task {task_name}: models of translation and of "
            "--task language_modeling can be opened here"
        )
    files = dictionary_files([*_folders(first), *([data] if data else [])], names)
    cfg = _options(first)
    task = _task(cfg.task, languages, list(map(read_dictionary, files)))
    models = [_model(first, task, files, int8)]
    for other in others:
        _check_together(other, languages, task, files)
        models.append(_model(other, task, files, int8))
    if torch.device(device).type != "cpu" and any(getattr(one, "int8", False) for one in models):
        raise UserError(f"{first.path} is opened in int8, which is for CPUs: let the device be cpu")
    return TrainedModel(
        path=first.path,
        cfg=cfg,
        updates=first.updates,
        task=task,
        models=[model.eval().to(device) for model in models],
        languages=languages,
        dictionaries=files,
        device=torch.device(device),
        target_lang=target_lang,
        sentencepiece_model=sentencepiece_model,
    )


def _read(given: str | Path | Checkpoint) -> list[Checkpoint]:
    if isinstance(given, Checkpoint):
        return [given]
    return [*map(Checkpoint.complete, split_paths(given) if isinstance(given, str) else [given])]


def translates(checkpoint: Checkpoint) -> bool:
    """Whether the checkpoint was trained with one of fairseq's tasks of translation."""
    name = checkpoint.options("task").get("_name")
    return issubclass(TASK_REGISTRY.get(name, object), TranslationTask)


def _options(checkpoint: Checkpoint) -> Any:
    return OmegaConf.create(checkpoint.cfg, flags={"allow_objects": True})


def _folders(checkpoint: Checkpoint) -> list[Path]:
    """The folders that may hold its dictionaries: its own, and that of the training data."""
    return [
        checkpoint.path.parent,
        *map(Path, split_paths(checkpoint.options("task")["data"])[:1]),
    ]


def _languages(
    checkpoint: Checkpoint, source: str | None, target: str | None, data: Path | None
) -> tuple[str, str]:
    """The languages of the training; fairseq may have inferred them from the names of files."""
    options = checkpoint.options("task")
    first, second = options.get("source_lang"), options.get("target_lang")
    if not (first and second):
        first, second = _inferred(_folders(checkpoint)[-1])
    if not (first and second):
        inferred = _inferred(data)
        first, second = source or inferred[0], target or inferred[1]
    if not (first and second):
        raise UserError(
            f"{checkpoint.path} does not say between which languages it translates: name those of "
            "its training with --source-lang and --target-lang"
        )
    return first, second


def _inferred(folder: Path | None) -> tuple[str | None, str | None]:
    return infer_language_pair(str(folder)) if folder and folder.is_dir() else (None, None)


def _task(options: Any, languages: tuple[str, str] | None, words: list[Dictionary]) -> Any:
    if languages is None:
        [read] = words
        size = options.output_dictionary_size
        return LanguageModelingTask(
            options, read, TruncatedDictionary(read, size) if size >= 0 else read
        )
    cfg = GNMTTranslationConfig(
        source_lang=languages[0],
        target_lang=languages[1],
        max_source_positions=options.max_source_positions,
        max_target_positions=options.max_target_positions,
    )
    return GNMTTranslationTask(cfg, *words)


def _check_together(
    other: Checkpoint, languages: tuple[str, str] | None, task: Any, files: Sequence[Path]
) -> None:
    """Check that a checkpoint of an ensemble has the languages and dictionaries of the first one.

    Dictionaries that are gone cannot be compared.
    """
    between = _languages(other, *languages, None) if languages and translates(other) else None
    if between != languages:
        raise UserError(
            f"{other.path} translates {' to '.join(between or ['nothing'])}, the first checkpoint "
            f"{' to '.join(languages or ['nothing'])}: they cannot translate together"
        )
    own = (task.source_dictionary, task.target_dictionary)
    for words, file in zip(own, files, strict=False):
        there = next((f / file.name for f in _folders(other) if (f / file.name).is_file()), None)
        if there and read_dictionary(there).symbols != words.symbols:
            raise UserError(
                f"{other.path} has another vocabulary than the first checkpoint: {there} differs "
                f"from {file}"
            )


def _model(checkpoint: Checkpoint, task: Any, files: Sequence[Path], int8: bool) -> Any:
    """Build the model of a checkpoint, which must have the dictionaries of the task."""
    path, state = str(checkpoint.path), checkpoint.state | {"cfg": _options(checkpoint)}
    if int8:
        quantized.ask_for(state["cfg"].model)
    named = {"source": str(files[0]), "target": str(files[-1])}
    dictionaries.check(path, state, dictionaries.symbols_of(task), named)
    try:
        [model], _ = checkpoint_utils.load_model_ensemble([path], task=task, state=state)
    except RuntimeError as error:
        if "size mismatch" not in str(error):
            raise
        raise UserError(
            f"{path} was trained with another vocabulary than the {len(task.source_dictionary):,} "
            f"pieces of {files[0]}: use the dictionaries of its own training"
        ) from None
    return model
