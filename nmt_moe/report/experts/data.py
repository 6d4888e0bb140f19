"""The sentences of a report: a folder of ``fairseq-preprocess``, or text with its references."""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fairseq.data.data_utils import load_indexed_dataset
from torch import Tensor

from nmt_moe.common.errors import UserError
from nmt_moe.common.lines import read_lines, read_pairs
from nmt_moe.fairseq_fixes import errors
from nmt_moe.trained.model import Encoder, TrainedModel
from nmt_moe.trained.text import cleaned
from nmt_moe.trained.vocabulary import TAG, read_dictionary

_TRANSLATED = 1000  # sentences that are translated together
Pair = tuple[Tensor | None, Tensor]
"""The tokens of source and target, with their ends; a language model has no source."""


@dataclass(frozen=True)
class Data:
    """Sentences in their order."""

    name: str
    size: int
    pairs: Iterable[Pair]
    """Read when they are needed, and once."""
    labels: Path | None = None
    """A file with a label for each, where there is one beside the text."""


def find(paths: list[Path], split: str | None, trained: TrainedModel) -> Data:
    """Find the data that a user names.

    Args:
        paths: a folder, or one or two text files; without references, the targets are the model's
            own translations.
        split: ``train``, ``valid`` or ``test`` in a folder; None: the test set if there is one,
            else the validation set.
        trained: the model that reads it.

    Raises:
        UserError: the data is missing or damaged, of another vocabulary, or not aligned.
    """
    missing = next((path for path in paths if not path.exists()), None)
    if missing:
        raise UserError(f"there is no {missing}: name a folder of fairseq-preprocess, or text")
    if paths[0].is_dir():
        if len(paths) > 1:
            raise UserError(f"{paths[0]} is a folder and holds both sides: leave out {paths[1]}")
        return _binary(paths[0], split, trained)
    if split:
        raise UserError(f"--split is for a folder of fairseq-preprocess: {paths[0]} is a file")
    if trained.languages is None and len(paths) > 1:
        raise UserError(f"a language model reads one text: leave out {paths[1]}")
    folder = next((path for path in paths if path.is_dir()), None)
    if folder:
        raise UserError(f"{folder} is a folder: name the file with the references of {paths[0]}")
    return _text(paths, trained)


def _binary(folder: Path, split: str | None, trained: TrainedModel) -> Data:
    _check_vocabulary(folder, trained)
    splits = [split] if split else ["test", "valid"]
    for name in splits:
        sides = _sides(folder, name, trained)
        if sides:
            if len({len(side) for side in sides}) > 1:
                raise _damaged(folder / name)
            return Data(str(folder / name), len(sides[0]), _items(sides))
    between = "" if trained.languages is None else f" of {'-'.join(trained.languages)}"
    raise UserError(f"{folder} holds no {' or '.join(splits)} set{between}: choose with --split")


def _sides(folder: Path, split: str, trained: TrainedModel) -> list[Any]:
    """The datasets of the split, in both files where the model translates; empty if they are
    missing."""
    if trained.languages is None:
        prefixes = [[folder / split]]
    else:
        source, target = trained.languages
        # One folder serves both directions.
        names = [f"{split}.{source}-{target}", f"{split}.{target}-{source}"]
        prefixes = [[folder / f"{name}.{side}" for side in trained.languages] for name in names]
    for files in prefixes:
        found = _opened(files)
        if all(dataset is not None for dataset in found):
            return found
    return []


def _opened(files: list[Path]) -> list[Any]:
    # A dataset of fairseq that could not be opened complains once more when it is deleted.
    with errors.ignored_in_garbage():
        try:
            found = [load_indexed_dataset(str(file)) for file in files]
            for dataset in found:
                if dataset:  # the end of a file that is cut off
                    dataset[len(dataset) - 1]
            return found
        except Exception:  # there is no one error for what cannot be read
            damaged = _damaged(files[0].with_suffix(""))
    raise damaged


def _damaged(prefix: Path) -> UserError:
    return UserError(f"{prefix}.* are damaged or incomplete: run fairseq-preprocess again")


def _items(sides: list[Any]) -> Iterator[Pair]:
    *source, target = sides
    for number in range(len(target)):
        yield source[0][number].long() if source else None, target[number].long()


def _check_vocabulary(folder: Path, trained: TrainedModel) -> None:
    words = (trained.task.source_dictionary, trained.task.target_dictionary)
    for own, file in zip(words, trained.dictionaries, strict=False):
        there = folder / file.name
        if not there.is_file():
            raise UserError(
                f"{folder} holds no {file.name}: it is no folder of fairseq-preprocess for this "
                "model"
            )
        if read_dictionary(there).symbols != own.symbols:
            raise UserError(
                f"{folder} has another vocabulary than the checkpoint: {there} differs from "
                f"{file}; name the data of its training, or text"
            )


def _text(paths: list[Path], trained: TrainedModel) -> Data:
    lines = read_pairs(*paths) if len(paths) == 2 else read_lines(paths[0])
    # A first look finds what cannot be read before it has cost any time.
    size = sum(1 for _ in lines)
    encoder = Encoder(trained)
    if len(paths) == 2:
        pairs = _parallel(paths, encoder)
    elif trained.languages is None:
        pairs = _monolingual(paths[0], encoder)
    else:
        pairs = _translated(paths[0], encoder, trained)
    return Data(str(paths[0]), size, pairs, _labels_beside(paths[0]))


def _labels_beside(source: Path) -> Path | None:
    """The file ``test.domain`` of ``test.en``."""
    plain = source.with_suffix("") if source.suffix == ".gz" else source
    labels = plain.with_suffix(".domain")
    return labels if labels.is_file() else None


def _parallel(paths: list[Path], encoder: Encoder) -> Iterator[Pair]:
    for source, target in read_pairs(*paths):
        yield encoder.source(source), encoder.target(target)


def _monolingual(path: Path, encoder: Encoder) -> Iterator[Pair]:
    for line in read_lines(path):
        yield None, encoder.target(line)


def _translated(path: Path, encoder: Encoder, trained: TrainedModel) -> Iterator[Pair]:
    translator = trained.translator()
    lines = read_lines(path)
    while some := [cleaned(line) for line in itertools.islice(lines, _TRANSLATED)]:
        for source, target in zip(some, translator(some), strict=True):
            yield encoder.source(source), encoder.target(target)


def labelled(
    data: Data, labels: Path | None, trained: TrainedModel
) -> Iterator[tuple[Pair, str | None]]:
    """The sentences with their labels, or with None where there are none.

    Args:
        data: the sentences.
        labels: a file with one label per line; None: the target languages, where sources begin with
            a tag.
        trained: the model that reads them.

    Raises:
        UserError: the file cannot be read, or has not one label for each sentence.
    """
    if labels:
        size = sum(1 for _ in read_lines(labels))
        if size != data.size:
            raise UserError(
                f"{labels} has {size:,} labels, {data.name} has {data.size:,} sentences: line n "
                "must be the label of sentence n"
            )
        return zip(data.pairs, read_lines(labels), strict=True)
    symbols = trained.task.source_dictionary.symbols
    tagged = trained.languages is not None and any(map(TAG.fullmatch, symbols))
    return ((pair, _language(pair[0], symbols) if tagged else None) for pair in data.pairs)


def _language(source: Tensor | None, symbols: list[str]) -> str:
    tag = None if source is None else TAG.fullmatch(symbols[source[0]])
    return tag[1] if tag else "no tag"
