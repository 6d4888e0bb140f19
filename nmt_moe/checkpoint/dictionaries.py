"""Checksums of the dictionaries that a model was trained with.

With other dictionaries of the same size each piece would get the embedding of another one, and the
model would translate nonsense without an error.
"""

import hashlib
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from fairseq.utils import split_paths

from nmt_moe.checkpoint.record import Checkpoint
from nmt_moe.common.errors import UserError

KEY = "moe_dictionaries"
"""The key of the checksums in a checkpoint; those before this module have none."""

_logger = logging.getLogger(__name__)
_compare: Callable[[str, dict[str, Any]], None] | None = None


def symbols_of(task: Any) -> dict[str, Sequence[str]]:
    """The pieces of a task's dictionaries in their order: by language where the task has one for
    each of several, otherwise by side, ``source`` and ``target``."""
    named = getattr(task, "dicts", None)
    if not isinstance(named, Mapping):
        named = {}
        for side in ("source", "target"):
            with suppress(NotImplementedError, AttributeError, KeyError):
                named[side] = getattr(task, f"{side}_dictionary")
    return {name: words.symbols for name, words in named.items() if hasattr(words, "symbols")}


def checksums(symbols: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """The checksum of each dictionary's pieces in their order; their counts do not matter."""
    return {name: _checksum(words) for name, words in symbols.items()}


def _checksum(words: Sequence[str]) -> str:
    text = "\n".join(words).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, digest_size=16).hexdigest()


def noting(state_dict: Callable[[Any], dict[str, Any]]) -> Callable[[Any], dict[str, Any]]:
    """Wrap the ``state_dict`` of fairseq's trainer to add the checksums."""

    def state_dict_with_checksums(trainer: Any) -> dict[str, Any]:
        return state_dict(trainer) | {KEY: checksums(symbols_of(trainer.task))}

    return state_dict_with_checksums


def check(
    path: str,
    state: Mapping[str, Any],
    symbols: Mapping[str, Sequence[str]],
    files: Mapping[str, str],
) -> None:
    """Raise a :class:`UserError` if a checkpoint was trained with other dictionaries than these.

    Args:
        path: the checkpoint, for the message.
        state: its content.
        symbols: as from :func:`symbols_of`.
        files: the files of the dictionaries, for the message.
    """
    there = state.get(KEY) or {}
    for name, words in symbols.items():
        if there.get(name, own := _checksum(words)) != own:
            where = files.get(name, f"the {name} dictionary")
            raise UserError(
                f"{path} was trained with another vocabulary than the {len(words):,} pieces of "
                f"{where}, or with these in another order: use the dictionaries of its own training"
            )


def check_same(first: Checkpoint, second: Checkpoint) -> None:
    """Raise a :class:`UserError` if two checkpoints were trained with different dictionaries."""
    one, two = first.state.get(KEY) or {}, second.state.get(KEY) or {}
    for name in one.keys() & two.keys():
        if one[name] != two[name]:
            raise UserError(
                f"{first.path} and {second.path} were trained with different {name} dictionaries: "
                "a number is another piece in each, so that they do not go together"
            )


def _check_task(task: Any, path: str, state: dict[str, Any]) -> None:
    symbols = symbols_of(task)
    check(path, state, symbols, _files(task, symbols))


def _files(task: Any, names: Iterator[str] | Mapping[str, Any]) -> dict[str, str]:
    """Where the task has found its dictionaries."""
    options = getattr(task, "cfg", None) or getattr(task, "args", None)
    folder = (split_paths(getattr(options, "data", None) or "") or [""])[0]
    found = {}
    for name in names:
        language = getattr(options, f"{name}_lang", None) or name
        for file in (f"dict.{language}.txt", "dict.txt"):
            if name not in found and os.path.isfile(os.path.join(folder, file)):
                found[name] = os.path.join(folder, file)
    return found


def compare(path: str, state: dict[str, Any]) -> None:
    """Compare a checkpoint that fairseq has read with the task that reads it, where the task is
    known."""
    if _compare is not None:
        _compare(path, state)


@contextmanager
def _comparing(how: Callable[[str, dict[str, Any]], None]) -> Iterator[None]:
    global _compare
    before, _compare = _compare, how
    try:
        yield
    finally:
        _compare = before


@contextmanager
def of_training(task: Any, cfg: Any) -> Iterator[None]:
    """Compare the checkpoint that a training starts from, with the options ``cfg`` of fairseq.

    A new training that starts from the weights of another may use other dictionaries on purpose: it
    gets a warning.
    """

    def check_or_warn(path: str, state: dict[str, Any]) -> None:
        try:
            _check_task(task, path, state)
        except UserError as error:
            if not (cfg.reset_optimizer or path == cfg.finetune_from_model):
                raise
            _logger.warning(f"{error}; here each piece starts with the embedding of another one")

    with _comparing(check_or_warn):
        yield


def for_models(load: Callable[..., tuple]) -> Callable[..., tuple]:
    """Wrap fairseq's ``load_model_ensemble_and_task``, which all of its other commands call.

    Each checkpoint must have the dictionaries of the task, which may be known only afterwards.
    """

    def load_model_ensemble_and_task(
        filenames: Sequence[str],
        arg_overrides: Any = None,
        task: Any = None,
        *args: Any,
        **kwargs: Any,
    ) -> tuple:
        later = []

        def check_now_or_later(path: str, state: dict[str, Any]) -> None:
            if task is None:
                later.append((path, {KEY: state.get(KEY)}))
            else:
                _check_task(task, path, state)

        with _comparing(check_now_or_later):
            found = load(filenames, arg_overrides, task, *args, **kwargs)
        for path, state in later:
            _check_task(found[2], path, state)
        return found

    return load_model_ensemble_and_task
