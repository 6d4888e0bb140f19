"""Dropout as fairseq's models have it, which ``--retain-dropout`` keeps in translations."""

from typing import Any

from fairseq.modules import FairseqDropout
from torch import nn

from nmt_moe.common.errors import UserError, suggestion
from nmt_moe.models.config import StackConfig


def dropout(cfg: StackConfig, side: str, place: str, module: nn.Module) -> FairseqDropout:
    """The dropout of a side's embeddings (``in``) or layers (``out``).

    fairseq's ``--retain-dropout-modules`` names it by the class of the module that it is part of.
    """
    own = getattr(cfg, f"{side}_dropout_{place}")
    share = cfg.dropout if own is None else own
    return FairseqDropout(share, module_name=type(module).__name__)


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
