"""``--arch lstm_moe``: the translation model of appendix E."""

from typing import Any

from fairseq.models import FairseqEncoderDecoderModel, register_model
from torch import nn

from nmt_moe.errors import UserError
from nmt_moe.models.config import LSTMMoEConfig, check
from nmt_moe.models.decoder import LSTMMoEDecoder
from nmt_moe.models.encoder import LSTMMoEEncoder

NAME = "lstm_moe"


@register_model(NAME, dataclass=LSTMMoEConfig)
class LSTMMoEModel(FairseqEncoderDecoderModel):
    """LSTM encoder-decoder with sparsely-gated mixtures of experts between its layers."""

    @classmethod
    def build_model(cls, cfg: LSTMMoEConfig, task: Any) -> "LSTMMoEModel":
        """Build the model that the options describe.

        Raises:
            UserError: options that do not fit together.
        """
        check(cfg)
        source, target = task.source_dictionary, task.target_dictionary
        target_embedding = embedding(target, cfg.dim)
        if cfg.share_all_embeddings:
            if source != target:
                raise UserError(
                    "--share-all-embeddings needs one dictionary for both languages: "
                    "run fairseq-preprocess with --joined-dictionary"
                )
            source_embedding = target_embedding
        else:
            source_embedding = embedding(source, cfg.dim)
        softmax_weight = target_embedding.weight
        if not (cfg.share_all_embeddings or cfg.share_decoder_input_output_embed):
            softmax_weight = embedding(target, cfg.dim).weight
        return cls(
            LSTMMoEEncoder(cfg, source, source_embedding),
            LSTMMoEDecoder(cfg, target, target_embedding, softmax_weight),
        )


def embedding(dictionary: Any, dim: int) -> nn.Embedding:
    """An embedding whose output has entries of variance 1/dim, and zeros for padding."""
    table = nn.Embedding(len(dictionary), dim, padding_idx=dictionary.pad())
    nn.init.normal_(table.weight, std=dim**-0.5)
    nn.init.zeros_(table.weight[dictionary.pad()])
    return table
