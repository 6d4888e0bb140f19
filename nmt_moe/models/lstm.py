"""The LSTM layers: over a whole sequence, and step by step with attention feedback."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from nmt_moe.kernels.cpu.product import precision
from nmt_moe.kernels.cpu.recurrence import Source, Weights
from nmt_moe.models import cudnn, initial, recurrence
from nmt_moe.models.attention import MultiplicativeAttention
from nmt_moe.models.dropout import Constant
from nmt_moe.models.linear import RecurrentLinear, RecurrentLSTM, linear
from nmt_moe.models.recurrence import State
from nmt_moe.moe.gating import at_least_float32


class LSTM(nn.Module):
    """One LSTM layer of ``cells`` cells, projected to ``dim`` where the two differ.

    Its parameters are those of ``torch.nn.LSTM(input_dim, cells, proj_size=dim)``, in ``lstm``:
    ``weight_ih_l0`` ``[4*C, I]``, ``weight_hh_l0`` ``[4*C, D]``, ``weight_hr_l0`` ``[D, C]`` where
    there is a projection, ``bias_ih_l0`` and ``bias_hh_l0`` ``[4*C]``.

    The gates' pre-activations start with a third of the mean square of the input; for an input of
    mean square 1 the outputs then have a variance of 0.02, whatever ``I``, ``D`` and ``C``: each
    layer begins as a small change to its residual connection.

    Args:
        input_dim: ``I``.
        dim: the width of the output.
        cells: ``C``.
        dropout: of what the layer reads; None: none.
    """

    def __init__(
        self, input_dim: int, dim: int, cells: int, dropout: Constant | None = None
    ) -> None:
        super().__init__()
        self.dim, self.cells = dim, cells
        self.dropout = dropout or Constant()
        self.lstm = (
            nn.LSTM(input_dim, cells)
            if cells == dim
            else RecurrentLSTM(input_dim, cells, proj_size=dim)
        )
        # torch derives all scales from the cells: with four times as many as the input is wide
        # the outputs would have a tenth of the variance.
        for name, weight in self.lstm.named_parameters():
            if name.startswith("weight"):
                (initial.ones if "hr" in name else initial.thirds)(weight)

    def forward(self, x_LBD: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Run over all steps, from zeros or from ``state``.

        Returns:
            The outputs ``[L, B, dim]`` and the last state.
        """
        if state is None:
            state = zero_state(x_LBD, self.dim, self.cells)
        x_LBD, mask_BD = self.dropout(x_LBD, self.dim)
        if mask_BD is not None or self._by_steps(x_LBD):
            w = dict(self.lstm.named_parameters())
            bias_G = w["bias_ih_l0"] + w["bias_hh_l0"]
            inputs_LBG = linear(x_LBD, w["weight_ih_l0"], bias_G, wide=True)
            weights = Weights(w["weight_hh_l0"], w.get("weight_hr_l0"))
            out_LBD, c_BC, *_ = recurrence.run(inputs_LBG, state, weights, mask_BM=mask_BD)
            return out_LBD, (out_LBD[-1], c_BC)
        cudnn.check(self.lstm)
        with cudnn.taking_bfloat16(self.lstm):
            out_LBD, (h_1BD, c_1BC) = self.lstm(x_LBD, (state[0][None], state[1][None]))
        return out_LBD, (h_1BD[0], c_1BC[0])

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "LSTM":
        super()._apply(fn, recurse)
        cudnn.flatten(self.lstm)
        return self

    def _by_steps(self, x_LBD: Tensor) -> bool:
        """Whether our recurrence is faster than torch's layer, unless something replaced that."""
        if x_LBD.device.type != "cpu" or type(self.lstm) not in (nn.LSTM, RecurrentLSTM):
            return False
        weights = self.lstm.parameters()
        return self.cells != self.dim or precision(x_LBD, *weights) is not None


class AttentionLSTM(nn.Module):
    """Decoder layer 1: reads the attention context and provides the query (appendix E).

    Step ``t`` uses the output of step ``t - 1`` as the query, and reads input ``t`` together with
    the context. Its outputs start with a variance of 0.03, more than those of :class:`LSTM`, as the
    context adds to the gates' pre-activations.

    Args:
        dim: the width of the output.
        cells: ``C``.
        dropout: of what the gates read; None: none.
    """

    def __init__(self, dim: int, cells: int, dropout: Constant | None = None) -> None:
        super().__init__()
        self.dim, self.cells = dim, cells
        self.dropout = dropout or Constant()
        self.w_input = nn.Parameter(torch.empty(4 * cells, dim))
        self.w_recurrent = nn.Parameter(torch.empty(4 * cells, 2 * dim))  # context, then output
        self.b_input = nn.Parameter(torch.empty(4 * cells))
        self.b_recurrent = nn.Parameter(torch.empty(4 * cells))
        self.projection = RecurrentLinear(cells, dim, bias=False) if cells != dim else None
        initial.thirds(self.w_input)
        initial.thirds(self.w_recurrent, fan_in=dim)  # of each, the context and the output
        for bias in (self.b_input, self.b_recurrent):
            nn.init.uniform_(bias, -(cells**-0.5), cells**-0.5)
        if self.projection is not None:
            initial.ones(self.projection.weight)

    def forward(
        self,
        x_LBD: Tensor,
        attention: MultiplicativeAttention,
        keys_BSD: Tensor,
        source_BSD: Tensor,
        pad_BS: Tensor,
        state: State | None = None,
    ) -> tuple[Tensor, Tensor, Tensor, State]:
        """Run over all steps.

        Args:
            x_LBD: the inputs.
            attention: the attention function.
            keys_BSD: the attention's keys of the source.
            source_BSD: the output of the encoder.
            pad_BS: true on the source's padding.
            state: the initial state; zeros if not given.

        Returns:
            The outputs and contexts ``[L, B, D]``, the attention ``[B, L, S]`` and the last state.
        """
        if state is None:
            h_BD, c_BC = zero_state(x_LBD, self.dim, self.cells)
            state = h_BD, at_least_float32(c_BC)
        x_LBD, mask_BM = self.dropout(x_LBD, self.dim, attends=True)
        # The inputs' share of the gates is one product for all steps.
        inputs_LBG = linear(x_LBD, self.w_input, self.b_input + self.b_recurrent, wide=True)
        project_DC = None if self.projection is None else self.projection.weight
        weights = Weights(self.w_recurrent, project_DC, attention.query.weight)
        source = Source(keys_BSD, source_BSD, pad_BS, attention.v_of_scores, attention.bounded)
        h_LBD, c_BC, context_LBD, attn_BLS = recurrence.run(
            inputs_LBG, state, weights, source, mask_BM
        )
        return h_LBD, context_LBD, attn_BLS, (h_LBD[-1], c_BC)


def zero_state(x_LBD: Tensor, dim: int, cells: int) -> State:
    """The state before the first step."""
    batch = x_LBD.shape[1]
    return x_LBD.new_zeros(batch, dim), x_LBD.new_zeros(batch, cells)
