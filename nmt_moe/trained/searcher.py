"""The search for translations of sentences, in batches, and by several workers."""

from argparse import Namespace
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from fairseq.data import FairseqDataset, data_utils
from fairseq.utils import apply_to_sample

from nmt_moe.common.errors import UserError
from nmt_moe.corpus.workers import ordered_map

BATCH_PIECES = 4000
"""Of the sources of a batch, padding included."""

Found = tuple[np.ndarray, np.ndarray]
"""The tokens of a translation, and its attention, ``[S, T]``."""


def ordered(dataset: FairseqDataset) -> np.ndarray:
    """The numbers of a dataset's sentences by their length, the same in each call."""
    with data_utils.numpy_seed(1):
        return dataset.ordered_indices()


def batches(
    dataset: FairseqDataset,
    order: np.ndarray,
    max_pieces: int,
    max_sentences: int,
    device: torch.device,
) -> Iterator[dict[str, Any]]:
    """The sentences of these numbers in batches, padding counted among their pieces."""
    for batch in dataset.batch_by_size(order, max_tokens=max_pieces, max_sentences=max_sentences):
        yield _collated(dataset, batch, device)


def _collated(
    dataset: FairseqDataset, numbers: Iterable[int], device: torch.device
) -> dict[str, Any]:
    sample = dataset.collater([dataset[number] for number in numbers])
    found: dict[str, Any] = apply_to_sample(lambda tensor: tensor.to(device), sample)
    return found


class Searcher:
    """Searches translations with models.

    Args:
        task: of the models, with the weights of the search's score.
        models: one or an ensemble, all on ``device``.
        device: theirs.
        how: the options of the search, as fairseq takes them.
        batch_size: sentences that are translated together.
        workers: processes that are forked from this one where there are several batches.

    Raises:
        UserError: several workers on a GPU.
    """

    def __init__(
        self,
        task: Any,
        models: list[Any],
        device: torch.device,
        how: Namespace,
        batch_size: int,
        workers: int,
    ) -> None:
        if workers > 1 and device.type != "cpu":
            raise UserError("several workers are for CPUs: leave --workers out")
        self._task, self._models, self._device = task, models, device
        self._generator = task.build_generator(models, how)
        self._batch_size, self._workers = batch_size, workers

    def __call__(self, tokens: list[torch.Tensor], best: int) -> list[list[Found]]:
        """The best translations of each sentence.

        Args:
            tokens: of each sentence, with its end.
            best: how many of each.
        """
        if not tokens:
            return []
        dataset = self._dataset(tokens)
        planned = dataset.batch_by_size(
            ordered(dataset),
            max_tokens=max([BATCH_PIECES, *map(len, tokens)]),
            max_sentences=self._batch_size,
        )[::-1]  # the longest first, so that workers end together
        given = [[tokens[number].numpy() for number in batch] for batch in planned]
        workers = min(self._workers, len(planned))
        search = self._search if workers == 1 else self._search_by_one_thread
        found = ordered_map(partial(search, best), given, workers)
        result: dict[int, list[Found]] = {}
        for batch, translations in zip(planned, found, strict=True):
            result.update(zip(batch, translations, strict=True))
        return [result[number] for number in range(len(tokens))]

    def _search(self, best: int, given: list[np.ndarray]) -> list[list[Found]]:
        """The translations of a batch of sentences."""
        dataset = self._dataset([torch.from_numpy(tokens) for tokens in given])
        sample = _collated(dataset, range(len(given)), self._device)
        found = self._task.inference_step(self._generator, self._models, sample)
        result: dict[int, list[Found]] = {}
        for number, translations in zip(sample["id"].tolist(), found, strict=True):
            result[number] = [
                (one["tokens"].cpu().numpy(), one["attention"].cpu().numpy())
                for one in translations[:best]
            ]
        return [result[number] for number in range(len(given))]

    def _search_by_one_thread(self, best: int, given: list[np.ndarray]) -> list[list[Found]]:
        """The same in a worker, beside which others are at work."""
        torch.set_num_threads(1)
        return self._search(best, given)

    def _dataset(self, tokens: list[torch.Tensor]) -> Any:
        return self._task.build_dataset_for_inference(tokens, list(map(len, tokens)))
