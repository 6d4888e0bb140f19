"""A decoder as fairseq asks for one: its features and logits, and its cache in a beam search."""

from collections.abc import Callable
from typing import Any

from fairseq.models import FairseqIncrementalDecoder
from torch import Tensor, nn

from nmt_moe.models.linear import apply
from nmt_moe.models.output import is_fresh, of_words
from nmt_moe.models.sharing import check_alone

_CACHE = "lstm_moe"  # our key in fairseq's incremental state


class IncrementalDecoder(FairseqIncrementalDecoder):
    """A decoder whose cache is tensors ``[B, ...]`` by name."""

    embedding: nn.Embedding
    output: nn.Module

    def forward(
        self,
        *args: Any,
        features_only: bool = False,
        head: Callable[..., Tensor] | None = None,
        **kwargs: Any,
    ) -> tuple[Tensor, dict]:
        """Score every next token.

        Args:
            args: what ``extract_features`` takes.
            features_only: return the features in place of the logits.
            head: return what it makes of the features, of :meth:`output_layer`, and of whether
                the backward pass of that one needs what it returns no more.
            kwargs: what ``extract_features`` takes.

        Returns:
            Logits ``[B, L, V]``, and the dict that comes with the features.
        """
        features_BLD, extra = self.extract_features(*args, **kwargs)
        if features_only:
            return features_BLD, extra
        if head is None:
            return self.output_layer(features_BLD), extra
        ours = type(self).output_layer is IncrementalDecoder.output_layer
        return head(features_BLD, self.output_layer, ours and is_fresh(self.output)), extra

    def output_layer(self, features: Tensor, **_: Any) -> Tensor:
        """The logits ``[B, L, V]`` of features ``[B, L, D]``."""
        return apply(self.output, features, wide=True)

    def output_of(self, words_N: Tensor) -> Callable[[Tensor], Tensor]:
        """What makes the logits ``[..., N]`` of these words of features ``[..., D]``."""
        layer = of_words(self.output, words_N)
        return lambda features: apply(layer, features)

    @property
    def embed_tokens(self) -> nn.Embedding:
        """The embedding, by fairseq's name."""
        return self.embedding

    def resume(
        self, tokens_BL: Tensor, incremental_state: dict | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The tokens to read and the cache; with a state, only the last column of the tokens."""
        if incremental_state is None:
            return tokens_BL, {}
        check_alone()
        return tokens_BL[:, -1:], self.get_incremental_state(incremental_state, _CACHE) or {}

    def keep(self, cache: dict[str, Tensor], incremental_state: dict | None) -> None:
        """Save the cache for the next step of a search."""
        if incremental_state is not None:
            self.set_incremental_state(incremental_state, _CACHE, cache)

    def reorder_incremental_state(self, incremental_state: dict, new_order: Tensor) -> None:
        """Select and reorder the sentences ``new_order`` of the cache, for beam search."""
        cache = self.get_incremental_state(incremental_state, _CACHE)
        if cache:
            cache = {name: tensor.index_select(0, new_order) for name, tensor in cache.items()}
            self.keep(cache, incremental_state)

    def max_positions(self) -> int:
        """Sentences may have any length."""
        return int(1e5)
