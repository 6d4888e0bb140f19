"""The encoder: embedding, then LSTM layers with mixtures of experts between them."""

from typing import Any

import torch
from fairseq.models import FairseqEncoder
from torch import Tensor, nn

from nmt_moe.models.config import LSTMMoEConfig, moe_positions
from nmt_moe.models.dropout import Constant, WordDropout, dropout
from nmt_moe.models.embedding import embed, make_embedding
from nmt_moe.models.feed_forward import FeedForwards
from nmt_moe.models.lstm import LSTM
from nmt_moe.models.padding import gather_time, move_right
from nmt_moe.models.pretrained import prepare
from nmt_moe.moe import Routing


class LSTMMoEEncoder(FairseqEncoder):
    """Stacked LSTMs, residual connections around them, dropout on each output.

    Args:
        cfg: the model's options.
        dictionary: the source dictionary.
    """

    def __init__(self, cfg: LSTMMoEConfig, dictionary: Any) -> None:
        super().__init__(dictionary)
        self.padding_idx = dictionary.pad()
        self.embedding = make_embedding(dictionary, cfg.dim)
        prepare(self.embedding, dictionary, cfg, "encoder")
        self.word_dropout = WordDropout(cfg.word_dropout, dictionary)
        self.dropout_in = dropout(cfg, "encoder", "in", self)
        self.dropout = dropout(cfg, "encoder", "out", self)
        self.bidirectional = cfg.encoder_bidirectional
        self.residual_from = cfg.encoder_residual_from
        share = 2 if self.bidirectional else 1  # each direction of layer 1 has half of the width
        widths = [(cfg.dim // share, cfg.lstm_cells // share)]
        widths += [(cfg.dim, cfg.lstm_cells)] * (cfg.encoder_layers - 1)
        self.layers = nn.ModuleList(
            LSTM(cfg.dim, dim, cells, Constant.of(cfg)) for dim, cells in widths
        )
        if self.bidirectional:
            self.backward_layer = LSTM(cfg.dim, *widths[0], Constant.of(cfg))
        self.feed_forwards = FeedForwards(cfg, moe_positions(cfg, "encoder"), "encoder")

    def forward(self, src_tokens: Tensor, src_lengths: Tensor | None = None, **_: Any) -> dict:
        """Encode ``[B, S]`` tokens, padded on either side.

        Returns:
            ``encoder_out`` ``[[S, B, D]]`` and ``encoder_padding_mask`` ``[[B, S]]``, in the
            layout of ``src_tokens`` and as lists of one element, as fairseq expects, and
            ``routing``, the :class:`Routing` of each MoE layer by its name, ``encoder.<layer>``.
        """
        tokens_BS, order_BS = move_right(src_tokens, self.padding_idx)
        pad_right_BS = tokens_BS.eq(self.padding_idx)
        real_T = self.feed_forwards.rows(pad_right_BS)
        x_SBD = self.word_dropout(embed(self.embedding, tokens_BS), tokens_BS)
        x_SBD = self.dropout_in(x_SBD)
        routing: dict[str, Routing] = {}
        for number, layer in enumerate(self.layers, start=1):
            y_SBD, _ = layer(x_SBD)
            if number == 1 and self.bidirectional:
                y_SBD = torch.cat([y_SBD, self._backward(x_SBD, pad_right_BS)], dim=2)
            y_SBD = self.dropout(y_SBD)
            x_SBD = x_SBD + y_SBD if number >= self.residual_from else y_SBD
            x_SBD = self.feed_forwards.after(number, x_SBD, real_T, routing)
        return {
            "encoder_out": [gather_time(x_SBD, order_BS.argsort(dim=1))],
            "encoder_padding_mask": [src_tokens.eq(self.padding_idx)],
            "routing": routing,
        }

    def _backward(self, x_SBD: Tensor, pad_right_BS: Tensor) -> Tensor:
        """Layer 1 from the last real token to the first; padding stays on the right."""
        steps_S = torch.arange(x_SBD.shape[0], device=x_SBD.device)
        lengths_B1 = pad_right_BS.logical_not().sum(dim=1, keepdim=True)
        reverse_BS = torch.where(pad_right_BS, steps_S, lengths_B1 - 1 - steps_S)
        y_SBD, _ = self.backward_layer(gather_time(x_SBD, reverse_BS))
        return gather_time(y_SBD, reverse_BS)

    @property
    def embed_tokens(self) -> nn.Embedding:
        """The embedding, by fairseq's name."""
        return self.embedding

    def reorder_encoder_out(self, encoder_out: dict, new_order: Tensor) -> dict:
        """Select and reorder the sentences ``new_order`` of an output, for beam search."""
        by_sentence = {"encoder_padding_mask", "keys"} & encoder_out.keys()
        return {
            "encoder_out": [x.index_select(1, new_order) for x in encoder_out["encoder_out"]],
            "routing": {},  # of another batch
        } | {
            name: [x.index_select(0, new_order) for x in encoder_out[name]] for name in by_sentence
        }

    def max_positions(self) -> int:
        """Sentences may have any length."""
        return int(1e5)
