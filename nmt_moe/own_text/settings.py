"""What ``--set`` takes: all options of ``fairseq-train``, and some of the choices' own."""

from collections.abc import Mapping
from typing import Any, NoReturn

from fairseq import options

from nmt_moe import plugin as plugin  # its options are among them
from nmt_moe.common.errors import UserError, suggestion
from nmt_moe.common.ranges import integers, numbers

OWN = {
    "vocabulary": integers(300),
    "updates": integers(1),
    "passes": numbers(0, exclusive_low=True),
    "patience": integers(1),
    "max-tokens": integers(1),
    "warmup-updates": integers(0),
}
"""Those that become fields of the choices, with their ranges."""
_OTHER_NAMES = {"max-update": "updates"}
_OF_THE_COMMAND = (
    *("source-lang", "target-lang", "user-dir", "task", "save-dir", "restore-file", "max-epoch"),
    *("finetune-from-model", "reset-optimizer", "reset-dataloader", "no-save", "eval-bleu"),
    *("save-interval", "save-interval-updates", "keep-interval-updates", "no-epoch-checkpoints"),
    *("validate-interval", "validate-interval-updates", "stop-time-hours", "log-format"),
    *("tensorboard-logdir", "train-subset", "valid-subset", "disable-validation"),
)
"""Options of ``fairseq-train`` that ``nmt-moe train`` gives by itself, or cannot go without."""
_PARTS = ("arch", "criterion", "optimizer", "lr-scheduler")
"""Options that bring others."""


def checked(given: Mapping[str, str], chosen: Mapping[str, str]) -> dict[str, str]:
    """The settings that a user gives, by the names of ``fairseq-train``.

    Args:
        given: names, with dashes or underscores, and values.
        chosen: the settings that they come in place of.

    Raises:
        UserError: a name is unknown, or a value does not fit.
    """
    named = {name.lstrip("-").replace("_", "-"): value for name, value in given.items()}
    named = {_OTHER_NAMES.get(name, name): value for name, value in named.items()}
    settings = {**chosen, **{name: value for name, value in named.items() if name not in OWN}}
    known = _known({name: settings[name] for name in _PARTS})
    for name, value in named.items():
        if name in OWN:
            try:
                number = OWN[name].kind(value)
            except ValueError:
                raise UserError(f"--set {name}={value}: {OWN[name].refusal(value)}") from None
            OWN[name].check(f"--set {name}", number)
        elif name in _OF_THE_COMMAND:
            raise UserError(f"--set {name}: nmt-moe train sees to that itself: leave it out")
        elif name not in known:
            hint = suggestion(name, [*known, *OWN], "see nmt-moe options")
            raise UserError(f"--set {name}: no such option, {hint}")
        elif known[name] and value not in ("true", "false"):
            raise UserError(f"--set {name}={value}: it is a switch, give true or false")
    if named:
        _parsed(words(settings))
    return named


def words(settings: Mapping[str, str]) -> list[str]:
    """The settings as they are typed."""
    typed = []
    for name, value in settings.items():
        if value == "true":
            typed.append(f"--{name}")
        elif value != "false":
            typed += [f"--{name}", value]
    return typed


def _known(parts: Mapping[str, str]) -> dict[str, bool]:
    """The names of all options beside these, and whether each is a switch."""
    found: dict[str, bool] = {}

    def look(parser: Any) -> None:
        for action in parser._actions:
            found.update(
                {
                    name.lstrip("-"): action.nargs == 0
                    for name in action.option_strings
                    if name.startswith("--")
                }
            )

    _parsed(words(parts), look)
    return found


def _parsed(typed: list[str], look: Any = None) -> None:
    parser = options.get_training_parser()
    parser.error = _refuse
    options.parse_args_and_arch(parser, ["data", *typed], modify_parser=look)


def _refuse(message: str) -> NoReturn:
    raise UserError(f"--set {message.removeprefix('argument --')}".replace("<lambda>", "number"))
