"""Logits and loss of a batch's real target tokens only: padding has none.

A decoder of ours takes them as ``head``, which makes the loss of its features in place of the
logits, within the model's own pass: so wrappers for several processes see that the weights of the
output are used.
"""

import inspect
from collections.abc import Callable
from typing import Any

import torch
from fairseq.models import FairseqEncoderDecoderModel, FairseqLanguageModel
from torch import Tensor
from torch.nn.modules import module as torch_module

from nmt_moe.criterions.cross_entropy import smoothed_cross_entropy

HEAD = "head"
"""The argument of a decoder's ``forward``, and so the key in a batch's ``net_input``."""
Head = Callable[[Tensor, Callable[[Tensor], Tensor], bool], Tensor]


def pays(target_BL: Tensor) -> bool:
    """Whether it is for this device: on CPUs the order of the sums stays what it was."""
    return target_BL.is_cuda


def takes_head(model: Any) -> bool:
    """Whether it is a model of ours with logits that nobody else asks for: neither a ``forward`` of
    a user's own nor a hook, as a search for NaN has one."""
    while hasattr(model, "module"):  # one of several processes
        model = model.module
    plain = (FairseqEncoderDecoderModel.forward, FairseqLanguageModel.forward)
    if type(model).forward not in plain:
        return False
    decoder = model.decoder
    arguments = inspect.signature(type(decoder).forward).parameters
    if HEAD not in arguments or decoder.adaptive_softmax is not None:
        return False
    readers = [model, decoder, *decoder.output.modules()]
    return not (any(m._forward_hooks for m in readers) or torch_module._global_forward_hooks)


class RealRows:
    """Finds the real rows of batches; waits for the device in the first batch only.

    fairseq's datasets count them on the host, as the batch's ``ntokens``: those of pairs of
    sentences exactly, those of language models with targets that may be padding. Where the first
    batch of another task has more than that, each batch is counted on its device.
    """

    def __init__(self) -> None:
        self._told: bool | None = None  # whether ``ntokens`` is enough; None: not known yet

    def __call__(self, pad_N: Tensor, ntokens: Any) -> tuple[Tensor, Tensor]:
        """The real rows in order, and after them some of the others where ``ntokens`` is higher;
        and whether one is missing, ``[1]`` or ``[0]``: for a batch with more than it had told."""
        order_N = pad_N.byte().argsort(stable=True)
        if not self._told:
            real = len(pad_N) - int(pad_N.sum())
            if self._told is None:
                self._told = isinstance(ntokens, int) and real <= ntokens
            ntokens = real
        return order_N[:ntokens], ~pad_N[order_N[ntokens : ntokens + 1]]

    def head(self, target_BL: Tensor, ntokens: Any, epsilon: float, padding: int) -> Head:
        """What makes of features the smoothed loss and the negative log likelihood, ``[2]``.

        The loss of a batch with more real rows than it had told is NaN.

        Args:
            target_BL: int64, padded on either side.
            ntokens: the batch's.
            epsilon: as in :func:`nmt_moe.criterions.cross_entropy.smoothed_cross_entropy`.
            padding: likewise.
        """

        def losses(
            features_BLD: Tensor, output_layer: Callable[[Tensor], Tensor], fresh: bool
        ) -> Tensor:
            target_N = target_BL.flatten()
            row_R, missing = self(target_N == padding, ntokens)
            x_1RD = features_BLD.flatten(0, 1).index_select(0, row_R).unsqueeze(0)
            loss, nll = smoothed_cross_entropy(
                output_layer(x_1RD).squeeze(0), target_N[row_R], epsilon, padding, owned=fresh
            )
            # A factor, so that the gradient is NaN, too.
            return torch.stack([loss * torch.where(missing.any(), torch.nan, 1.0), nll])

        return losses
