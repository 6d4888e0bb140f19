"""A training's state as plain types that ``torch.load`` reads without running code.

fairseq saves whatever a task, criterion, schedule, optimizer or meter has in its state: BLEU's
counts, for example, are numpy arrays. Such a file would be written without an error, and no safe
reader could load it. Here the state is converted to tensors, numbers, text and containers of these
before it is written.
"""

import io
from argparse import Namespace
from collections import Counter, OrderedDict, deque
from enum import Enum
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig, ListConfig, OmegaConf

from nmt_moe.common.errors import UserError

_KIND = "moe_plain"
"""The key that marks what :func:`restored` makes again: its kind, beside its ``value``."""

_LEAVES = {
    *(type(None), bool, int, float, complex, str, bytes, bytearray),
    *(torch.Tensor, torch.nn.Parameter, torch.Size, torch.dtype, torch.device),
}
_BASES: tuple[Any, ...] = (int, float, complex, bytes, dict, list, tuple, set)


def _allow() -> None:
    """Allow ``torch.load`` to read more classes that run no code: the options of fairseq's older
    parts, and numpy's arrays, numbers and types, which checkpoints from before this module contain.
    """
    dtypes = {name: kind for name, kind in vars(np.dtypes).items() if name.endswith("DType")}
    del dtypes["ObjectDType"]
    # An empty array's content is written as a call of bytes.
    allowed: list[Any] = [Namespace, bytes, np.ndarray, np.dtype, *dtypes.values()]
    makers: list[Any] = [np.empty(0).__reduce__()[0], np.float64().__reduce__()[0]]
    for function in makers:
        for module in ("numpy.core", "numpy._core"):  # before numpy 2, and since
            allowed.append((function, f"{module}.multiarray.{function.__name__}"))
    torch.serialization.add_safe_globals(allowed)


def plain(state: Any) -> Any:
    """Convert a state to types that any torch can load; what is plain already is not copied.

    An instance of a subclass of a number, text or container becomes an equal instance of the base
    class. Arrays, deques and paths are marked, for :func:`restored`.

    Raises:
        UserError: an object cannot be converted; names its place in the state and its class.
    """
    return _plain(state, "")


def _plain(value: Any, place: str) -> Any:
    kind = type(value)
    if kind in _LEAVES:
        return value
    if kind in (dict, OrderedDict, Counter):
        return _dictionary(value, place)
    if kind is Namespace:
        held = _dictionary(vars(value), place)
        return value if held is vars(value) else Namespace(**held)
    if kind in (list, tuple, set):
        items = [_plain(item, _join(place, _name(i, item))) for i, item in enumerate(value)]
        same = all(new is old for new, old in zip(items, value, strict=True))
        return value if same else kind(items)
    simpler = _simpler(value)
    if simpler is value:
        if kind is not np.ndarray and kind in torch.serialization.get_safe_globals():
            return value  # a plugin has said so
        raise _refused(value, place)
    return _plain(simpler, place)


def _refused(value: Any, place: str) -> UserError:
    return UserError(
        f"{place or 'the state'} of this training is an object of class {_class(value)}, with "
        "which no checkpoint could be read again, so none was written: let the state_dict() "
        "that it comes from hold tensors, numbers, text, and lists and dictionaries of them"
    )


def _dictionary(held: dict, place: str) -> dict:
    items = [
        (_key(key, place), _plain(value, _join(place, str(key)))) for key, value in held.items()
    ]
    pairs = zip(items, held.items(), strict=True)
    if all(key is name and value is old for (key, value), (name, old) in pairs):
        return held
    return type(held)(items) if type(held) is not Counter else Counter(dict(items))


def _key(key: Any, place: str) -> Any:
    simpler = _plain(key, _join(place, "a key"))
    if isinstance(simpler, dict):  # marked, which is no key
        raise _refused(key, _join(place, "a key"))
    return simpler


def _simpler(value: Any) -> Any:
    """The same in terms that are nearer to plain ones; the value itself if there are none."""
    if isinstance(value, np.generic):
        item = value.item()
        return item if type(item) in _LEAVES else _marked("numpy", _saved(value))
    if type(value) in (np.ndarray, np.memmap) and not value.dtype.hasobject:
        return _marked("numpy", _saved(value))
    if isinstance(value, np.dtype) and not value.hasobject:
        return _marked("dtype", _saved(np.empty(0, value)))
    if type(value) is deque:
        return _marked("deque", [list(value), value.maxlen])
    if isinstance(value, PurePath):
        return _marked("path", str(value))
    if isinstance(value, DictConfig | ListConfig):
        return OmegaConf.to_container(value)
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, frozenset):
        return set(value)
    for base in _BASES:
        if isinstance(value, base):
            return base(value)
    if isinstance(value, Enum) and value == value.value:
        return value.value
    return value


def restored(state: Any) -> Any:
    """Restore the arrays, deques and paths that :func:`plain` has marked, in place."""
    if isinstance(state, dict) and state.keys() == {_KIND, "value"}:
        value = restored(state["value"])
        match state[_KIND]:
            case "numpy":
                return _loaded(value)
            case "dtype":
                return _loaded(value).dtype
            case "deque":
                return deque(*value)
            case "path":
                return Path(value)
    if isinstance(state, DictConfig):
        options = restored(OmegaConf.to_container(state))
        return OmegaConf.create(options, flags={"allow_objects": True})
    if isinstance(state, Namespace):
        restored(vars(state))
    elif isinstance(state, dict):
        for key, value in state.items():
            state[key] = restored(value)
    elif isinstance(state, list):
        state[:] = map(restored, state)
    elif type(state) is tuple:
        return tuple(map(restored, state))
    return state


def _marked(kind: str, value: Any) -> dict[str, Any]:
    return {_KIND: kind, "value": value}


def _saved(array: Any) -> torch.Tensor:
    """The output of ``numpy.save``, with type and shape, as bytes."""
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return torch.frombuffer(bytearray(file.getvalue()), dtype=torch.uint8)


def _loaded(content: torch.Tensor) -> np.ndarray:
    return np.load(io.BytesIO(content.numpy().tobytes()), allow_pickle=False)


def _join(place: str, name: str) -> str:
    return f"{place}/{name}" if place else name


def _name(number: int, item: Any) -> str:
    """The number of an item, or the name of a meter: fairseq has (priority, name, class, state)."""
    named = isinstance(item, tuple) and len(item) == 4 and isinstance(item[1], str)
    return item[1] if named else str(number)


def _class(value: Any) -> str:
    kind = value if isinstance(value, type) else type(value)
    what = f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")
    if isinstance(value, np.ndarray):
        return f"{what} of type {value.dtype}"
    name = getattr(value, "__qualname__", None)
    return f"{what} ({name})" if name and not isinstance(value, type) else what


_allow()
