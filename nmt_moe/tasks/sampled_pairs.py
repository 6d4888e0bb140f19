"""A training set whose texts are cut into wordpieces anew in each epoch."""

import logging
from itertools import groupby
from random import Random
from typing import Any

import torch
from fairseq.data import Dictionary
from fairseq.data.base_wrapper_dataset import BaseWrapperDataset
from fairseq.distributed.utils import get_global_rank
from torch import Tensor

from nmt_moe.common.errors import UserError
from nmt_moe.corpus.wordpieces.sampling import Sampler

_LOGGER = logging.getLogger(__name__)


class SampledPairs(BaseWrapperDataset):
    """Pairs of sentences with other pieces in each epoch.

    What is drawn depends on the seed, the epoch and the sentence alone: not on the batches, the
    processes, or where a training went on. Batches are planned by the lengths of the pieces that
    the data has. What is no piece of the model, such as a tag of a language, stays where it is. A
    sentence keeps its own pieces where others would be more than the limit or are not in the
    dictionary.

    Args:
        pairs: of fairseq, in pieces of the sampler's model.
        sampler: cuts text.
        seed: of the training.
        limits: the most pieces of source and target.

    Raises:
        UserError: the pieces are those of another model.
    """

    def __init__(self, pairs: Any, sampler: Sampler, seed: int, limits: tuple[int, int]) -> None:
        super().__init__(pairs)
        self.sampler, self.seed, self.epoch = sampler, seed, 1
        self.sides = {
            "source": _Side(pairs.src_dict, sampler, limits[0]),
            "target": _Side(pairs.tgt_dict, sampler, limits[1]),
        }

    def __getitem__(self, index: int) -> dict[str, Any]:
        """An example of fairseq's, with sampled pieces."""
        example = dict(self.dataset[index])
        chance = Random(f"{self.seed} {self.epoch} {index}")
        for name, side in self.sides.items():
            if example[name] is not None:
                example[name] = side.cut(example[name], chance)
        return example

    @property
    def can_reuse_epoch_itr_across_epochs(self) -> bool:
        """No: each epoch has other pieces."""
        return False

    def set_epoch(self, epoch: int) -> None:
        """Begin an epoch."""
        super().set_epoch(epoch)
        self.epoch = epoch


class _Side:
    """The pieces of one language."""

    def __init__(self, words: Dictionary, sampler: Sampler, limit: int) -> None:
        self.words, self.sampler, self.limit = words, sampler, limit
        own = words.symbols[words.nspecial :]
        self.known = [False] * words.nspecial + [word in sampler.scores for word in own]
        there = sum(word in sampler.scores or word in sampler.others for word in own)
        if 2 * there < len(own):
            raise UserError(
                f"{sampler.path} has {there:,} of the {len(own):,} pieces of the dictionary: give "
                "the model that cut the text (--sentencepiece-model)"
            )
        missing = sampler.scores.keys() - words.indices.keys()
        if missing and get_global_rank() == 0:
            _LOGGER.warning(
                f"the dictionary lacks {len(missing):,} pieces of {sampler.path}: sentences keep "
                "their own pieces where one of these is drawn. Give fairseq-preprocess the model's "
                "whole dictionary (--srcdict)"
            )

    def cut(self, numbers_S: Tensor, chance: Random) -> Tensor:
        """The numbers of other pieces of the same text, or these."""
        found: list[int] = []
        for known, run in groupby(numbers_S.tolist(), key=self.known.__getitem__):
            if not known:
                found += run
                continue
            text = "".join(self.words.symbols[number] for number in run)
            for piece in self.sampler.cut(text, chance):
                if piece not in self.words.indices:
                    return numbers_S
                found.append(self.words.indices[piece])
        return numbers_S if len(found) > self.limit else torch.tensor(found).type_as(numbers_S)
