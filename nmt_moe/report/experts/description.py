"""The structure of the model: its blocks from bottom to top, with their sizes."""

from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from nmt_moe.models.feed_forward import FeedForwards
from nmt_moe.models.lstm import LSTM, AttentionLSTM
from nmt_moe.models.output import word_layer
from nmt_moe.moe import MixtureOfExperts
from nmt_moe.plan import counts

Block = dict[str, Any]


def describe(model: Any, cfg: Any) -> dict[str, Any]:
    """Sizes and blocks of a model.

    The active parameters per token are those of :mod:`nmt_moe.plan`: without embedding and softmax,
    and only the experts that a token is sent to.

    Args:
        model: one of this package.
        cfg: its options.
    """
    operations = counts.operations(model)
    stacks = {"encoder": model.encoder} if hasattr(model, "encoder") else {}
    stacks["decoder"] = model.decoder
    counted: set[Tensor] = set()
    return {
        "parameters": counts.parameters(model),
        "parameters_active": counts.parameters_active(model),
        "ops_per_timestep": sum(operations.values()),
        "ops": operations,
        "stacks": [
            {"name": name, "blocks": list(_blocks(name, stack, cfg, counted))}
            for name, stack in stacks.items()
        ],
    }


def _blocks(name: str, stack: Any, cfg: Any, counted: set[Tensor]) -> Iterator[Block]:
    symbols, dim = stack.embedding.weight.shape
    block = _block("embedding", "embedding", f"{symbols:,} pieces, {dim:,} wide", stack.embedding)
    yield _once(block, stack.embedding.weight, counted)
    backward = getattr(stack, "backward_layer", None)
    for number, layer in enumerate(stack.layers, start=1):
        yield _lstm(number, layer, stack, backward if number == 1 else None)
        yield from _feed_forward(name, number, stack.feed_forwards, cfg)
    attention = getattr(stack, "output_attention", None)
    if attention is not None:
        detail = f"{len(attention.query.weight):,} wide"
        yield _block("attention", "second attention", detail, attention)
    if hasattr(stack, "output"):
        layer = word_layer(stack)
        if stack.adaptive_softmax is not None:
            yield _block("softmax", "adaptive softmax", f"{layer.vocab_size:,} pieces", layer)
            return
        block = _block("softmax", "softmax", f"{len(layer.weight):,} pieces", stack.output)
        yield _once(block, layer.weight, counted)


def _once(block: Block, words: Tensor, counted: set[Tensor]) -> Block:
    """A block whose matrix of words has no parameters of its own if an earlier block has it."""
    if words not in counted:
        counted.add(words)
        return block
    detail = f"{block['detail']}, the embedding's matrix"
    return block | {"detail": detail, "parameters": block["parameters"] - words.numel()}


def _lstm(number: int, layer: LSTM | AttentionLSTM, stack: Any, backward: LSTM | None) -> Block:
    modules: list[nn.Module] = [layer]
    cells, width = layer.cells, layer.dim
    detail = ""
    if backward is not None:
        modules.append(backward)
        cells, width = cells + backward.cells, width + backward.dim
        detail = ", both directions"
    detail = f"{cells:,} cells, {width:,} wide{detail}"
    if isinstance(layer, AttentionLSTM):
        modules.append(stack.attention)
        return _block("attention_lstm", f"LSTM {number} with attention", detail, *modules)
    return _block("lstm", f"LSTM {number}", detail, *modules)


def _feed_forward(stack: str, number: int, layers: FeedForwards, cfg: Any) -> Iterator[Block]:
    if str(number) not in layers:
        return
    layer: Any = layers[str(number)]
    if layer.moe is None:
        hidden = [product.out_features for product in layer.dense if isinstance(product, nn.Linear)]
        widths = " and ".join(f"{width:,}" for width in hidden[:-1])
        yield _block("dense", "feed-forward", f"hidden width {widths}", layer)
        return
    moe: MixtureOfExperts = layer.moe
    groups = f" in {moe.groups:,} groups" if moe.groups > 1 else ""
    detail = (
        f"{moe.experts_per_token} of {moe.num_experts:,}{groups} for each token, hidden width "
        f"{moe.experts.w_in.shape[2]:,}, {cfg.moe_gating}"
    )
    block = _block("experts", f"{moe.num_experts:,} experts", detail, layer)
    yield block | {"layer": f"{stack}.{number}"}


def _block(kind: str, label: str, detail: str, *modules: nn.Module) -> Block:
    return {
        "kind": kind,
        "label": label,
        "detail": detail,
        "parameters": sum(map(counts.parameters, modules)),
        "active": sum(map(_active, modules)),
        "layer": None,
    }


def _active(module: nn.Module) -> int:
    """The parameters of the matrices that multiply a token, and of all vectors."""
    if isinstance(module, nn.Embedding):
        return 0  # its rows are looked up
    if isinstance(module, MixtureOfExperts):
        vectors = sum(p.numel() for p in module.parameters() if p.dim() == 1)
        return module.ops_per_token + vectors
    own = sum(p.numel() for p in module.parameters(recurse=False))
    return own + sum(map(_active, module.children()))
