"""The named architectures, as data: what each changes in the options' defaults."""

from argparse import Namespace
from collections.abc import Callable
from typing import Any

from fairseq.models import ARCH_CONFIG_REGISTRY, register_model_architecture

from nmt_moe import launch
from nmt_moe.models.translation import NAME

ARCHITECTURES: dict[str, dict[str, Any]] = {
    NAME: {},  # the options' own defaults
    "lstm_moe_tiny": dict(  # for CPUs and tests
        dim=128, lstm_cells=128, moe_experts=8, moe_k=2, moe_hidden_dim=256, dropout=0.1
    ),
}


def _configure(changes: dict[str, Any]) -> Callable[[Namespace], None]:
    """What fairseq calls with all options of a training of this architecture."""

    def apply(args: Namespace) -> None:
        for name, value in changes.items():
            setattr(args, name, getattr(args, name, value))
        launch.configure(args)

    return apply


for _name, _changes in ARCHITECTURES.items():
    if _name == NAME:  # known since register_model, which gives no other way to add this
        ARCH_CONFIG_REGISTRY[_name] = _configure(_changes)
    else:
        register_model_architecture(NAME, _name)(_configure(_changes))
