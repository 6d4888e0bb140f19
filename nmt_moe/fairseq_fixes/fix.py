"""One change to foreign code: what is replaced, by what, and why."""

import importlib
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nmt_moe.common.errors import UserError

_LOGGER = logging.getLogger(__name__)
_OURS = __name__.partition(".")[0]


@dataclass(frozen=True)
class Fix:
    """A function, method or class of another package and what takes its place.

    Attributes:
        target: the module, a colon, and the name in it, such as ``fairseq.trainer:Trainer.step``.
        wrap: makes the replacement from the original.
        why: a sentence for the documentation.
        when: what has happened when it is applied.
    """

    target: str
    wrap: Callable[[Any], Any]
    why: str
    when: str = "the plugin is imported"

    def original(self) -> Any:
        """What is in the target's place now."""
        owner, name = self._place()
        return getattr(owner, name)

    def apply(self) -> None:
        """Put the replacement in its place, once; say if another package has done so before.

        Raises:
            UserError: the target does not exist.
        """
        owner, name = self._place()
        before = getattr(owner, name)
        if self in getattr(before, "nmt_moe_fixes", ()):
            return
        made_in = getattr(before, "__module__", "") or ""
        theirs = (
            re.split("[.:]", self.target)[0],
            _OURS,
            getattr(owner, "__name__", None),
            "fairseq",
        )
        if re.split("[.:]", made_in)[0] not in theirs:
            _LOGGER.warning(f"{made_in} has replaced {self.target}, which nmt_moe changes as well")
        after = self.wrap(before)
        after.nmt_moe_fixes = (*getattr(before, "nmt_moe_fixes", ()), self)
        is_static = isinstance(vars(owner).get(name), staticmethod)
        setattr(owner, name, staticmethod(after) if is_static else after)

    def _place(self) -> tuple[Any, str]:
        module, _, path = self.target.partition(":")
        *classes, name = path.split(".")
        try:
            owner = importlib.import_module(module)
            for one in classes:
                owner = getattr(owner, one)
            getattr(owner, name)
        except (ImportError, AttributeError) as error:
            raise UserError(
                f"there is no {self.target} in what is installed: install the versions of "
                "pyproject.toml"
            ) from error
        return owner, name
