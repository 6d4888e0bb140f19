"""A trained model with its task, dictionaries and wordpieces: for translation, or of language."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from fairseq.data import Dictionary, TruncatedDictionary
from fairseq.data.data_utils import infer_language_pair
from fairseq.tasks.language_modeling import LanguageModelingTask
from fairseq.utils import split_paths
from sentencepiece import SentencePieceProcessor
from torch import Tensor

from nmt_moe.common.errors import UserError
from nmt_moe.models.architectures import LANGUAGE, TRANSLATION
from nmt_moe.tasks.gnmt_translation import GNMTTranslationConfig, GNMTTranslationTask
from nmt_moe.trained import load
from nmt_moe.trained.model import Translator
from nmt_moe.translate.text import cleaned


@dataclass(frozen=True)
class Options:
    """What the user says of a model that its files do not."""

    source_lang: str | None
    target_lang: str | None
    sentencepiece_model: Path | None
    device: torch.device


@dataclass(frozen=True)
class Trained:
    """A model in evaluation mode and what belongs to it."""

    path: Path
    cfg: Any
    """The options of its training, as fairseq has them."""
    updates: int
    task: Any
    model: Any
    languages: tuple[str, str] | None
    """Source and target; None: a language model."""
    dictionaries: list[Path]
    """The files of the source and the target dictionary, or of the only one."""
    options: Options

    @property
    def pad(self) -> int:
        """The number of the padding symbol, in all dictionaries."""
        return int(self.task.target_dictionary.pad())

    @property
    def read_dictionary(self) -> Dictionary:
        """Of what the decoder reads; a language model may predict fewer symbols."""
        task = self.task
        return task.target_dictionary if self.languages else task.source_dictionary

    @property
    def limits(self) -> tuple[int, int]:
        """The pieces of the longest source and target that the training took."""
        cfg = self.cfg.task
        if self.languages is None:
            return cfg.tokens_per_sample, cfg.tokens_per_sample
        return cfg.max_source_positions, cfg.max_target_positions

    @property
    def training_data(self) -> Path:
        """The folder that it was trained on."""
        return Path(split_paths(self.cfg.task.data)[0])

    def wordpieces(self) -> SentencePieceProcessor:
        """What cuts text into its pieces."""
        return load.read_wordpieces(
            self.options.sentencepiece_model,
            self.path,
            self.task.source_dictionary,
            self.dictionaries[0],
        )

    def translator(self) -> Translator:
        """Of sentences, with the search of ``nmt_moe.translate``."""
        return Translator(
            self.task,
            [self.model],
            self.wordpieces(),
            beam=4,
            batch_size=64,
            max_pieces=150,
            device=self.options.device,
            tag=self.tag(),
        )

    def tag(self) -> str | None:
        """The piece before each source sentence, None where there is only one target language."""
        if self.languages is None:
            return None
        words = self.task.source_dictionary
        return load.choose_tag(words, self.options.target_lang, self.languages[1])


class Encoder:
    """Text as the tokens that a model reads.

    Args:
        trained: the model.

    Raises:
        UserError: it lacks its wordpieces, or does not know into which language it is to translate.
    """

    def __init__(self, trained: Trained) -> None:
        self._pieces = trained.wordpieces()
        self._source, self._target = trained.task.source_dictionary, trained.read_dictionary
        tag = trained.tag()
        self._tag = [tag] if tag else []

    def source(self, line: str) -> Tensor:
        """A source sentence, cleaned as ``nmt_moe.translate`` does."""
        return self._tokens(self._source, self._tag, line)

    def target(self, line: str) -> Tensor:
        """A target sentence, or a line for a language model."""
        return self._tokens(self._target, [], line)

    def _tokens(self, words: Dictionary, first: list[str], line: str) -> Tensor:
        pieces = self._pieces.encode(cleaned(line), out_type=str)
        return torch.tensor([*map(words.index, first + pieces), words.eos()])


def read(path: Path, data: Path | None, options: Options) -> Trained:
    """Read a checkpoint, and find its dictionaries.

    Args:
        path: of a complete checkpoint.
        data: a folder of ``fairseq-preprocess``, whose dictionaries and languages are taken where
            those of the training are gone.
        options: what the files do not say.

    Raises:
        UserError: no such file, or one that is damaged, of another kind, or has no dictionaries.
    """
    state = _read(path)
    cfg = state["cfg"]
    languages = None
    names = ["dict.txt"]
    if load.translates(cfg.task._name):
        inferred = infer_language_pair(str(data)) if data else (None, None)
        languages = load.languages_of(
            path, cfg.task, options.source_lang or inferred[0], options.target_lang or inferred[1]
        )
        names = [f"dict.{language}.txt" for language in languages]
    training = Path(split_paths(cfg.task.data)[0])
    files = _dictionary_files([path.parent, training, *([data] if data else [])], names)
    task = _task(cfg.task, languages, list(map(load.read_dictionary, files)))
    model = load.read_model(path, state, task, files)
    return Trained(
        path=path,
        cfg=cfg,
        updates=int(state["optimizer_history"][-1]["num_updates"]),
        task=task,
        model=model.eval().to(options.device),
        languages=languages,
        dictionaries=files,
        options=options,
    )


def _read(path: Path) -> dict[str, Any]:
    state = load.read_state(path)
    arch, task = state["cfg"].model._name, state["cfg"].task._name
    if arch not in TRANSLATION | LANGUAGE:
        raise UserError(f"{path} is of --arch {arch}, which is none of this package")
    if not (load.translates(task) or task == "language_modeling"):
        raise UserError(f"{path} was trained with --task {task}: a report knows translation and "
                        "language_modeling")  # fmt: skip
    return state


def _dictionary_files(folders: list[Path], names: list[str]) -> list[Path]:
    files = load.find_together(folders, names)
    if not files:
        raise UserError(
            f"there is no {' and '.join(names)} in {' or '.join(map(str, folders))}: copy them "
            "beside the checkpoint, from the folder that fairseq-preprocess has written"
        )
    return files


def _task(trained: Any, languages: tuple[str, str] | None, words: list[Dictionary]) -> Any:
    if languages is None:
        [read] = words
        size = trained.output_dictionary_size
        return LanguageModelingTask(
            trained, read, TruncatedDictionary(read, size) if size >= 0 else read
        )
    cfg = GNMTTranslationConfig(
        source_lang=languages[0],
        target_lang=languages[1],
        max_source_positions=trained.max_source_positions,
        max_target_positions=trained.max_target_positions,
    )
    return GNMTTranslationTask(cfg, *words)
