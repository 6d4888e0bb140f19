"""The last layer of a model: logits of all words, or what an adaptive softmax makes them of."""

from collections.abc import Callable
from typing import Any

import fairseq.modules
import torch.nn.functional as F
from torch import Tensor, nn

from nmt_moe.common.errors import UserError
from nmt_moe.models import initial
from nmt_moe.models.config import StackConfig, ties_softmax
from nmt_moe.models.linear import apply, linear
from nmt_moe.moe.gating import at_least_float32


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
        return apply(self.words, apply(self.projection, x_BLD), wide=True)

    def of_words(self, words_N: Tensor) -> nn.Module:
        """The same for some of the words, as :func:`of_words`."""
        return nn.Sequential(self.projection, of_words(self.words, words_N))


class AdaptiveSoftmax(fairseq.modules.AdaptiveSoftmax):
    """fairseq's, which ``--criterion adaptive_loss`` needs, for models of half precision too.

    The head has a logit for each frequent word and for each tail; a tail has those of its words,
    of an input that is ``factor`` times narrower than that of the tail before. All logits start
    with a third of the mean square of the input or less.

    Args:
        cfg: the model's options.
        symbols: the number of words.

    Raises:
        UserError: the cutoffs do not fit the words or the width.
    """

    def __init__(self, cfg: StackConfig, symbols: int) -> None:
        cutoffs = _cutoffs(cfg, symbols)
        dropout, factor = cfg.adaptive_softmax_dropout, cfg.adaptive_softmax_factor
        super().__init__(symbols, cfg.dim, cutoffs, dropout, factor)
        for layer in self.modules():
            if type(layer) is nn.Linear:
                layer.__class__ = _Float32Output
                initial.thirds(layer.weight)

    def forward(self, input: Tensor, target: Tensor) -> tuple[list, list]:
        """For head and tails the logits and targets, None for a tail without a target.

        A tail has two logits of nothing before those of its words: fairseq's criterion takes the
        number 1 for padding, which would be that of its second word.
        """
        logits, targets = super().forward(input, target)
        for place in range(1, len(logits)):
            if targets[place] is not None:
                logits[place] = F.pad(logits[place], (2, 0), value=float("-inf"))
                targets[place] = targets[place] + 2
        return logits, targets


class _Float32Output(nn.Linear):
    """A linear layer that takes any precision and returns at least float32."""

    def forward(self, x: Tensor) -> Tensor:
        return at_least_float32(linear(x.to(self.weight.dtype), self.weight, wide=True))


class Features(nn.Module):
    """In place of the logits, what an adaptive softmax reads; the criterion sums in its type."""

    def forward(self, x_BLD: Tensor) -> Tensor:
        """The input, in float32 at least."""
        return at_least_float32(x_BLD)


def make_output(cfg: StackConfig, embedding: nn.Embedding, symbols: int) -> nn.Module:
    """What makes the logits of ``symbols`` words, or what an adaptive softmax reads."""
    if cfg.adaptive_softmax_cutoff:
        return Features()
    if ties_softmax(cfg):
        return TiedOutput(embedding)
    return nn.Linear(cfg.dim, symbols, bias=False)


def make_adaptive_softmax(cfg: StackConfig, symbols: int) -> AdaptiveSoftmax | None:
    """The adaptive softmax, where the options have one."""
    return AdaptiveSoftmax(cfg, symbols) if cfg.adaptive_softmax_cutoff else None


def of_words(output: nn.Module, words_N: Tensor) -> nn.Module:
    """An output layer that makes only the logits ``[..., N]`` of some words, without a gradient.

    Args:
        output: a linear layer, or one with a method ``of_words``.
        words_N: the numbers of the words, in the order of the logits.

    Raises:
        UserError: it has no logits.
    """
    if isinstance(output, nn.Linear):
        weight = output.weight.detach().index_select(0, words_N)
        made = nn.Linear(output.in_features, len(words_N), bias=False, device="meta")
        made.weight = nn.Parameter(weight, requires_grad=False)
        if output.bias is not None:
            made.bias = nn.Parameter(output.bias.detach()[words_N], requires_grad=False)
        return made
    some: Callable[[Tensor], nn.Module] | None = getattr(output, "of_words", None)
    if some is None:
        raise UserError(f"--shortlist: {type(output).__name__} computes all words only")
    return some(words_N)


def is_fresh(output: nn.Module) -> bool:
    """Whether its backward pass reads no logits, so that whoever gets them may overwrite them."""
    return all(type(module) in (nn.Linear, TiedOutput) for module in output.modules())


def word_layer(decoder: Any) -> Any:
    """The module of a decoder with the matrices of the words that are predicted."""
    if decoder.adaptive_softmax is not None:
        return decoder.adaptive_softmax
    return decoder.output.words if isinstance(decoder.output, TiedOutput) else decoder.output


def _cutoffs(cfg: StackConfig, symbols: int) -> list[int]:
    given = f"--adaptive-softmax-cutoff {cfg.adaptive_softmax_cutoff}"
    try:
        found = [int(number) for number in cfg.adaptive_softmax_cutoff.strip("[]()").split(",")]
    except ValueError:
        raise UserError(f"{given} is not a list of numbers such as 2000,10000") from None
    if sorted(set(found)) != found or found[0] < 1:
        raise UserError(f"{given}: each number must be above the one before, and the first above 0")
    if found[-1] > symbols:
        raise UserError(f"{given}: the dictionary has {symbols} words, give lower numbers")
    tails = len(found) - (found[-1] == symbols)
    if int(cfg.dim // cfg.adaptive_softmax_factor**tails) < 1:
        raise UserError(
            f"{given}: --dim {cfg.dim} is too narrow for {tails} tails, each "
            f"{cfg.adaptive_softmax_factor:g} times narrower than the one before: give fewer "
            "numbers or a lower --adaptive-softmax-factor"
        )
    return found
