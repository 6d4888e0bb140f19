"""Dropout as fairseq's models have it, which ``--retain-dropout`` keeps in translations, and
dropout of words and of whole sequences, which is of training alone."""

import re
from typing import Any

import torch
from fairseq.modules import FairseqDropout
from torch import Tensor, nn

from nmt_moe.common.errors import UserError, suggestion
from nmt_moe.models.config import StackConfig


def dropout(cfg: StackConfig, side: str, place: str, module: nn.Module) -> FairseqDropout:
    """The dropout of a side's embeddings (``in``) or layers (``out``).

    fairseq's ``--retain-dropout-modules`` names it by the class of the module that it is part of.
    """
    own = getattr(cfg, f"{side}_dropout_{place}")
    share = cfg.dropout if own is None else own
    return FairseqDropout(share, module_name=type(module).__name__)


# What tells a model the language: <2de>, and __de__ and [de_DE] of fairseq.
_TAG = re.compile(r"<2.+>|__.+__|\[.+\]")


class WordDropout(nn.Module):
    """Zeros in place of embeddings: a piece that is drawn is missing everywhere in its sentence.

    Gal and Ghahramani (2016) drop types of words, not places: "the" is there or not. As in their
    text, and that of Sennrich et al. (2016), what is left is not made larger: a word is missing,
    and the others are as they always are. End of sentence, padding and tags of languages stay.

    Args:
        share: the probability of a piece to be dropped from a sentence.
        words: the dictionary.
    """

    def __init__(self, share: float, words: Any) -> None:
        super().__init__()
        self.share = share
        special = {words.pad(), words.eos(), words.bos()}
        tags = {number for number, word in enumerate(words.symbols) if _TAG.fullmatch(word)}
        self.staying = sorted(special | tags) if share else []

    def forward(self, x_SBD: Tensor, tokens_BS: Tensor) -> Tensor:
        """The embeddings of the tokens, without the words that are dropped."""
        if not (self.training and self.share):
            return x_SBD
        drawn_BS = torch.rand(tokens_BS.shape, device=x_SBD.device)
        # Every place has what was drawn for the first that has its piece.
        first_BS = (tokens_BS.unsqueeze(2) == tokens_BS.unsqueeze(1)).byte().argmax(2)
        staying = torch.tensor(self.staying, device=x_SBD.device)
        stays_BS = (drawn_BS.gather(1, first_BS) >= self.share) | torch.isin(tokens_BS, staying)
        return x_SBD * stays_BS.t().unsqueeze(2).type_as(x_SBD)


def constant_mask(x_LBD: Tensor, width: int, share: float) -> Tensor:
    """``[B, width]``: factors for every step of a sequence, 0 with probability ``share``, else
    ``1 / (1 - share)``."""
    mask_BD = x_LBD.new_empty(x_LBD.shape[1], width)
    return mask_BD.bernoulli_(1 - share).div_(1 - share)


class Constant(nn.Module):
    """Dropout of what an LSTM layer reads that is the same in every step of a sentence, as Gal and
    Ghahramani (2016) have it: a network that is drawn once for each sentence.

    A layer's inputs are what comes from below and, in decoder layer 1, the context; the query of
    the attention is made of the whole output.

    Args:
        inputs: the share of the inputs that is dropped.
        recurrent: the same of the output that goes from step to step.
    """

    def __init__(self, inputs: float = 0.0, recurrent: float = 0.0) -> None:
        super().__init__()
        self.inputs, self.recurrent = inputs, recurrent

    @classmethod
    def of(cls, cfg: StackConfig) -> "Constant":
        """The one that the options ask for."""
        return cls(cfg.variational_dropout, cfg.recurrent_dropout)

    def forward(
        self, x_LBD: Tensor, width: int, attends: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """The inputs, and the factors ``[B, M]`` of what the gates read of the step before.

        Args:
            x_LBD: what comes from below.
            width: of the layer's output.
            attends: whether a context of this width comes before it, so that ``M`` is twice that.

        Returns:
            None in place of factors that are 1.
        """
        if not self.training:
            return x_LBD, None
        shares = [self.inputs, self.recurrent] if attends else [self.recurrent]
        mask_BM = None
        if any(shares):
            mask_BM = torch.cat([constant_mask(x_LBD, width, share) for share in shares], dim=1)
        if self.inputs:
            x_LBD = x_LBD * constant_mask(x_LBD, x_LBD.shape[2], self.inputs)
        return x_LBD, mask_BM

    def extra_repr(self) -> str:
        """The shares, as ``repr`` shows them."""
        return f"inputs={self.inputs}, recurrent={self.recurrent}"


class RetainsDropout:
    """A model that refuses names in ``--retain-dropout-modules`` that fairseq would not look at."""

    def make_generation_fast_(self, **kwargs: Any) -> None:
        """Prepare the model for a search.

        Raises:
            UserError: ``retain_dropout_modules`` names a module without dropout.
        """
        parts = self.modules()  # type: ignore[attr-defined]
        known = sorted(
            {str(part.module_name) for part in parts if isinstance(part, FairseqDropout)}
        )
        for name in kwargs.get("retain_dropout_modules") or ():
            if name not in known:
                hint = suggestion(name, known)
                raise UserError(f"--retain-dropout-modules {name}: no such module: {hint}")
        super().make_generation_fast_(**kwargs)  # type: ignore[misc]
