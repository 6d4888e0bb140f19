"""``nmt-moe options``: what fairseq-train shows only beside the choices that these belong to."""

import argparse
import signal
from dataclasses import dataclass, field, fields, make_dataclass
from typing import Any

from nmt_moe.cli.arguments import Command, option


@dataclass(kw_only=True)
class Options(Command):
    """Print the options that this package adds to fairseq-train, with their ranges and defaults:
    those of the models, the criterion, the optimizer, the schedule and the task.
    """

    arch: str | None = option(
        None, "an architecture: its options alone, with its defaults", metavar="NAME"
    )

    def in_own_process(self) -> None:
        """End without a word when nobody reads on, as ``head``."""
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)

    def run(self) -> None:
        from fairseq.dataclass.utils import gen_parser_from_dataclass

        from nmt_moe.models.config import StackConfig
        from nmt_moe.models.fairseq_options import add_to

        for title, config in sections(self.arch).items():
            shown = argparse.ArgumentParser(
                usage=argparse.SUPPRESS,
                add_help=False,
                formatter_class=argparse.ArgumentDefaultsHelpFormatter,
            )
            gen_parser_from_dataclass(shown.add_argument_group(title), config)
            if isinstance(config, StackConfig):
                named = f"{title}, in the words of fairseq's lstm and transformer"
                add_to(shown.add_argument_group(named), vars(config))
            print(shown.format_help())


def sections(arch: str | None = None) -> dict[str, Any]:
    """The dataclasses of fairseq's options, with defaults, by the option that chooses them.

    Args:
        arch: of this architecture alone; None: of both models, and of all that goes with them.

    Raises:
        UserError: there is no such architecture.
    """
    from fairseq.tasks.translation import TranslationConfig

    from nmt_moe.criterions.label_smoothed import MoELabelSmoothedCrossEntropyConfig
    from nmt_moe.models.architectures import config, language_model, translation
    from nmt_moe.optim.fairseq_adam import FairseqMoEAdamConfig
    from nmt_moe.optim.schedule import WarmupHoldInverseSqrtConfig
    from nmt_moe.tasks.gnmt_translation import GNMTTranslationConfig

    if arch is not None:
        return {f"--arch {arch}": config(arch)}
    models = {f"--arch {name}": config(name) for name in (translation.NAME, language_model.NAME)}
    return models | {
        "--criterion moe_label_smoothed_cross_entropy": MoELabelSmoothedCrossEntropyConfig(),
        "--optimizer moe_adam": FairseqMoEAdamConfig(),
        "--lr-scheduler warmup_hold_inverse_sqrt": WarmupHoldInverseSqrtConfig(),
        "--task gnmt_translation, beside those of --task translation": _added(
            GNMTTranslationConfig, TranslationConfig
        ),
    }


def _added(config: type, base: type) -> Any:
    """The options that a dataclass adds to those of its base."""
    from fairseq.dataclass import FairseqDataclass

    known = {one.name for one in fields(base)}
    own = [
        (one.name, one.type, field(default=one.default, metadata=one.metadata))
        for one in fields(config)
        if one.name not in known
    ]
    return make_dataclass(config.__name__, own, bases=(FairseqDataclass,))()
