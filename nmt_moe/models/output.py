"""The last layer of a model: logits of all words."""

from typing import Any

from torch import Tensor, nn

from nmt_moe.models.linear import apply


class TiedOutput(nn.Module):
    """Logits by the rows of an embedding's matrix, of a learned projection of the input.

    Without the projection the residual connections would lead each word straight to its own logit.
    The logits start with a third of the mean square of the input, as those of a matrix of their
    own: the projection keeps a third of it, and the entries of the embedding have variance
    ``1/dim``.

    Args:
        embedding: its matrix is that of ``words``, one parameter with two names.
    """

    def __init__(self, embedding: nn.Embedding) -> None:
        super().__init__()
        symbols, dim = embedding.weight.shape
        self.projection = nn.Linear(dim, dim, bias=False)
        self.words = nn.Linear(dim, symbols, bias=False, device="meta")  # draws no random numbers
        self.words.weight = embedding.weight

    def forward(self, x_BLD: Tensor) -> Tensor:
        """The logits ``[B, L, V]``."""
        return apply(self.words, apply(self.projection, x_BLD))


def make_output(tied: bool, embedding: nn.Embedding, symbols: int) -> nn.Module:
    """The logits of ``symbols`` words, by a matrix of their own or by that of an embedding."""
    return (
        TiedOutput(embedding) if tied else nn.Linear(embedding.embedding_dim, symbols, bias=False)
    )


def word_layer(output: Any) -> Any:
    """The layer with the words' matrix in a module of :func:`make_output`."""
    return output.words if isinstance(output, TiedOutput) else output
