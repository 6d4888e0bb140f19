"""Attention from a decoder state to the source (appendix G)."""

import torch
from torch import Tensor, nn

from nmt_moe.models.linear import RecurrentLinear, apply
from nmt_moe.moe.gating import at_least_float32


class MultiplicativeAttention(nn.Module):
    """The paper's function: ``A(x, y) = sum_d V_d tanh(xU)_d tanh(yW)_d``.

    The keys are computed once per batch; the scores of a query are then one matrix product.

    ``V`` starts at ``D**-0.5``: a score, which sums ``D`` products of two hyperbolic tangents, has
    a variance below 1 at any width, so the softmax is near uniform and every position gets a
    gradient. With ``V`` of ones the first updates would move all scores by ``D``, and attention
    would never leave one position. ``xU`` and ``yW`` have a third of the mean square of ``x``
    and ``y`` (at first 0.4 and less than 0.02), where the tangent is steep; and so has the
    residual of the context.

    Args:
        dim: width of queries and source.
        residual: add a matrix ``residual``, through which a decoder adds the contexts to the
            outputs of its layers.
    """

    bounded = True
    """Whether a hyperbolic tangent bounds the query of a product."""

    def __init__(self, dim: int, residual: bool = False) -> None:
        super().__init__()
        self.source = nn.Linear(dim, dim, bias=False)
        self.query = RecurrentLinear(dim, dim, bias=False)
        self.v = nn.Parameter(torch.full((dim,), dim**-0.5))
        self.residual = nn.Linear(dim, dim, bias=False) if residual else None

    def keys(self, source_BSD: Tensor) -> Tensor:
        """The keys ``[B, S, D]`` of the source, computed once per batch."""
        return torch.tanh(apply(self.source, source_BSD)) * self.v

    def forward(
        self, query_BD: Tensor, keys_BSD: Tensor, source_BSD: Tensor, pad_BS: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The context ``[B, D]`` and the attention weights ``[B, S]``; 0 on padding."""
        weights_BS = attention_weights(
            self.query(query_BD), keys_BSD, pad_BS, self.v_of_scores, self.bounded
        )
        return context(weights_BS, source_BSD), weights_BS

    @property
    def v_of_scores(self) -> Tensor | None:
        """``V`` where the scores need it; None: the keys include it."""
        return None


class AdditiveAttention(MultiplicativeAttention):
    """GNMT's function: ``A(x, y) = V . tanh(xU + yW)``.

    ``V`` starts with a variance of ``1/(3*D)``: a score has a third of the mean square of the
    tangents, about 0.1 at any width. Entries of ``V`` have both signs, otherwise all positions
    would have similar scores.
    """

    def __init__(self, dim: int, residual: bool = False) -> None:
        super().__init__(dim, residual)
        nn.init.uniform_(self.v, -(dim**-0.5), dim**-0.5)

    def keys(self, source_BSD: Tensor) -> Tensor:
        return apply(self.source, source_BSD)

    @property
    def v_of_scores(self) -> Tensor | None:
        return self.v


class DotAttention(MultiplicativeAttention):
    """The scaled dot product of Vaswani et al. 2017: ``A(x, y) = xU . yW / sqrt(D)``.

    A score has a ninth of the mean squares of ``x`` and ``y``: near uniform at first, at any width.
    """

    bounded = False

    def __init__(self, dim: int, residual: bool = False) -> None:
        super().__init__(dim, residual)
        del self.v

    def keys(self, source_BSD: Tensor) -> Tensor:
        return apply(self.source, source_BSD) * source_BSD.shape[2] ** -0.5


class OutputAttention(nn.Module):
    """A second attention, of what the last layer puts out (Luong et al. 2015, section 3.1).

    The query of the other one is the output of the step before. This one knows the word before,
    and no step waits for another. The weights of the positions ``y`` are the softmax of
    ``xW . y / sqrt(D)``. Scores start with a third of the mean squares of ``x`` and ``y``, near
    uniform at any width, and the output, a product of the context, with a third of its mean square.

    Args:
        dim: width of queries and source.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.query = nn.Linear(dim, dim, bias=False)
        self.residual = nn.Linear(dim, dim, bias=False)

    def forward(self, x_RLD: Tensor, source_BSD: Tensor, pad_BS: Tensor) -> Tensor:
        """What a decoder adds to the output of its last layer.

        Args:
            x_RLD: that output: equally many rows for each sentence, side by side.
            source_BSD: the output of the encoder.
            pad_BS: true on the source's padding.

        Returns:
            ``[R, L, D]``.
        """
        query_RLD = apply(self.query, x_RLD, wide=True) * x_RLD.shape[2] ** -0.5
        with torch.autocast(x_RLD.device.type, enabled=False):
            source_BSD = source_BSD.type_as(query_RLD)
            weights_NS = attention_weights(query_RLD.flatten(0, 1), source_BSD, pad_BS, None, False)
            context_RLD = context(weights_NS, source_BSD).view_as(query_RLD)
        return apply(self.residual, context_RLD)


def attention_weights(
    query_RD: Tensor,
    keys_BSD: Tensor,
    pad_BS: Tensor,
    v_D: Tensor | None,
    bounded: bool = True,
) -> Tensor:
    """The softmax of the scores, ``[R, S]``, in float32 at least; 0 on padding.

    Args:
        query_RD: the projected queries, ``yW``: equally many for each sentence, side by side.
        keys_BSD: from :meth:`MultiplicativeAttention.keys`.
        pad_BS: true on padding.
        v_D: ``V`` of additive attention; None: a product of queries and keys.
        bounded: whether a hyperbolic tangent bounds the queries of a product.
    """
    query_BQD = by_sentence(query_RD, len(keys_BSD))
    if v_D is None:
        query_BQD = torch.tanh(query_BQD) if bounded else query_BQD
        scores_BQS = torch.bmm(keys_BSD, query_BQD.mT).mT
    else:
        scores_BQS = torch.tanh(keys_BSD.unsqueeze(1) + query_BQD.unsqueeze(2)) @ v_D
    pad_B1S = pad_BS.unsqueeze(1)
    scores_BQS = at_least_float32(scores_BQS).masked_fill(pad_B1S, float("-inf"))
    # A sentence of padding only, as in an empty batch, would be 0/0.
    weights_BQS = scores_BQS.softmax(2).type_as(query_RD).masked_fill(pad_B1S, 0)
    return weights_BQS.flatten(0, 1)


def context(weights_RS: Tensor, source_BSD: Tensor) -> Tensor:
    """The means ``[R, D]`` of the source by weights, which are those of
    :func:`attention_weights`."""
    return by_sentence(weights_RS, len(source_BSD)).bmm(source_BSD).flatten(0, 1)


def by_sentence(x_RN: Tensor, sentences: int) -> Tensor:
    """``[B, Q, N]`` of ``[B*Q, N]``, also where there is no sentence."""
    rows, width = x_RN.shape
    return x_RN.view(sentences, rows // max(sentences, 1), width)


ATTENTIONS: dict[str, type[MultiplicativeAttention]] = {
    "multiplicative": MultiplicativeAttention,
    "additive": AdditiveAttention,
    "dot": DotAttention,
}
"""Attention functions by the name that users give."""
