"""Times as people type them."""

import re

from nmt_moe.common.errors import UserError

_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0}
_TIME = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?")


def seconds(text: str, name: str) -> float:
    """The seconds of a time such as 2h, 90m or 1h30m.

    Args:
        text: the time.
        name: of the option that has it.

    Raises:
        UserError: it is none.
    """
    found = _TIME.fullmatch(text.replace(" ", "").lower())
    total = sum(
        float(number or 0) * unit
        for number, unit in zip(found.groups() if found else (), _UNITS.values(), strict=False)
    )
    if not total:
        raise UserError(f"{name} {text} is no time: give one such as 2h, 90m or 1h30m")
    return total
