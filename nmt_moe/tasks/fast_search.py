"""fairseq's beam search with all that is around the model's products made fast.

The result is the same. What is otherwise: no softmax of all words is written
(:mod:`nmt_moe.kernels.cpu.best`); the hypotheses are kept by :class:`~nmt_moe.tasks.beam.Beam`; the
first step reads each sentence once; and a decoder that can share the encoder's output
(``share_source``) has it once for each sentence, not for each hypothesis.
"""

from typing import Any

import torch
from fairseq.models import BaseFairseqModel, FairseqDecoder
from fairseq.models.transformer import TransformerModelBase
from fairseq.modules import FairseqDropout
from fairseq.search import BeamSearch
from fairseq.sequence_generator import SequenceGenerator
from torch import Tensor

from nmt_moe.common.errors import UserError
from nmt_moe.kernels.cpu.best import best
from nmt_moe.tasks.beam import Beam, Step
from nmt_moe.tasks.decoding import Decoding

_PROBABILITIES = ("get_normalized_probs", "get_normalized_probs_scriptable")


class FastSearch(SequenceGenerator):
    """Takes the fast way for what it covers, and fairseq's for all other options and models."""

    def covers(self, net_input: dict[str, Tensor]) -> bool:
        """Whether the fast way gives what fairseq's would: for a plain beam search of one
        translation model, whatever its length limits, penalties and temperature."""
        [model, *others] = self.model.models
        return (
            not others
            and self.model.has_incremental_states()
            and "src_tokens" in net_input
            and type(self.search) is BeamSearch
            and self.lm_model is None
            and self.repeat_ngram_blocker is None
            and not self.match_source_len
            and _has_softmax(model)
            and not any(map(_draws, model.modules()))
        )

    def _generate(
        self,
        sample: dict[str, dict[str, Tensor]],
        prefix_tokens: Tensor | None = None,
        constraints: Tensor | None = None,
        bos_token: int | None = None,
    ) -> list[list[dict[str, Tensor]]]:
        net_input = sample["net_input"]
        if prefix_tokens is not None or constraints is not None or not self.covers(net_input):
            return super()._generate(sample, prefix_tokens, constraints, bos_token)
        source_BS = net_input["src_tokens"]
        longest = min(int(self.max_len_a * source_BS.shape[1] + self.max_len_b), self.max_len - 1)
        if self.min_len > longest:
            raise UserError(
                f"--min-len {self.min_len} is above the longest translation, {longest}: lower it, "
                "or raise --max-len-b"
            )
        [model] = self.model.models
        [encoder_out] = self.model.forward_encoder(net_input)
        width, device = self.beam_size, source_BS.device
        decoding = Decoding(model, encoder_out, len(source_BS), width, device)
        beam = Beam(
            sentences=len(source_BS),
            width=width,
            longest=longest,
            words=self.vocab_size,
            start=self.eos if bos_token is None else bos_token,
            pad=self.pad,
            end=self.eos,
            length_penalty=self.len_penalty if self.normalize_scores else 0,
        )
        for step in range(longest + 1):
            logits_RV = decoding.read(beam.tokens_RL[:, : step + 1])
            going = self._advance(beam, step, logits_RV)
            if going is None:
                break
            decoding.go_on(going)
        return decoding.result(beam.ended)

    def _advance(self, beam: Beam, step: int, logits_RV: Tensor) -> Step | None:
        if self.temperature != 1:
            logits_RV = logits_RV / self.temperature
        changed: dict[int, float] = {self.pad: -float("inf"), self.unk: -self.unk_penalty}
        if step < self.min_len:
            changed[self.eos] = -float("inf")
        if self.token_indices_to_suppress is not None:
            changed |= dict.fromkeys(self.token_indices_to_suppress.tolist(), -float("inf"))
        if step == beam.longest:
            end_R1 = logits_RV[:, self.eos : self.eos + 1].float()
            log_p_RK = end_R1 - logits_RV.float().logsumexp(1, keepdim=True)
            log_p_RK = log_p_RK.nan_to_num(-float("inf"), float("inf"), -float("inf"))
            word_RK = torch.full_like(log_p_RK, self.eos, dtype=torch.int64)
        else:
            count = min(2 * beam.width, self.vocab_size)
            words, extra = torch.tensor([*changed]), torch.tensor([*changed.values()])
            log_p_RK, word_RK = best(logits_RV, count, words, extra)
        try:
            return beam.advance(step, log_p_RK.cpu().numpy(), word_RK.cpu().numpy())
        except ValueError as error:
            raise UserError(
                f"the search finds no translation, {error}: are the model's numbers finite?"
            ) from None


def _has_softmax(model: Any) -> bool:
    """Whether its probabilities are the softmax of the decoder's output."""
    usual = {"get_normalized_probs": [BaseFairseqModel, TransformerModelBase]}
    return (
        getattr(model.decoder, "adaptive_softmax", None) is None
        and all(
            getattr(type(model), name)
            in [getattr(one, name) for one in usual.get(name, [BaseFairseqModel])]
            for name in _PROBABILITIES
        )
        and all(
            getattr(type(model.decoder), name) is getattr(FairseqDecoder, name)
            for name in _PROBABILITIES
        )
    )


def _draws(module: Any) -> bool:
    """Whether its output is of chance, as with --retain-dropout: of how many rows, matters."""
    return module.training or (isinstance(module, FairseqDropout) and module.apply_during_inference)
