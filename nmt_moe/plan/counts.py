"""Operations and parameters of a model, read from its modules (section 5.1, appendices C to E).

A weight matrix that multiplies a token costs as many multiply-adds as it has entries. Looking up
an embedding costs none, and neither do the products of activations with each other, such as the
attention's scores and its weighted sum.
"""

from collections import Counter
from collections.abc import Iterator

from fairseq.models import BaseFairseqModel, FairseqLanguageModel
from torch import nn

from nmt_moe.models.attention import MultiplicativeAttention, OutputAttention
from nmt_moe.models.lstm import LSTM, AttentionLSTM
from nmt_moe.models.output import TiedOutput, word_layer
from nmt_moe.moe import MixtureOfExperts

KINDS = ("lstm", "experts", "gates", "dense_feed_forward", "attention", "softmax")
"""Where operations are spent."""


def mixtures(model: nn.Module) -> dict[str, MixtureOfExperts]:
    """The mixture-of-experts layers by name, such as ``encoder.2``: the one after LSTM 2."""
    return {
        ".".join(part for part in path.split(".") if part not in ("feed_forwards", "moe")): module
        for path, module in model.named_modules()
        if isinstance(module, MixtureOfExperts)
    }


def operations(model: BaseFairseqModel) -> dict[str, int]:
    """Multiply-adds per timestep of the forward pass, by kind: one token on each side.

    As in the paper, the softmax counts in translation and does not in language models. The
    projection before one that has the matrix of an embedding counts in both, as ``projection``. Of
    an adaptive softmax all tails count, as in a search; in training a word needs one at most.
    """
    total = _by_kind(model)
    if isinstance(model, FairseqLanguageModel):
        del total["softmax"]
    return dict(total)


def multiply_adds(model: BaseFairseqModel) -> int:
    """All of a token in the forward pass, the softmax included."""
    return sum(_by_kind(model).values())


def _by_kind(model: BaseFairseqModel) -> Counter[str]:
    total: Counter[str] = Counter(dict.fromkeys(KINDS, 0))
    for kind, count in _products(model, word_layer(model.decoder), "dense_feed_forward"):
        total[kind] += count
    return total


def _products(module: nn.Module, softmax: nn.Module, kind: str) -> Iterator[tuple[str, int]]:
    """The kind and the multiply-adds of a module and the modules in it."""
    if isinstance(module, nn.Embedding):
        return
    if isinstance(module, MixtureOfExperts):
        gates = module.gate.ops_per_token
        yield "gates", gates
        yield "experts", module.ops_per_token - gates
        return
    if isinstance(module, LSTM | AttentionLSTM):
        kind = "lstm"
    elif isinstance(module, MultiplicativeAttention | OutputAttention):
        kind = "attention"
    elif module is softmax:
        kind = "softmax"
    elif isinstance(module, TiedOutput):
        kind = "projection"
    yield kind, sum(p.numel() for p in module.parameters(recurse=False) if p.dim() == 2)
    for child in module.children():
        yield from _products(child, softmax, kind)


def parameters(model: nn.Module) -> int:
    """All parameters; a matrix that is shared counts once."""
    return sum(p.numel() for p in model.parameters())


def parameters_without_embedding_and_softmax(model: BaseFairseqModel) -> int:
    """What the paper prints for its language models."""
    vocabulary: list[nn.Module] = [word_layer(model.decoder)]
    vocabulary += [module for module in model.modules() if isinstance(module, nn.Embedding)]
    return parameters(model) - parameters(nn.ModuleList(vocabulary))


def parameters_in_experts(model: nn.Module) -> int:
    return sum(parameters(layer.experts) for layer in mixtures(model).values())


def parameters_active(model: BaseFairseqModel) -> int:
    """The matrices that multiply a token, and all vectors, without embedding and softmax.

    Not active are the experts that a token is not sent to, and in a hierarchy the secondary
    gates of their groups.
    """
    active = operations(model)
    active.pop("softmax", None)
    return sum(active.values()) + sum(p.numel() for p in model.parameters() if p.dim() == 1)
