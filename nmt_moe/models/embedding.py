"""Word embeddings, scaled for the LSTMs that read them."""

from typing import Any

from torch import Tensor, nn


def make_embedding(dictionary: Any, dim: int) -> nn.Embedding:
    """A matrix with entries of variance 1/dim; padding is 0."""
    embedding = nn.Embedding(len(dictionary), dim, padding_idx=dictionary.pad())
    nn.init.normal_(embedding.weight, std=dim**-0.5)
    nn.init.zeros_(embedding.weight[dictionary.pad()])
    return embedding


def embed(embedding: nn.Embedding, tokens_BS: Tensor) -> Tensor:
    """``[B, S]`` tokens as ``[S, B, D]``, of variance 1: an LSTM learns slowly from less.

    The scale is not in the matrix, where Adam's steps would be small beside it.
    """
    return embedding(tokens_BS).transpose(0, 1) * embedding.embedding_dim**0.5
