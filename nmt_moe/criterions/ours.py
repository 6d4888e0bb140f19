"""What our models return, which fairseq's criterions treat as any other's."""

from typing import Any

from torch import Tensor


def logits_of(model: Any, net_output: Any) -> Tensor | None:
    """``[N, V]``: the logits of one of our models; None of others, and of an adaptive softmax."""
    extra = net_output[1]
    ours = isinstance(extra, dict) and "routing" in extra  # then these are logits, or features
    if not ours or model.decoder.adaptive_softmax is not None:
        return None
    logits_NV: Tensor = net_output[0].flatten(0, 1)
    return logits_NV
