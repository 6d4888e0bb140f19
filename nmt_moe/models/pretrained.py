"""Embeddings from a file of vectors, in the text format of word2vec, fastText and fairseq."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nmt_moe.common.errors import UserError
from nmt_moe.common.ranges import name_of

_LOGGER = logging.getLogger(__name__)


@torch.no_grad()
def prepare(embedding: nn.Embedding, words: Any, cfg: Any, side: str) -> None:
    """Do with an embedding what ``--SIDE-embed-path`` and ``--SIDE-freeze-embed`` say.

    The matrix gets the vectors divided by the factor of :func:`nmt_moe.models.embedding.embed`, so
    that the LSTM reads those of the file. A word without a vector keeps its random one.

    Args:
        embedding: of the words, with zeros for padding.
        words: the dictionary.
        cfg: the model's options.
        side: ``encoder`` or ``decoder``.

    Raises:
        UserError: the file cannot be read, has vectors of another width, or none of these words.
    """
    path = getattr(cfg, f"{side}_embed_path")
    if path and not embedding.weight.is_meta:
        option = f"{name_of(f'{side}_embed_path')} {path}"
        found = 0
        for word, vector_D in _vectors(Path(path), embedding.embedding_dim, option):
            number = words.index(word)
            if words[number] == word and number != words.pad():
                embedding.weight[number] = vector_D / embedding.embedding_dim**0.5
                found += 1
        if not found:
            raise UserError(f"{option} has a vector of none of the {len(words):,} words")
        _LOGGER.info(f"{option}: vectors of {found:,} of {len(words):,} words")
    if getattr(cfg, f"{side}_freeze_embed"):
        embedding.weight.requires_grad = False


def _vectors(path: Path, dim: int, option: str) -> Iterator[tuple[str, Tensor]]:
    """The words of a file with their vectors; a first line of two numbers is its size."""
    try:
        with path.open(encoding="utf-8", errors="replace", newline="\n") as lines:
            for number, line in enumerate(lines, start=1):
                if number == 1:
                    first = line.split()
                    width = int(first[1]) if _is_size(first) else len(first) - 1
                    if width != dim:
                        raise UserError(
                            f"{option} has vectors of {width} numbers, and the model is {dim} "
                            f"wide: give --dim {width}, or other vectors"
                        )
                    if _is_size(first):
                        continue
                word, *numbers = line.rstrip().rsplit(" ", dim)  # a word may have a space in it
                try:
                    vector_D = torch.tensor([float(text) for text in numbers])
                except ValueError:
                    vector_D = torch.empty(0)
                if len(vector_D) != dim or not vector_D.isfinite().all():
                    raise UserError(f"{option}, line {number}: no word and {dim} numbers")
                yield word, vector_D
    except OSError as error:
        raise UserError(f"{option} cannot be read: {error.strerror}") from error


def _is_size(first: list[str]) -> bool:
    return len(first) == 2 and all(text.isdecimal() for text in first)
