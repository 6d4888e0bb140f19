"""The named architectures, as data: what each changes in the options' defaults."""

from argparse import Namespace
from collections.abc import Callable
from typing import Any

from fairseq.models import register_model_architecture

from nmt_moe.models import translation  # registers the model that these are variants of

ARCHITECTURES: dict[str, dict[str, Any]] = {
    "lstm_moe_tiny": dict(  # for CPUs and tests
        dim=128, lstm_cells=128, moe_experts=8, moe_k=2, moe_hidden_dim=256, dropout=0.1
    ),
}


def _defaults(changes: dict[str, Any]) -> Callable[[Namespace], None]:
    def apply(args: Namespace) -> None:
        for name, value in changes.items():
            setattr(args, name, getattr(args, name, value))

    return apply


for _name, _changes in ARCHITECTURES.items():
    register_model_architecture(translation.NAME, _name)(_defaults(_changes))
