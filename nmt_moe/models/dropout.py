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

    Gal and Ghahramani (2016) drop types of words, not places: "the" is there or not. What is left is
    not made larger, neither there nor by Sennrich et al. (2016): a word is missing, and others are
    as they always are. End of sentence, padding and tags of languages always stay.

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
