"""Our models on what torch has: the same parameters and results, written as one would at first.

``torch.nn.LSTM(proj_size=...)`` for the layers, a loop over the steps for the decoder's layer with
attention, and a loop over experts for the mixtures, all left to autograd.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nmt_moe.models.attention import MultiplicativeAttention
from nmt_moe.models.linear import RecurrentLinear, RecurrentLSTM
from nmt_moe.models.lstm import LSTM, AttentionLSTM, State, zero_state
from nmt_moe.moe import MixtureOfExperts, Routing


class PlainLSTM(LSTM):
    """torch's own layer."""

    def forward(self, x_LBD: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        start = None if state is None else tuple(part[None].contiguous() for part in state)
        out_LBD, (h_1BD, c_1BC) = self.lstm(x_LBD, start)
        return out_LBD, (h_1BD[0], c_1BC[0])


class PlainAttentionLSTM(AttentionLSTM):
    """One step after the other."""

    def forward(
        self,
        x_LBD: Tensor,
        attention: MultiplicativeAttention,
        keys_BSD: Tensor,
        source_BSD: Tensor,
        pad_BS: Tensor,
        state: State | None = None,
    ) -> tuple[Tensor, Tensor, Tensor, State]:
        h_BD, c_BC = zero_state(x_LBD, self.dim, self.cells) if state is None else state
        weight = torch.cat([self.w_input, self.w_recurrent], dim=1)
        bias = self.b_input + self.b_recurrent
        outputs, contexts, attended = [], [], []
        for x_BD in x_LBD:
            context_BD, weights_BS = attention(h_BD, keys_BSD, source_BSD, pad_BS)
            gates_BG = F.linear(torch.cat([x_BD, context_BD, h_BD], dim=1), weight, bias)
            i, f, g, o = gates_BG.chunk(4, dim=1)
            c_BC = f.sigmoid() * c_BC + i.sigmoid() * g.tanh()
            h_BD = o.sigmoid() * c_BC.tanh()
            if self.projection is not None:
                h_BD = self.projection(h_BD)
            outputs.append(h_BD)
            contexts.append(context_BD)
            attended.append(weights_BS)
        return torch.stack(outputs), torch.stack(contexts), torch.stack(attended, 1), (h_BD, c_BC)


class PlainMixture(MixtureOfExperts):
    """One expert after the other."""

    def forward(self, x: Tensor) -> tuple[Tensor, Routing]:
        x_TD = x.reshape(-1, x.shape[-1])
        routing = self.gate(x_TD)
        y_TD = torch.zeros_like(x_TD)
        for tokens, gates, w_in, w_out in by_expert(self, routing):
            out = (x_TD.index_select(0, tokens) @ w_in).relu() @ w_out
            y_TD = y_TD.index_add(0, tokens, (gates.unsqueeze(1) * out).to(x_TD.dtype))
        return y_TD.view(x.shape), routing


def by_expert(moe: MixtureOfExperts, routing: Routing) -> Iterator[tuple[Tensor, ...]]:
    """Tokens, their gates and the two weights of each expert."""
    counts = routing.counts_E.tolist()
    tokens, gates = routing.token_A.split(counts), routing.gate_A.split(counts)
    # Not indexed one by one: autograd would add a full-size gradient for each expert.
    yield from zip(
        tokens, gates, moe.experts.w_in.unbind(), moe.experts.w_out.unbind(), strict=True
    )


_PLAIN: dict[type[nn.Module], type[nn.Module]] = {
    LSTM: PlainLSTM,
    AttentionLSTM: PlainAttentionLSTM,
    MixtureOfExperts: PlainMixture,
    RecurrentLinear: nn.Linear,
    RecurrentLSTM: nn.LSTM,
}


def make_plain(model: nn.Module) -> nn.Module:
    """Let the model's modules compute as above, in place, with the parameters that they have."""
    for module in model.modules():
        if type(module) in _PLAIN:
            module.__class__ = _PLAIN[type(module)]
    return model
