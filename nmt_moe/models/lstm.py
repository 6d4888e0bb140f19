"""The LSTM layers: over a whole sequence, and step by step with attention feedback."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

State = tuple[Tensor, Tensor]
"""Output ``[B, D]`` and cells ``[B, C]`` of an LSTM after its last step."""


class LSTM(nn.Module):
    """One LSTM layer of ``cells`` cells, projected to ``dim`` where the two differ."""

    def __init__(self, input_dim: int, dim: int, cells: int) -> None:
        super().__init__()
        self.dim, self.cells = dim, cells
        self.lstm = nn.LSTM(input_dim, cells, proj_size=dim if cells != dim else 0)

    def forward(self, x_LBD: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Run over all steps. Returns the outputs ``[L, B, dim]`` and the last state."""
        if state is None:
            state = zero_state(x_LBD, self.dim, self.cells)
        out_LBD, (h_1BD, c_1BC) = self.lstm(x_LBD, (state[0][None], state[1][None]))
        return out_LBD, (h_1BD[0], c_1BC[0])


class AttentionLSTM(nn.Module):
    """Decoder layer 1: reads the attention context and provides the query (appendix E).

    Step ``t`` attends with the output of step ``t - 1`` and reads input ``t`` beside the
    context that it found.
    """

    def __init__(self, dim: int, cells: int) -> None:
        super().__init__()
        self.dim, self.cells = dim, cells
        self.w_input = nn.Parameter(torch.empty(4 * cells, dim))
        self.w_recurrent = nn.Parameter(torch.empty(4 * cells, 2 * dim))  # context, then output
        self.b_input = nn.Parameter(torch.empty(4 * cells))
        self.b_recurrent = nn.Parameter(torch.empty(4 * cells))
        self.projection = nn.Linear(cells, dim, bias=False) if cells != dim else nn.Identity()
        for parameter in (self.w_input, self.w_recurrent, self.b_input, self.b_recurrent):
            nn.init.uniform_(parameter, -(cells**-0.5), cells**-0.5)

    def forward(
        self,
        x_LBD: Tensor,
        attend: Callable[[Tensor], tuple[Tensor, Tensor]],
        state: State | None = None,
    ) -> tuple[Tensor, Tensor, State]:
        """Run over all steps.

        Args:
            x_LBD: the inputs.
            attend: from a query ``[B, D]`` to the context ``[B, D]`` and the attention
                weights ``[B, S]``.
            state: where to start; zeros if not given.

        Returns:
            The outputs ``[L, B, D]``, the attention ``[B, L, S]`` and the last state.
        """
        h_BD, c_BC = zero_state(x_LBD, self.dim, self.cells) if state is None else state
        # The inputs' share of the gates is one product for all steps.
        inputs_LBG = F.linear(x_LBD, self.w_input, self.b_input + self.b_recurrent)
        w_recurrent_t = self.w_recurrent.t()
        outputs, attentions = [], []
        for input_BG in inputs_LBG.unbind(0):
            context_BD, attention_BS = attend(h_BD)
            recurrent_B2D = torch.cat([context_BD, h_BD], dim=1)
            i, f, g, o = torch.addmm(input_BG, recurrent_B2D, w_recurrent_t).chunk(4, dim=1)
            c_BC = f.sigmoid() * c_BC + i.sigmoid() * g.tanh()
            h_BD = self.projection(o.sigmoid() * c_BC.tanh())
            outputs.append(h_BD)
            attentions.append(attention_BS)
        return torch.stack(outputs), torch.stack(attentions, dim=1), (h_BD, c_BC)


def zero_state(x_LBD: Tensor, dim: int, cells: int) -> State:
    """The state before the first step."""
    batch = x_LBD.shape[1]
    return x_LBD.new_zeros(batch, dim), x_LBD.new_zeros(batch, cells)
