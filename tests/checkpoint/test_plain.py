"""What becomes of a training's state when it is written, and that torch reads it back."""

import io
import json
import random
from argparse import Namespace
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from dataclasses import dataclass
from enum import Enum, IntEnum, StrEnum
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fairseq.dataclass.constants import DDP_BACKEND_CHOICES
from fairseq.logging.meters import AverageMeter
from omegaconf import OmegaConf

from nmt_moe.checkpoint import files
from nmt_moe.checkpoint.__main__ import main
from nmt_moe.checkpoint.plain import plain, restored
from nmt_moe.common.errors import UserError
from tests.checkpoint.test_parts import whole_state

Pair = namedtuple("Pair", "a b")


class Number(IntEnum):
    THREE = 3


class Text(StrEnum):
    A = "a"


class Bare(Enum):
    A = 3


@dataclass
class Data:
    a: int = 1


ARRAYS = [
    np.arange(6).reshape(2, 3),
    np.asfortranarray(np.ones((2, 3), np.float16)),
    np.array([True, False]),
    np.array(["ab", "c"]),
    np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]),
    np.array([2**63], np.uint64),
    np.ones(3).astype(">f4"),
    np.array([1j]),
    np.empty((0, 3)),
    np.array("2026-01-01", np.datetime64),
]
EQUAL = {
    "numbers": [np.float64(1.5), np.float32(0.1), np.int64(3), np.bool_(True), Number.THREE, 2**99],
    "text": [
        "",
        b"",
        np.str_("x"),
        Text.A,
        next(iter(DDP_BACKEND_CHOICES)),
        b"\xff\x00",
        bytearray(b"x"),
    ],
    "dictionaries": [defaultdict(int, a=1), OrderedDict(a=1), Counter("aab"), {np.int64(1): 2}],
    "lists": [Pair(1, np.int8(2)), deque([1, np.float32(2)], maxlen=4), {1, 2}, frozenset([1])],
    "types": [np.dtype("f4"), np.dtype([("a", "i4")]), torch.bfloat16, torch.Size([1, 2])],
    "others": [Path("/x/y"), Namespace(x=np.int64(2), y=Path("z")), random.Random(1).getstate()],
    "options": [OmegaConf.create({"a": [1, {"b": None}]})],
}


def written_and_read(state: Any) -> Any:
    """By a torch that knows nothing of this package but what it may read."""
    file = io.BytesIO()
    torch.save(plain(state), file)
    file.seek(0)
    return restored(torch.load(file, weights_only=True))


def test_what_is_equal_comes_back() -> None:
    assert written_and_read(EQUAL) == EQUAL
    for got, want in zip(written_and_read(ARRAYS), ARRAYS, strict=True):
        assert (got.dtype, got.shape) == (want.dtype, want.shape) and np.array_equal(got, want)
    [_, kept, *_] = written_and_read(EQUAL["lists"])
    assert isinstance(kept, deque) and kept.maxlen == 4


def test_nothing_of_a_class_is_left_in_the_file() -> None:
    """But fairseq's options of older parts, and what writes empty bytes."""
    file = io.BytesIO()
    torch.save(plain([*EQUAL.values(), ARRAYS]), file)
    file.seek(0)
    safe = torch.serialization.get_safe_globals()
    torch.serialization.clear_safe_globals()
    try:
        unsafe = torch.serialization.get_unsafe_globals_in_checkpoint(file)
    finally:
        torch.serialization.add_safe_globals(safe)
    assert set(unsafe) == {"argparse.Namespace", "builtins.bytes"}


def test_plain_states_are_not_copied() -> None:
    state = {"model": OrderedDict(w=torch.ones(2)), "history": [{"n": 1}], "cfg": Namespace(a=1)}
    assert plain(state) is state


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (Data(), "tests.checkpoint.test_plain.Data"),
        (Bare.A, "tests.checkpoint.test_plain.Bare"),
        (lambda: 0, "function"),
        (partial(int), "functools.partial"),
        (Data, "tests.checkpoint.test_plain.Data"),
        (object(), "object"),
        (np.array([Data()]), "numpy.ndarray of type object"),
        (np.ma.array([1]), "numpy.ma.MaskedArray"),
        (torch.Generator(), "torch._C.Generator"),
        (np.random.default_rng(1), "numpy.random._generator.Generator"),
    ],
)
def test_what_nothing_could_read_again_is_refused(value: Any, name: str, tmp_path: Path) -> None:
    meter = (10, "bleu", "AverageMeter", {"val": value})
    state = {"extra_state": {"metrics": OrderedDict(valid=[meter])}}
    with pytest.raises(UserError) as refused:
        plain(state)
    place, _, rest = str(refused.value).partition(" of this training is an object of class ")
    assert place == "extra_state/metrics/valid/bleu/3/val"
    assert rest.startswith(name) and "\n" not in rest
    for other in (Namespace(k=value), [0, value], deque([value])):
        with pytest.raises(UserError, match="^task_state"):
            plain({"task_state": other})
    path = tmp_path / "last.pt.tmp"
    with pytest.raises(UserError), path.open("wb") as file:
        files.write(state, file)
    assert not path.exists()


def test_a_class_that_a_plugin_calls_safe_stays() -> None:
    with torch.serialization.safe_globals([Data]):
        assert written_and_read({"a": Data(2)}) == {"a": Data(2)}


def test_numpy_in_files_that_exist_is_read() -> None:
    """As fairseq alone has written it, with numpy's own name for its functions and the other."""
    state = [{"sum": array, "count": np.float64(2)} for array in ARRAYS]
    for own, other in (
        (b"", b""),
        (b"numpy._core.", b"numpy.core."),
        (b"numpy.core.", b"numpy._core."),
    ):
        file = io.BytesIO()
        torch.save(state, file, _use_new_zipfile_serialization=False)
        content = io.BytesIO(file.getvalue().replace(own, other) if own else file.getvalue())
        for got, want in zip(torch.load(content, weights_only=True), ARRAYS, strict=True):
            assert np.array_equal(got["sum"], want) and got["count"] == 2


def test_a_meter_goes_on_as_if_nothing_had_been_written() -> None:
    """fairseq adds BLEU's counts up in arrays."""
    meter, resumed = AverageMeter(), AverageMeter()
    meter.update(np.array([3, 2, 1, 0]))
    resumed.load_state_dict(written_and_read(meter.state_dict()))
    for each in (meter, resumed):
        each.update(np.array([1, 1, 1, 1]))
    assert np.array_equal(meter.sum, resumed.sum) and isinstance(resumed.sum, np.ndarray)
    assert np.array_equal(meter.avg, resumed.avg)


def test_inspect_shows_the_own_options_of_fairseqs_older_parts(tmp_path, capsys) -> None:
    """Which keep those of the whole command, in a Namespace."""
    state = whole_state()
    cfg = state["cfg"] | {"common": {"seed": 1}}
    every = {"_name": "lstm", "seed": 1, "task": "translation", "encoder_layers": 1}
    state["cfg"] = cfg | {"model": Namespace(**every), "optimizer": Namespace(_name="sgd", seed=1)}
    torch.save(state, tmp_path / "old.pt")
    assert main(["inspect", str(tmp_path / "old.pt"), "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["arch"] == "lstm" and figures["optimizer"] == "sgd"
    assert figures["options"] == {"encoder_layers": 1}
