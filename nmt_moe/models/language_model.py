"""``--arch lstm_moe_lm``: the language model of appendix C."""

from typing import Any

from fairseq.models import FairseqLanguageModel, register_model
from torch import Tensor, nn

from nmt_moe.common.errors import UserError
from nmt_moe.models import fairseq_options
from nmt_moe.models.config import LSTMMoELanguageModelConfig, check, moe_positions
from nmt_moe.models.dropout import Constant, RetainsDropout, WordDropout, dropout
from nmt_moe.models.embedding import embed, make_embedding
from nmt_moe.models.feed_forward import FeedForwards
from nmt_moe.models.from_pretrained import FromPretrained
from nmt_moe.models.incremental import IncrementalDecoder
from nmt_moe.models.lstm import LSTM
from nmt_moe.models.output import make_adaptive_softmax, make_output
from nmt_moe.models.padding import gather_time, move_right
from nmt_moe.models.pretrained import prepare
from nmt_moe.models.sharing import share_experts
from nmt_moe.models.task import balance_experts, check_task, end_workers
from nmt_moe.moe import Routing

NAME = "lstm_moe_lm"


class LSTMMoELanguageModelDecoder(IncrementalDecoder):
    """Embedding, LSTMs with mixtures of experts between them, and the softmax.

    Residual connections around every layer, dropout on each output but the last. The logits start
    with a third of the mean square of the last layer's output, as in the translation model.

    Args:
        cfg: the model's options.
        source: the dictionary of the input.
        target: the dictionary of the output; fairseq can make it shorter than the input's.
    """

    def __init__(self, cfg: LSTMMoELanguageModelConfig, source: Any, target: Any) -> None:
        super().__init__(target)
        self.padding_idx = source.pad()
        self.embedding = make_embedding(source, cfg.dim)
        prepare(self.embedding, source, cfg, "decoder")
        self.word_dropout = WordDropout(cfg.word_dropout, source)
        self.dropout_in = dropout(cfg, "decoder", "in", self)
        self.dropout = dropout(cfg, "decoder", "out", self)
        self.layers = nn.ModuleList(
            LSTM(cfg.dim, cfg.dim, cfg.lstm_cells, Constant.of(cfg)) for _ in range(cfg.layers)
        )
        self.feed_forwards = FeedForwards(cfg, moe_positions(cfg), "decoder")
        self.output = make_output(cfg, self.embedding, len(target))
        self.adaptive_softmax = make_adaptive_softmax(cfg, len(target))

    def extract_features(
        self,
        src_tokens: Tensor,
        src_lengths: Tensor | None = None,
        incremental_state: dict | None = None,
        **_: Any,
    ) -> tuple[Tensor, dict]:
        """The output of the last layer, of which the logits are made.

        Args:
            src_tokens: ``[B, L]``, padded on either side. With an incremental state only the
                last column is read.
            src_lengths: ignored.
            incremental_state: fairseq's cache between the steps of a beam search.

        Returns:
            Features ``[B, L, D]`` and a dict with ``attn`` ``[None]``, for fairseq, and
            ``routing``, the :class:`Routing` of every MoE layer by name, ``decoder.<layer>``.
        """
        src_tokens, cache = self.resume(src_tokens, incremental_state)
        tokens_BL, order_BL = move_right(src_tokens, self.padding_idx)
        pad_BL = tokens_BL.eq(self.padding_idx)
        real_T = self.feed_forwards.rows(pad_BL)
        x_LBD = self.word_dropout(embed(self.embedding, tokens_BL), tokens_BL)
        x_LBD = self.dropout_in(x_LBD)
        routing: dict[str, Routing] = {}
        new_cache: dict[str, Tensor] = {}
        for number, layer in enumerate(self.layers, start=1):
            state = (cache[f"h{number}"], cache[f"c{number}"]) if cache else None
            y_LBD, (new_cache[f"h{number}"], new_cache[f"c{number}"]) = layer(x_LBD, state)
            x_LBD = x_LBD + self.dropout(y_LBD)
            x_LBD = self.feed_forwards.after(number, x_LBD, real_T, routing)
        self.keep(new_cache, incremental_state)
        x_LBD = gather_time(x_LBD, order_BL.argsort(dim=1))
        return x_LBD.transpose(0, 1), {"attn": [None], "routing": routing}


@register_model(NAME, dataclass=LSTMMoELanguageModelConfig)
class LSTMMoELanguageModel(FromPretrained, RetainsDropout, FairseqLanguageModel):
    """LSTM language model with sparsely-gated mixtures of experts between its layers."""

    @classmethod
    def add_args(cls, parser: Any) -> None:
        """Add the model's options, and those of fairseq's language models."""
        super().add_args(parser)
        fairseq_options.add_to(parser, LSTMMoELanguageModelConfig.__dataclass_fields__)

    @classmethod
    def build_model(cls, cfg: LSTMMoELanguageModelConfig, task: Any) -> "LSTMMoELanguageModel":
        """Build the model that the options describe.

        Raises:
            UserError: the options contradict each other, or the task is one of translation.
        """
        check_task(cfg._name or NAME, type(task), language_model=True)
        check(cfg)
        source, target = task.source_dictionary, task.target_dictionary
        if cfg.share_decoder_input_output_embed and len(source) != len(target):
            raise UserError(
                f"--share-decoder-input-output-embed: {len(source)} words are read and "
                f"{len(target)} predicted, leave out --output-dictionary-size"
            )
        model = cls(LSTMMoELanguageModelDecoder(cfg, source, target))
        share_experts(model, cfg, task)
        end_workers(task)
        balance_experts(model, task, cfg)
        return model
