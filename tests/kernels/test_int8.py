"""Products in int8: exact where all numbers are whole, and layers against loops in float64."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

from nmt_moe.common.errors import UserError
from nmt_moe.kernels.cpu import int8, int8_torch, int8_weights
from nmt_moe.kernels.cpu.extension import library
from nmt_moe.kernels.cpu.int8_weights import Packed, Recurrent, Source

KINDS = ["any", "avx2", "avx-vnni", "avx512-vnni", "torch"]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Each kind of instructions that is here, and torch in place of the code in C."""
    if request.param == "torch":
        monkeypatch.setattr(int8, "library", None)
        yield request.param
        return
    number = KINDS.index(request.param)
    if library is None or library.int8_instructions(number) != number:
        if library is not None:
            library.int8_instructions(len(KINDS))
        pytest.skip("not on this machine")
    yield request.param
    library.int8_instructions(len(KINDS))


def packed(w: Tensor) -> Packed:
    return Packed(*int8_weights.pack(w), *w.shape[-2:])


def whole(*shape: int) -> Tensor:
    """Whole numbers, the largest of each row 127: they are what they are in int8."""
    numbers = torch.randint(-127, 128, shape).float()
    numbers[..., 0] = 127
    return numbers


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5, 6, 7, 13, 32, 61])
@pytest.mark.parametrize("outputs, inputs", [(64, 64), (1, 1), (65, 3), (200, 130), (37, 517)])
def test_whole_numbers_are_exact(kind, rows: int, outputs: int, inputs: int) -> None:
    torch.manual_seed(rows)
    w_NK, x_MK = whole(outputs, inputs), whole(rows, inputs)
    right_MN = torch.from_numpy(x_MK.numpy().astype(np.int64) @ w_NK.numpy().astype(np.int64).T)
    w = packed(w_NK)
    assert torch.equal(int8.linear(x_MK, w).long(), right_MN)
    assert torch.equal(int8.linear(x_MK, w, relu=True).long(), right_MN.clamp(min=0))
    bias = whole(len(w.scale))
    assert torch.equal(int8.linear(x_MK, w, bias).long(), right_MN + bias[:outputs].long())
    long = torch.cat([whole(rows, 3), x_MK, whole(rows, 2)], dim=1)
    assert torch.equal(int8.linear(long[:, 3:-2], w).long(), right_MN)


def test_no_sum_saturates(kind) -> None:
    for sign in (1, -1):
        w_NK, x_MK = torch.full((70, 1000), 127.0), torch.full((5, 1000), sign * 127.0)
        assert (int8.linear(x_MK, packed(w_NK)) == sign * 127 * 127 * 1000).all()
        assert (int8.linear(x_MK, packed(-w_NK)) == -sign * 127 * 127 * 1000).all()


def test_each_channel_and_each_row_has_its_scale(kind) -> None:
    torch.manual_seed(1)
    w_NK = torch.randn(90, 256) * torch.logspace(-20, 10, 90)[:, None]
    x_MK = torch.randn(9, 256) * torch.logspace(-12, 9, 9)[:, None]
    right_MN = x_MK.double() @ w_NK.double().t()
    size_MN = x_MK.double().norm(dim=1)[:, None] * w_NK.double().norm(dim=1)
    # A rounded number is wrong by at most half of 1/127 of the largest, which is about 3.
    assert ((int8.linear(x_MK, packed(w_NK)) - right_MN).abs() / size_MN).max() < 0.01


def test_zeros_and_what_is_not_finite(kind) -> None:
    w_NK, x_MK = torch.randn(70, 30), torch.randn(3, 30)
    w_NK[5], x_MK[1] = 0, 0
    found = int8.linear(x_MK, packed(w_NK))
    assert found.isfinite().all() and not found[1].any() and not found[:, 5].any()
    for bad, place in [(torch.inf, 3), (torch.nan, 4), (torch.nan, 29), (-torch.inf, 29)]:
        wrong_MK = x_MK.clone()
        wrong_MK[0, place] = bad
        rows = int8.linear(wrong_MK, packed(w_NK))
        assert rows[0, 6:].isnan().all() and torch.equal(rows[1:], found[1:])
    for bad in (torch.inf, torch.nan):
        w_NK[3, 3] = bad
        with pytest.raises(UserError, match="weights that are not finite numbers"):
            int8_weights.pack(w_NK)
    with pytest.raises(UserError, match="70,000 inputs is too wide"):
        int8_weights.pack(torch.empty(1, 70_000))


def with_threads(compute: Callable[[], Tensor]) -> Tensor:
    """What one thread computes, which must be what three compute."""
    threads, found = torch.get_num_threads(), []
    try:
        for number in (1, 3):
            torch.set_num_threads(number)
            found.append(compute())
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(*found)
    return found[0]


def test_a_row_does_not_depend_on_the_others_or_the_threads(kind) -> None:
    torch.manual_seed(1)
    w, x_MK = packed(torch.randn(300, 512)), torch.randn(100, 512)
    found = with_threads(lambda: int8.linear(x_MK, w))
    if kind != "torch":
        for first, rows in [(0, 1), (3, 8), (50, 33)]:
            part = slice(first, first + rows)
            assert torch.equal(int8.linear(x_MK[part], w), found[part])


def test_nothing_depends_on_the_threads() -> None:
    """Of sizes at which several threads are used."""
    torch.manual_seed(1)
    dim, cells, rows = 64, 128, 70
    gates = [packed(int8_weights.by_cells(torch.randn(4 * cells, dim) / 8)) for _ in range(3)]
    w = Recurrent(
        *gates[:2],
        packed(torch.randn(dim, cells) / 8),
        torch.randn(4 * cells),
        packed(torch.randn(dim, dim) / 8),
        gates[2],
    )
    state = torch.randn(rows, dim), torch.randn(rows, cells)
    source = Source(*torch.randn(2, rows, 9, dim), torch.zeros(rows, 9, dtype=torch.bool), None)
    for steps in (1, 5):
        x_LBI = torch.randn(steps, rows, dim)
        for read in (None, source):
            with_threads(lambda x=x_LBI, s=read: torch.cat(int8.recurrence(w, x, *state, s)[:1]))
    experts = packed(torch.randn(7, 96, dim)), packed(torch.randn(7, dim, 96))
    expert_A, order_A = torch.randint(0, 7, (800,)).sort()
    counts_E = torch.bincount(expert_A, minlength=7)
    x_TD, gate_A = torch.randn(200, dim), torch.rand(800)
    with_threads(lambda: int8.mixture(*experts, x_TD, counts_E, order_A // 4, gate_A))


def test_nothing_to_do(kind) -> None:
    w = packed(torch.randn(70, 16))
    assert int8.linear(torch.empty(0, 16), w).shape == (0, 70)
    experts = packed(torch.randn(2, 9, 16)), packed(torch.randn(2, 16, 9))
    none = torch.zeros(0).long()
    found = int8.mixture(*experts, torch.empty(0, 16), torch.zeros(2).long(), none, torch.empty(0))
    assert found.shape == (0, 16)


def test_rows_and_weights_come_back() -> None:
    torch.manual_seed(1)
    w_NK = torch.randn(70, 33)
    w = packed(w_NK)
    back_NK = int8_weights.unpack(w.panels, w.scale, 70, 33)
    assert ((back_NK - w_NK).abs() <= w.scale[:70, None] * 0.501).all()
    numbers = torch.tensor([0, 69, 64, 3, 3])
    assert torch.equal(int8_weights.rows(w, numbers), back_NK[numbers])


def in_float64(w: Packed) -> Tensor:
    return int8_weights.unpack(w.panels, w.scale, w.outputs, w.inputs).double()


def product(x_MK: Tensor, w: Packed) -> Tensor:
    return int8_torch.rounded(x_MK.float()).double() @ in_float64(w).t()


def same(found: Tensor, right: Tensor) -> bool:
    """But for a number between two, which a last bit of float32 may have rounded the other way."""
    error = (found - right).abs()
    return error.numel() == 0 or bool(error.mean() < 2e-4 and error.max() < 0.03)


def by_gates(gates_BG: Tensor, cells: int) -> list[Tensor]:
    """The gates from the order of panels, written out number by number."""
    found = [torch.empty(len(gates_BG), cells).double() for _ in range(4)]
    for gate in range(4):
        for cell in range(cells):
            place = cell // 16 * 64 + gate * 16 + cell % 16
            found[gate][:, cell] = gates_BG[:, place]
    return found


@pytest.mark.parametrize("steps, rows, inputs, dim, cells", [
    (1, 4, 20, 24, 40), (3, 5, 16, 16, 16), (4, 7, 33, 20, 50), (1, 13, 8, 7, 7),
])  # fmt: skip
@pytest.mark.parametrize("attention", [None, "multiplicative", "additive", "dot"])
def test_steps_of_an_lstm(kind, steps, rows, inputs, dim, cells, attention) -> None:
    torch.manual_seed(steps)

    def gates(width: int) -> Packed:
        return packed(int8_weights.by_cells(torch.randn(4 * cells, width) * width**-0.5))

    w = Recurrent(
        input=gates(inputs),
        recurrent=gates(dim),
        projection=packed(torch.randn(dim, cells) * cells**-0.5) if cells != dim else None,
        bias=int8_weights.by_cells(torch.randn(4 * cells)),
        query=packed(torch.randn(dim, dim) * dim**-0.5) if attention else None,
        context=gates(dim) if attention else None,
    )
    x_LBI, h_BD, c_BC = (
        torch.randn(steps, rows, inputs), torch.randn(rows, dim), torch.randn(rows, cells),
    )  # fmt: skip
    source, length = None, 6
    pad_BS = torch.zeros(rows, length, dtype=torch.bool)
    pad_BS[1, 4:] = pad_BS[2] = True
    if attention:
        keys_BSD, source_SBD = torch.randn(rows, length, dim), torch.randn(length, rows, dim)
        v_D = torch.randn(dim) if attention == "additive" else None
        bounded = attention != "dot"
        source = Source(keys_BSD, source_SBD.transpose(0, 1), pad_BS, v_D, bounded)
    before = h_BD.clone(), c_BC.clone()
    h_LBD, last_BC, context_LBD, attn_BLS = int8.recurrence(w, x_LBI, h_BD, c_BC, source)
    assert torch.equal(h_BD, before[0]) and torch.equal(c_BC, before[1])

    c_BC, h_BD = c_BC.double(), h_BD.double()
    for t in range(steps):
        gates_BG = product(x_LBI[t], w.input) + w.bias + product(h_BD, w.recurrent)
        if source is not None and w.query is not None and w.context is not None:
            query_BD = product(h_BD, w.query)
            if v_D is None:
                query_BD = query_BD.tanh() if bounded else query_BD
                scores_BS = (keys_BSD * query_BD[:, None]).sum(2)
            else:
                scores_BS = ((keys_BSD + query_BD[:, None]).tanh() * v_D).sum(2)
            weights_BS = scores_BS.exp() * ~pad_BS
            weights_BS /= weights_BS.sum(1, keepdim=True).clamp(min=1e-300)
            context_BD = (weights_BS[:, :, None] * source_SBD.transpose(0, 1)).sum(1)
            assert same(attn_BLS[:, t], weights_BS) and same(context_LBD[t], context_BD)
            assert not attn_BLS[:, t][pad_BS].any()
            gates_BG = gates_BG + product(context_LBD[t], w.context)
        i, f, g, o = by_gates(gates_BG, cells)
        c_BC = f.sigmoid() * c_BC + i.sigmoid() * g.tanh()
        h_BD = o.sigmoid() * c_BC.tanh()
        if w.projection is not None:
            h_BD = product(h_BD, w.projection)
        assert same(h_LBD[t], h_BD)
        h_BD = h_LBD[t].double()
    assert same(last_BC, c_BC)
    assert len(context_LBD) == len(attn_BLS) == 0 or attention


@pytest.mark.parametrize("gate", [-1e4, -90.0, -20.0, 0.0, 20.0, 90.0, 1e4])
def test_gates_far_from_zero(kind, gate: float) -> None:
    nothing = packed(torch.zeros(64, 1))
    w = Recurrent(nothing, packed(torch.zeros(64, 16)), None, torch.full((64,), gate))
    h, c, _, _ = int8.recurrence(w, torch.ones(1, 1, 1), torch.ones(1, 16), torch.ones(1, 16))
    open = torch.tensor(gate).double().sigmoid()
    cell = open + open * torch.tensor(gate).double().tanh()
    assert torch.allclose(c.double(), cell, atol=1e-6)
    assert torch.allclose(h.double(), open * cell.tanh(), atol=1e-6)


@pytest.mark.parametrize("tokens, dim, hidden_dim", [(1, 16, 64), (11, 36, 70), (120, 20, 33)])
def test_a_mixture(kind, tokens: int, dim: int, hidden_dim: int) -> None:
    torch.manual_seed(tokens)
    w_in, w_out = torch.randn(5, hidden_dim, dim), torch.randn(5, dim, hidden_dim) / hidden_dim
    x_TD = torch.randn(tokens, dim)
    expert_A, order_A = torch.randint(0, 4, (2 * tokens,)).sort()  # the last one has no tokens
    token_A = order_A // 2
    counts_E, gate_A = torch.bincount(expert_A, minlength=5), torch.rand(2 * tokens)
    ours = packed(w_in), packed(w_out)
    found_TD = int8.mixture(*ours, x_TD, counts_E, token_A, gate_A)
    right_TD = torch.zeros(tokens, dim).double()
    for token, expert, gate in zip(token_A, expert_A, gate_A, strict=True):
        first, second = (
            Packed(w.panels[expert], w.scale[expert], w.outputs, w.inputs) for w in ours
        )
        hidden = product(x_TD[token : token + 1], first).relu()
        right_TD[token] += gate * product(hidden, second)[0]
    assert same(found_TD, right_TD)
