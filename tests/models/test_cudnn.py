"""Which LSTMs in bfloat16 have their weights flattened for cuDNN, and what is said where torch has
none. Without a GPU: the weights only say that they are on one, and cuDNN's function is recorded."""

import copy
import logging
import pickle

import pytest
import torch
from torch import nn
from torch.torch_version import TorchVersion

from nmt_moe.models import cudnn
from nmt_moe.models.lstm import LSTM

MODULE = torch.backends.cudnn.is_acceptable.__globals__  # the one behind torch.backends.cudnn
NEW, BEFORE = ("2.11.0+cu130", 91900), {torch.half, torch.float, torch.double}
OLD = [("2.9.1+cu130", 91300), ("2.10.0+cu128", 91002), ("2.11.0+cpu", None)]


class OnGPU(nn.Parameter):
    is_cuda = property(lambda self: True)
    device = property(lambda self: torch.device("cuda", 0))


def claim(lstm: nn.LSTM) -> None:
    """Let all weights say that they are on a GPU."""
    for name, weight in list(lstm.named_parameters()):
        setattr(lstm, name, OnGPU(weight.detach().clone()))


def layer(width: int = 6, cells: int = 6) -> LSTM:
    made = LSTM(width, width, cells)
    claim(made.lstm)
    return made


@pytest.fixture
def flattened(monkeypatch):
    """The lists of weights that cuDNN has flattened, and a function that chooses the versions."""
    lists = []

    def versions(torch_version: str, cudnn_version: int | None) -> None:
        monkeypatch.setattr(torch, "__version__", TorchVersion(torch_version))
        monkeypatch.setattr(torch.backends.cudnn, "version", lambda: cudnn_version)
        cudnn.has_bfloat16.cache_clear()
        cudnn._warn.cache_clear()

    monkeypatch.setattr(torch._C, "_has_cudnn", True)
    monkeypatch.setitem(MODULE, "_init", lambda: True)
    monkeypatch.setattr(torch, "_use_cudnn_rnn_flatten_weight", lambda: True)
    monkeypatch.setattr(torch.backends.cudnn.rnn, "get_cudnn_mode", lambda _: 2)
    monkeypatch.setattr(
        torch, "_cudnn_rnn_flatten_weight", lambda weights, *_: lists.append(list(weights))
    )
    versions(*NEW)
    yield lists, versions
    cudnn.has_bfloat16.cache_clear()
    cudnn._warn.cache_clear()


@pytest.mark.parametrize("cells", [6, 10])
def test_our_weights_are_flattened_and_nobody_elses(cells, flattened):
    lists, _ = flattened
    ours, theirs = layer(cells=cells), nn.LSTM(6, 6)
    claim(theirs)
    ours.bfloat16()
    assert [[id(w) for w in weights] for weights in lists] == [[id(w) for w in ours.parameters()]]
    assert len(lists[0]) == (4 if cells == 6 else 5)
    theirs.bfloat16()
    assert len(lists) == 1
    assert torch.backends.cudnn.CUDNN_TENSOR_DTYPES == BEFORE
    nn.Sequential(nn.ModuleList([ours]), theirs).apply(lambda _: None).to(torch.bfloat16)
    assert len(lists) == 2  # anew, as torch does, wherever the layer is


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_torch_flattens_the_other_types_once(dtype, flattened):
    layer().bfloat16()
    lists, _ = flattened
    before = len(lists)
    layer().to(dtype)
    assert len(lists) == before + 1


def test_weights_on_cpus_stay_apart(flattened):
    LSTM(6, 6, 6).bfloat16()
    assert flattened[0] == []


@pytest.mark.parametrize("versions", OLD)
def test_nothing_is_flattened_where_cudnn_has_no_such_lstm(versions, flattened):
    lists, choose = flattened
    choose(*versions)
    layer().bfloat16()
    assert lists == [] and torch.backends.cudnn.CUDNN_TENSOR_DTYPES == BEFORE


def test_a_torch_that_knows_bfloat16_does_it_itself(flattened, monkeypatch):
    lists, _ = flattened
    types = BEFORE | {torch.bfloat16}
    monkeypatch.setitem(MODULE, "CUDNN_TENSOR_DTYPES", types)
    layer().bfloat16()
    assert len(lists) == 1 and torch.backends.cudnn.CUDNN_TENSOR_DTYPES == types


def test_weights_that_were_replaced_are_flattened_in_the_next_step(flattened, monkeypatch):
    lists, _ = flattened
    first, second = layer().bfloat16(), layer().bfloat16()
    monkeypatch.setattr(LSTM, "_by_steps", lambda *_: False)
    second.lstm.weight_hh_l0 = first.lstm.weight_hh_l0
    x_LBD, count = torch.randn(3, 2, 6).bfloat16(), len(lists)
    with torch.no_grad():
        second(x_LBD)
        assert len(lists) == count + 1
        assert lists[-1][1] is first.lstm.weight_hh_l0  # still shared
        second(x_LBD)
    assert len(lists) == count + 1 and torch.backends.cudnn.CUDNN_TENSOR_DTYPES == BEFORE


def test_names_copies_and_pickles_are_torchs(flattened):
    made = layer().bfloat16()
    assert type(made.lstm) is nn.LSTM  # which quantization asks for
    assert [*made.state_dict()] == [f"lstm.{name}" for name in nn.LSTM(6, 6).state_dict()]
    for other in (copy.deepcopy(made), pickle.loads(pickle.dumps(made))):
        assert vars(other).keys() == vars(made).keys()
        assert vars(other.lstm).keys() == vars(nn.LSTM(6, 6)).keys()
        for name, weight in made.state_dict().items():
            assert torch.equal(other.state_dict()[name], weight)


@pytest.mark.parametrize("versions", OLD)
def test_a_training_with_cells_of_torch_is_told_once(versions, flattened, caplog, monkeypatch):
    flattened[1](*versions)
    monkeypatch.setattr(LSTM, "_by_steps", lambda *_: False)
    made, x_LBD = layer().bfloat16(), torch.randn(3, 2, 6).bfloat16()
    with torch.no_grad():
        made(x_LBD)
    made.eval()(x_LBD)
    assert caplog.text == ""
    made.train()(x_LBD)
    made(x_LBD)
    [record] = caplog.records
    assert record.levelno == logging.WARNING and versions[0] in record.message
    assert "--amp" in record.message and "torch 2.10" in record.message


def test_a_training_by_cudnn_or_on_cpus_is_told_nothing(flattened, caplog, monkeypatch):
    monkeypatch.setattr(LSTM, "_by_steps", lambda *_: False)
    x_LBD = torch.randn(3, 2, 6)
    layer().bfloat16()(x_LBD.bfloat16())
    flattened[1](*OLD[0])
    LSTM(6, 6, 6).bfloat16()(x_LBD.bfloat16())
    layer()(x_LBD)  # float32
    assert caplog.text == ""
