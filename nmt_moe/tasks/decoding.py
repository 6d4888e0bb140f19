"""A model that reads the hypotheses of a beam, step by step."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nmt_moe.tasks.beam import Ended, Step


class Decoding:
    """The decoder with its state and the encoder's output, in the order of a beam's rows.

    A decoder with ``share_source`` has the encoder's output once for each sentence; any other one
    for each of its rows, which are then ``width`` for a sentence from the beginning.

    Args:
        model: in evaluation mode.
        encoder_out: of the sentences.
        sentences: how many they are.
        width: of the beam.
        device: of the model.
    """

    def __init__(
        self, model: Any, encoder_out: Any, sentences: int, width: int, device: torch.device
    ) -> None:
        self._encoder, self._decoder = model.encoder, model.decoder
        self._device = device
        self._state: dict[str, dict[str, Tensor | None]] = {}
        self._attention: list[Tensor] = []
        share = getattr(model.decoder, "share_source", None)
        self._shares = share is not None
        self._alike = 1 if self._shares else width  # rows of each hypothesis, now
        if share is not None:
            self._encoder_out = share(encoder_out)
        else:
            order = torch.arange(sentences, device=device).repeat_interleave(width)
            self._encoder_out = self._encoder.reorder_encoder_out(encoder_out, order)

    def read(self, tokens_RL: np.ndarray, features: bool = False) -> Tensor:
        """The logits ``[R, V]`` of the next words, or the ``features`` that they are made of."""
        tokens = to_device(tokens_RL, self._device)
        if self._alike > 1:
            tokens = tokens.repeat_interleave(self._alike, dim=0)
        out = self._decoder(
            tokens,
            encoder_out=self._encoder_out,
            incremental_state=self._state,
            **({"features_only": True} if features else {}),
        )
        attention = _attention(out)
        if attention is not None:
            self._attention.append(attention[:: self._alike, -1].float())
        return out[0][:: self._alike, -1]

    def go_on(self, step: Step) -> None:
        """Put the rows into the order of the next step."""
        order_R = step.order_R * self._alike
        self._alike = 1
        order = to_device(order_R, self._device)
        if not self._shares:
            self._decoder.reorder_incremental_state_scripting(self._state, order)
            if step.sentences_B is not None:  # else each row has another one of its sentence
                self._encoder_out = self._encoder.reorder_encoder_out(self._encoder_out, order)
            return
        if not np.array_equal(order_R, np.arange(step.rows_before)):
            self._decoder.reorder_incremental_state(self._state, order)
        if step.sentences_B is not None:
            kept = to_device(step.sentences_B, self._device)
            self._encoder_out = self._encoder.reorder_encoder_out(self._encoder_out, kept)

    def result(self, ended: Sequence[Sequence[Ended]]) -> list[list[dict[str, Tensor]]]:
        """What fairseq's search returns: for each sentence its hypotheses, the best first."""
        ordered = [sorted(group, key=lambda one: one.score, reverse=True) for group in ended]
        flat = [one for group in ordered for one in group]
        if not flat:
            return [[] for _ in ended]
        lengths = [len(one.tokens_L) for one in flat]
        tokens, log_p, rows = (
            to_device(np.concatenate(parts), self._device)
            for parts in (
                [one.tokens_L for one in flat],
                [one.log_probability_L for one in flat],
                [one.row_L for one in flat],
            )
        )
        scores = to_device(np.array([one.score for one in flat]), self._device)
        attention: Sequence[Tensor] = [torch.empty(0)] * len(flat)
        if self._attention:
            found_NS = torch.cat(self._attention).index_select(0, rows)
            attention = [part_LS.T for part_LS in found_NS.split(lengths)]
        columns = (tokens.split(lengths), scores, attention, log_p.split(lengths))
        made = (
            {
                "tokens": tokens_L,
                "score": score,
                "attention": attention_SL,
                "alignment": torch.empty(0),
                "positional_scores": log_p_L,
            }
            for tokens_L, score, attention_SL, log_p_L in zip(*columns, strict=True)
        )
        return [[next(made) for _ in group] for group in ordered]


def to_device(x: np.ndarray, device: torch.device) -> Tensor:
    """On the device of the model. The host goes on at once: it waits for copies of other memory
    than such as the GPU reads by itself."""
    tensor = torch.from_numpy(x)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor


def _attention(out: Any) -> Tensor | None:
    """What a decoder returns of it, ``[R, L, S]``."""
    extra = out[1] if len(out) > 1 else None
    if extra is None or isinstance(extra, Tensor):
        return extra
    found = extra["attn"]
    return found if found is None or isinstance(found, Tensor) else found[0]
