"""``--arch lstm_moe``: the translation model of appendix E."""

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import torch
from fairseq.models import FairseqEncoderDecoderModel, register_model

from nmt_moe.common.errors import UserError
from nmt_moe.models import fairseq_options
from nmt_moe.models.config import LSTMMoEConfig, check
from nmt_moe.models.decoder import LSTMMoEDecoder
from nmt_moe.models.dropout import RetainsDropout
from nmt_moe.models.encoder import LSTMMoEEncoder
from nmt_moe.models.from_pretrained import FromPretrained
from nmt_moe.models.quantized.model import check_float, replace_weights
from nmt_moe.models.sharing import share_experts
from nmt_moe.models.task import balance_experts, check_task, end_workers

NAME = "lstm_moe"


@register_model(NAME, dataclass=LSTMMoEConfig)
class LSTMMoEModel(FromPretrained, RetainsDropout, FairseqEncoderDecoderModel):
    """LSTM encoder-decoder with sparsely-gated mixtures of experts between its layers."""

    int8 = False
    """Whether its weights are in int8, for translating only."""

    @classmethod
    def add_args(cls, parser: Any) -> None:
        """Add the model's options, and those of fairseq's translation models."""
        super().add_args(parser)
        fairseq_options.add_to(parser, LSTMMoEConfig.__dataclass_fields__)

    @classmethod
    def build_model(cls, cfg: LSTMMoEConfig, task: Any) -> "LSTMMoEModel":
        """Build the model that the options describe.

        Raises:
            UserError: the options contradict each other, or the task is one of language modelling.
        """
        check_task(cfg._name or NAME, type(task), language_model=False)
        check(cfg)
        source, target = task.source_dictionary, task.target_dictionary
        if cfg.share_all_embeddings and source != target:
            raise UserError(
                "--share-all-embeddings needs one dictionary of both languages: make the data with "
                "fairseq-preprocess --joined-dictionary"
            )
        # In int8 the weights in float32 never take memory.
        with torch.device("meta") if cfg.int8_weights else nullcontext():
            encoder = LSTMMoEEncoder(cfg, source)
            shared = encoder.embedding if cfg.share_all_embeddings else None
            model = cls(encoder, LSTMMoEDecoder(cfg, target, shared))
        if cfg.int8_weights:
            replace_weights(model.eval())
        share_experts(model, cfg, task)
        end_workers(task)
        balance_experts(model, task, cfg)
        return model

    def train(self, mode: bool = True) -> "LSTMMoEModel":
        """Set training or evaluation mode.

        Raises:
            UserError: the model is in int8 and cannot be trained.
        """
        if mode and self.int8:
            raise UserError(
                "a model in int8 is for translating only: train the one in float32 that it was "
                "made of"
            )
        return super().train(mode)

    def load_state_dict(self, state_dict: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Load a checkpoint; into int8 one of float32, too.

        Raises:
            UserError: the checkpoint is in int8 and the model is not.
        """
        if not self.int8:
            check_float(state_dict)
        return super().load_state_dict(state_dict, *args, **kwargs)
