"""fairseq's beam search with all that is around the model's products made fast.

The result is the same. What is otherwise: no softmax of all words is written
(:mod:`nmt_moe.kernels.cpu.best`); the hypotheses are kept by :class:`~nmt_moe.tasks.beam.Beam`; the
first step reads each sentence once; and a decoder that can share the encoder's output
(``share_source``) has it once for each sentence, not for each hypothesis.
"""

from typing import Any

import numpy as np
import torch
from fairseq.models import BaseFairseqModel, FairseqDecoder
from fairseq.models.transformer import TransformerModelBase
from fairseq.modules import FairseqDropout
from fairseq.search import BeamSearch
from fairseq.sequence_generator import SequenceGenerator
from torch import Tensor

from nmt_moe.common.errors import UserError
from nmt_moe.corpus.shortlist import Shortlist
from nmt_moe.tasks.beam import Beam
from nmt_moe.tasks.decoding import Decoding
from nmt_moe.tasks.words import Words


class FastSearch(SequenceGenerator):
    """Takes the fast way for what it covers, and fairseq's for all other options and models.

    Args:
        args: of fairseq's.
        shortlist: translations have the pieces that this table allows; None: all. Probabilities
            are those among these pieces.
        kwargs: of fairseq's.
    """

    def __init__(self, *args: Any, shortlist: Shortlist | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.shortlist = shortlist

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
            if self.shortlist is not None:
                raise UserError(
                    "--shortlist is for a plain beam search of one model: leave it out, or the "
                    "options that change the search, such as --sampling or --prefix-size"
                )
            return super()._generate(sample, prefix_tokens, constraints, bos_token)
        source_BS = net_input["src_tokens"]
        longest = min(int(self.max_len_a * source_BS.shape[1] + self.max_len_b), self.max_len - 1)
        if self.min_len > longest:
            raise UserError(
                f"--min-len {self.min_len} is above the longest translation, {longest}: lower it, "
                "or raise --max-len-b"
            )
        [model] = self.model.models
        # Fairseq's own models keep tensors of a search, which a training may meet again.
        with torch.inference_mode() if _shares(model) else torch.no_grad():
            words = self._words(model, source_BS)
            width = min(self.beam_size, len(words) - 1)
            [encoder_out] = self.model.forward_encoder(net_input)
            decoding = Decoding(model, encoder_out, len(source_BS), width, source_BS.device)
            beam = Beam(
                sentences=len(source_BS),
                width=width,
                longest=longest,
                words=len(words),
                start=self.eos if bos_token is None else bos_token,
                pad=self.pad,
                end=self.eos,
                length_penalty=self.len_penalty if self.normalize_scores else 0,
            )
            self._search(beam, decoding, words)
        return decoding.result(beam.ended)

    def _words(self, model: Any, source_BS: Tensor) -> Words:
        if self.shortlist is None:
            return Words(self.vocab_size)
        if not hasattr(model.decoder, "output_of"):
            raise UserError("--shortlist is for --arch lstm_moe: leave it out for other models")
        special = [self.pad, self.eos, self.unk]
        chosen_N = np.union1d(self.shortlist.select(source_BS.cpu().numpy()), special)
        on_device = torch.from_numpy(chosen_N).to(source_BS.device)
        return Words(self.vocab_size, chosen_N, model.decoder.output_of(on_device))

    def _search(self, beam: Beam, decoding: Decoding, words: Words) -> None:
        suppressed = self.token_indices_to_suppress
        banned = [self.pad, *([] if suppressed is None else suppressed.tolist())]
        for step in range(beam.longest + 1):
            out_RX = decoding.read(beam.tokens_RL[:, : step + 1], words.output is not None)
            logits_RV = out_RX if words.output is None else words.output(out_RX)
            if self.temperature != 1:
                logits_RV = logits_RV / self.temperature
            if step == beam.longest:
                found = words.only(logits_RV, self.eos)
            else:
                never = [*banned, self.eos] if step < self.min_len else banned
                extra = {self.unk: -self.unk_penalty} if self.unk_penalty else {}
                extra |= dict.fromkeys(never, -float("inf"))
                found = words.best(logits_RV, 2 * beam.width, extra)
            try:
                going = beam.advance(step, *found)
            except ValueError as error:
                raise UserError(
                    f"the search finds no translation, {error}: are the model's numbers finite?"
                ) from None
            if going is None:
                break
            decoding.go_on(going)


def _shares(model: Any) -> bool:
    return hasattr(model.decoder, "share_source")


def _has_softmax(model: Any) -> bool:
    """Whether its probabilities are the softmax of the decoder's output."""
    return getattr(model.decoder, "adaptive_softmax", None) is None and all(
        getattr(getattr(part, name), "__func__", None)  # that of an instance may be another
        in [getattr(usual, name) for usual in kinds]
        for part, kinds in (
            (model, (BaseFairseqModel, TransformerModelBase)),
            (model.decoder, (FairseqDecoder,)),
        )
        for name in ("get_normalized_probs", "get_normalized_probs_scriptable")
    )


def _draws(module: Any) -> bool:
    """Whether its output is of chance, as with --retain-dropout: of how many rows, matters."""
    return module.training or (isinstance(module, FairseqDropout) and module.apply_during_inference)
