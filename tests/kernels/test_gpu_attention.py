"""The kernel of a step's attention against torch in float64.

On a GPU if there is one, else in Triton's interpreter, which ``tests/conftest.py`` chooses.
"""

import pytest
import torch
from torch import Tensor

from tests.kernels.gpus import DEVICE, assert_close, normal

# isort: split
from nmt_moe.kernels.cpu.recurrence import Source
from nmt_moe.kernels.gpu.attention import attend, attend_backward
from nmt_moe.models.attention import attention_weights, context

ERRORS = {torch.float32: 3e-6, torch.float16: 2e-3, torch.bfloat16: 1e-2}
# Batch, positions, width: several blocks of positions, and no powers of two.
SIZES = [(3, 5, 6), (2, 37, 300), (1, 1, 1), (2, 600, 9), (1, 3, 5000)]
KINDS = {"additive": (True, True), "multiplicative": (False, True), "dot": (False, False)}
CASES = [
    *((sizes, kind, torch.float32) for sizes in SIZES for kind in KINDS),
    *(((2, 11, 70), kind, dtype) for kind in KINDS for dtype in ERRORS if dtype != torch.float32),
]


def make(sizes: tuple[int, int, int], kind: str, dtype: torch.dtype) -> tuple[Tensor, Source]:
    """Queries and what they read: the source by time, as an encoder leaves it, and padding."""
    torch.manual_seed(0)
    batch, positions, dim = sizes
    additive, bounded = KINDS[kind]
    keys_BSD = normal(*sizes, dtype=dtype) * (1 if additive else dim**-0.5)
    source_BSD = normal(positions, batch, dim, dtype=dtype).transpose(0, 1)
    pad_BS = torch.zeros(batch, positions, dtype=torch.bool, device=DEVICE)
    pad_BS[:1, positions // 2 + 1 :] = True
    if batch > 1:
        pad_BS[-1, : positions // 3] = True
    v_D = normal(dim, dtype=dtype) * dim**-0.5 if additive else None
    return normal(batch, dim, dtype=dtype), Source(keys_BSD, source_BSD, pad_BS, v_D, bounded)


def attended(query_RD: Tensor, source: Source) -> tuple[Tensor, Tensor]:
    """Weights and context, into tensors whose rows lie apart."""
    rows, dim = query_RD.shape
    weights_RS = query_RD.new_full((rows, 2, source.pad_BS.shape[1]), 7)[:, 1]
    context_RD = query_RD.new_full((rows, 2 * dim), 7)[:, :dim]
    attend(query_RD, source, weights_RS, context_RD)
    return weights_RS, context_RD


def in_float64(query_RD: Tensor, source: Source) -> tuple[list[Tensor], list[Tensor]]:
    """The tensors with a gradient, and weights and context."""
    tensors = [query_RD, source.keys_BSD, source.source_BSD]
    tensors += [] if source.v_D is None else [source.v_D]
    wide = [x.detach().double().requires_grad_() for x in tensors]
    query, keys, read = wide[:3]
    v_D = None if source.v_D is None else wide[3]
    weights_RS = attention_weights(query, keys, source.pad_BS, v_D, source.bounded)
    return wide, [weights_RS, context(weights_RS, read)]


@pytest.mark.parametrize(("sizes", "kind", "dtype"), CASES, ids=str)
def test_weights_context_and_gradients(sizes, kind, dtype):
    query_BD, source = make(sizes, kind, dtype)
    weights_BS, context_BD = attended(query_BD, source)
    wide, right = in_float64(query_BD, source)
    assert (weights_BS[source.pad_BS] == 0).all()
    assert_close(weights_BS, right[0], ERRORS[dtype])
    assert_close(context_BD, right[1], ERRORS[dtype])

    batch, _, dim = sizes
    dcontext_BD = normal(batch, 2 * dim, dtype=dtype)[:, dim:]
    dweights_BS = normal(batch, 3, sizes[1], dtype=dtype)[:, 1] if sizes[1] % 2 else None
    dscores_BS, dquery_BD = torch.empty_like(weights_BS), torch.empty_like(query_BD)
    added_BSD = added_BD = None
    if source.v_D is not None:  # to what other steps have left there
        added_BSD = 1e-3 * normal(*sizes)
        added_BD = added_BSD[:, 0].clone()
        before = [added_BSD.clone(), added_BD.clone()]
    found = (dscores_BS, dquery_BD, added_BSD, added_BD)
    attend_backward(query_BD, source, weights_BS, dcontext_BD, dweights_BS, *found)

    total = (right[1] * dcontext_BD).sum()
    if dweights_BS is not None:
        total = total + (right[0] * dweights_BS).sum()
    expected = torch.autograd.grad(total, wide)
    assert_close(dquery_BD, expected[0], 3 * ERRORS[dtype])
    if source.v_D is not None:
        assert_close(added_BSD - before[0], expected[1], 3 * ERRORS[dtype])
        assert_close((added_BD - before[1]).sum(0), expected[3], 3 * ERRORS[dtype])
    else:  # the keys' gradient is made of the scores' over all steps
        queries = wide[0].tanh() if source.bounded else wide[0]
        keys_BSD = dscores_BS.double().unsqueeze(2) * queries.unsqueeze(1)
        assert_close(keys_BSD, expected[1], 3 * ERRORS[dtype])


def test_hypotheses_of_a_search_read_their_own_sentence():
    _, source = make(SIZES[0], "additive", torch.float32)
    query_RD = normal(12, 6)
    _, right = in_float64(query_RD, source)
    for found, expected in zip(attended(query_RD, source), right, strict=True):
        assert_close(found, expected, 1e-6)


def test_a_sentence_of_padding_only_has_no_context():
    query_BD, source = make(SIZES[0], "multiplicative", torch.float32)
    source.pad_BS[1] = True
    source.keys_BSD[1], source.source_BSD[1] = float("nan"), float("nan")  # nobody reads it
    weights_BS, context_BD = attended(query_BD, source)
    assert (weights_BS[1] == 0).all() and (context_BD[1] == 0).all()
    found = torch.full_like(weights_BS, 7), torch.full_like(query_BD, 7)
    attend_backward(query_BD, source, weights_BS, context_BD, None, *found, None, None)
    assert (found[0][1] == 0).all() and (found[1][1] == 0).all()
    assert all(x.isfinite().all() for x in (weights_BS, context_BD, *found))


def test_large_scores_and_nan():
    query_BD, source = make(SIZES[0], "dot", torch.float32)
    query_BD[0] *= 1e4
    query_BD[1, 2] = float("nan")
    source.pad_BS[1, 3:] = True
    weights_BS, context_BD = attended(query_BD, source)
    _, right = in_float64(query_BD[:1], Source(*(x[:1] for x in (
        source.keys_BSD, source.source_BSD, source.pad_BS)), None, False))  # fmt: skip
    assert_close(weights_BS[:1], right[0], 1e-5)
    real_S = ~source.pad_BS[1]
    assert weights_BS[1, real_S].isnan().all() and context_BD[1].isnan().all()
    assert context_BD[[0, 2]].isfinite().all()
    assert (weights_BS[source.pad_BS] == 0).all()


def test_no_sentence():
    query_BD, source = make((0, 3, 4), "additive", torch.float32)
    weights_BS, context_BD = attended(query_BD, source)
    assert weights_BS.shape == (0, 3) and context_BD.shape == (0, 4)
    none = torch.empty(0, 3, device=DEVICE), query_BD.clone(), source.keys_BSD, query_BD.clone()
    attend_backward(query_BD, source, weights_BS, context_BD, None, *none)
