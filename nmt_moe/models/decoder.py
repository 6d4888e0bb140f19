"""The decoder: an LSTM with attention feedback, then LSTMs over the whole sequence."""

from typing import Any

from torch import Tensor, nn

from nmt_moe.models.attention import ATTENTIONS, OutputAttention
from nmt_moe.models.config import LSTMMoEConfig, moe_positions
from nmt_moe.models.dropout import Constant, WordDropout, dropout
from nmt_moe.models.embedding import embed, make_embedding
from nmt_moe.models.feed_forward import FeedForwards
from nmt_moe.models.incremental import IncrementalDecoder
from nmt_moe.models.linear import apply
from nmt_moe.models.lstm import LSTM, AttentionLSTM
from nmt_moe.models.output import make_adaptive_softmax, make_output
from nmt_moe.models.pretrained import prepare


class LSTMMoEDecoder(IncrementalDecoder):
    """Stacked LSTMs with residual connections, attention in layer 1, and the softmax.

    The logits start with a third of the mean square of the last layer's output, which is 1 to 2:
    their softmax is near uniform at any width.

    Args:
        cfg: the model's options.
        dictionary: the target dictionary.
        embedding: the encoder's, where both share it.
    """

    def __init__(
        self, cfg: LSTMMoEConfig, dictionary: Any, embedding: nn.Embedding | None = None
    ) -> None:
        super().__init__(dictionary)
        self.padding_idx = dictionary.pad()
        self.embedding = embedding or make_embedding(dictionary, cfg.dim)
        prepare(self.embedding, dictionary, cfg, "decoder")
        self.word_dropout = WordDropout(cfg.word_dropout, dictionary)
        self.dropout_in = dropout(cfg, "decoder", "in", self)
        self.dropout = dropout(cfg, "decoder", "out", self)
        self.attention = ATTENTIONS[str(cfg.attention)](cfg.dim, cfg.attention_residual)
        self.layers = nn.ModuleList([AttentionLSTM(cfg.dim, cfg.lstm_cells, Constant.of(cfg))])
        for _ in range(cfg.decoder_layers - 1):
            self.layers.append(LSTM(cfg.dim, cfg.dim, cfg.lstm_cells, Constant.of(cfg)))
        self.residual_from = cfg.decoder_residual_from
        self.feed_forwards = FeedForwards(cfg, moe_positions(cfg, "decoder"), "decoder")
        self.output_attention = OutputAttention(cfg.dim) if cfg.output_attention else None
        self.output = make_output(cfg, self.embedding, len(dictionary))
        self.adaptive_softmax = make_adaptive_softmax(cfg, len(dictionary))

    def extract_features(
        self,
        prev_output_tokens: Tensor,
        encoder_out: dict,
        incremental_state: dict | None = None,
        **_: Any,
    ) -> tuple[Tensor, dict]:
        """What the logits are made of: the output of the last layer, and of its attention.

        Args:
            prev_output_tokens: ``[B, L]``, shifted right, padded on the right. With an
                incremental state only the last column is read.
            encoder_out: what the encoder returned, or :meth:`share_source` made of it.
            incremental_state: fairseq's cache between the steps of a beam search.

        Returns:
            Features ``[B, L, D]`` and a dict with ``attn`` ``[[B, L, S]]`` and ``routing``, the
            :class:`Routing` of every MoE layer of encoder and decoder by name.
        """
        prev_output_tokens, cache = self.resume(prev_output_tokens, incremental_state)
        source_BSD = encoder_out["encoder_out"][0].transpose(0, 1)
        new_cache = {}
        if "keys" in encoder_out:
            [keys_BSD] = encoder_out["keys"]
        else:
            keys_BSD = cache["keys"] if cache else self.attention.keys(source_BSD)
            new_cache["keys"] = keys_BSD
        pad_BS = encoder_out["encoder_padding_mask"][0]

        pad_BL = prev_output_tokens.eq(self.padding_idx)
        real_T = self.feed_forwards.rows(pad_BL, incremental_state is not None)
        x_LBD = self.word_dropout(embed(self.embedding, prev_output_tokens), prev_output_tokens)
        x_LBD = self.dropout_in(x_LBD)
        routing = dict(encoder_out["routing"])
        for number, layer in enumerate(self.layers, start=1):
            state = (cache[f"h{number}"], cache[f"c{number}"]) if cache else None
            if number == 1:
                y_LBD, context_LBD, attn_BLS, state = layer(
                    x_LBD, self.attention, keys_BSD, source_BSD, pad_BS, state
                )
            else:
                y_LBD, state = layer(x_LBD, state)
            new_cache[f"h{number}"], new_cache[f"c{number}"] = state
            y_LBD = self.dropout(y_LBD)
            x_LBD = x_LBD + y_LBD if number >= self.residual_from else y_LBD
            if number == 1 and self.attention.residual is not None:
                x_LBD = x_LBD + self.dropout(apply(self.attention.residual, context_LBD))
            x_LBD = self.feed_forwards.after(number, x_LBD, real_T, routing)
        self.keep(new_cache, incremental_state)
        x_BLD = x_LBD.transpose(0, 1)
        if self.output_attention is not None:
            x_BLD = x_BLD + self.dropout(self.output_attention(x_BLD, source_BSD, pad_BS))
        return x_BLD, {"attn": [attn_BLS], "routing": routing}

    def share_source(self, encoder_out: dict) -> dict:
        """The encoder's output for a search that does not repeat it for each hypothesis: with it
        the decoder takes equally many rows of tokens for each sentence, side by side, and without
        a gradient. ``reorder_encoder_out`` selects sentences of it."""
        source_BSD = encoder_out["encoder_out"][0].transpose(0, 1).contiguous()
        shared = {"encoder_out": [source_BSD.transpose(0, 1)]}
        return encoder_out | shared | {"keys": [self.attention.keys(source_BSD)]}
