"""Small models of random weights with all that a report needs of them, made within a second."""

import random
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from fairseq.data import Dictionary, TruncatedDictionary, indexed_dataset
from fairseq.tasks.language_modeling import LanguageModelingTask
from torch import Tensor

from nmt_moe.corpus.wordpieces import model as wordpieces
from nmt_moe.models.architectures import TRANSLATION, config
from nmt_moe.models.language_model import LSTMMoELanguageModel
from nmt_moe.models.translation import LSTMMoEModel
from nmt_moe.report.experts.data import Data, Pair
from nmt_moe.tasks.gnmt_translation import GNMTTranslationConfig, GNMTTranslationTask
from nmt_moe.trained import TrainedModel

WORDS = "red blue green big small old new dog cat bird sees likes the a".split()
SMALL = dict(dim=8, lstm_cells=8, moe_experts=6, moe_k=2, moe_hidden_dim=6, dropout=0.0)


def sentences(number: int, seed: int = 0, longest: int = 9) -> list[str]:
    """Lines of very unequal lengths."""
    chance = random.Random(seed)
    return [" ".join(chance.choices(WORDS, k=chance.randint(1, longest))) for _ in range(number)]


def cut(words: Dictionary, lines: Sequence[str]) -> list[Tensor]:
    """The tokens of lines whose words are symbols of the dictionary."""
    return [words.encode_line(line, add_if_not_exist=False).long() for line in lines]


def pairs(words: Dictionary, number: int, seed: int = 0) -> list[Pair]:
    """Sentence pairs of unequal lengths on both sides."""
    return list(zip(
        cut(words, sentences(number, seed)), cut(words, sentences(number, seed + 1)), strict=True
    ))  # fmt: skip


def data_of(found: Sequence[Pair], name: str = "some text") -> Data:
    return Data(name, len(found), found)


def dictionary() -> Dictionary:
    words = Dictionary()
    for word in WORDS:
        words.add_symbol(word)
    return words


def with_random_gates(model: Any) -> Any:
    """New gates are zero, and all experts of one weight."""
    for name, parameter in model.named_parameters():
        if ".gate." in name and not name.endswith(".threshold"):
            torch.nn.init.normal_(parameter)
    return model


def random_model(arch: str = "lstm_moe", **options: Any) -> TrainedModel:
    """A model that is nowhere on disk, in float64, of two dictionaries of the same words.

    In float64 what it computes does not depend on the batch that a sentence is in.
    """
    torch.manual_seed(0)
    cfg = config(arch, SMALL | options)
    words = dictionary()
    translates = arch in TRANSLATION
    task = _task(translates, words)
    model = _class(translates).build_model(cfg, task)
    return TrainedModel(
        path=Path("random.pt"),
        cfg=SimpleNamespace(model=cfg, task=_task_options(translates)),
        updates=0,
        task=task,
        models=[with_random_gates(model).double().eval()],
        languages=("en", "xx") if translates else None,
        dictionaries=[],
        device=torch.device("cpu"),
    )


def _task(translates: bool, words: Dictionary) -> Any:
    if not translates:
        return LanguageModelingTask(SimpleNamespace(), words)
    return GNMTTranslationTask(
        GNMTTranslationConfig(source_lang="en", target_lang="xx"), words, words
    )


def _class(translates: bool) -> Any:
    return LSTMMoEModel if translates else LSTMMoELanguageModel


def _task_options(translates: bool, data: str = "") -> SimpleNamespace:
    if translates:
        return SimpleNamespace(
            _name="translation", data=data, source_lang="en", target_lang="xx",
            max_source_positions=60, max_target_positions=60,
        )  # fmt: skip
    return SimpleNamespace(
        _name="language_modeling", data=data, tokens_per_sample=60, output_dictionary_size=-1
    )


def write_vocabulary(folder: Path, names: Sequence[str], *symbols: str) -> Dictionary:
    """``sentencepiece.model`` and a dictionary file for each name, with further symbols."""
    text = folder / "vocabulary.txt"
    text.write_text("".join(f"{line}.\n" for line in sentences(300)))
    wordpieces.train([text], folder / "pieces", 70)
    (folder / "pieces.model").rename(folder / "sentencepiece.model")
    lines = (folder / "pieces.dict.txt").read_text()
    lines += "".join(f"{symbol} 1\n" for symbol in symbols)
    for name in names:
        (folder / name).write_text(lines)
    return Dictionary.load(str(folder / names[0]))


def write_checkpoint(
    folder: Path,
    arch: str = "lstm_moe",
    symbols: Sequence[str] = (),
    predicted: int = -1,
    **options: Any,
) -> Path:
    """A checkpoint as fairseq-train leaves it, with what belongs beside it.

    A language model may predict the first symbols of its dictionary only.
    """
    torch.manual_seed(0)
    translates = arch in TRANSLATION
    names = ["dict.en.txt", "dict.xx.txt"] if translates else ["dict.txt"]
    words = write_vocabulary(folder, names, *symbols)
    cfg = config(arch, SMALL | options)
    task, options_of_task = _task(translates, words), _task_options(translates, f"{folder}/gone")
    if predicted > 0:
        task.output_dictionary = TruncatedDictionary(words, predicted)
        options_of_task.output_dictionary_size = predicted
    model = with_random_gates(_class(translates).build_model(cfg, task))
    state = {
        "cfg": {
            "model": {name: getattr(value, "value", value) for name, value in asdict(cfg).items()}
            | {"_name": arch},
            "task": vars(options_of_task),
        },
        "model": model.state_dict(),
        "optimizer_history": [{"num_updates": 123}],
    }
    torch.save(state, folder / "checkpoint_best.pt")
    return folder / "checkpoint_best.pt"


def write_binary(folder: Path, split: str, sides: dict[str, list[Tensor]], words: Path) -> Path:
    """A split as fairseq-preprocess writes it: ``sides`` by the end of the files' names."""
    folder.mkdir(exist_ok=True)
    for side, tokens in sides.items():
        prefix = folder / f"{split}{side}"
        builder = indexed_dataset.make_builder(f"{prefix}.bin", "mmap", vocab_size=1000)
        for line in tokens:
            builder.add_item(line)
        builder.finalize(f"{prefix}.idx")
    for file in words.glob("dict.*txt"):
        (folder / file.name).write_text(file.read_text())
    return folder
