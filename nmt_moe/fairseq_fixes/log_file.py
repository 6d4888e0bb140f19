"""``--log-file`` with each line once."""

import logging
from collections.abc import Callable
from typing import Any

from fairseq.logging import progress_bar

from nmt_moe.fairseq_fixes.fix import Fix


def _once(make: Callable[..., Any]) -> Callable[..., Any]:
    def make_bar(*args: Any, **kwargs: Any) -> Any:
        for handler in progress_bar.logger.handlers[:]:
            if isinstance(handler, logging.FileHandler):
                progress_bar.logger.removeHandler(handler)
                handler.close()
        return make(*args, **kwargs)

    return make_bar


FIXES = (
    Fix(
        "fairseq.logging.progress_bar:progress_bar",
        _once,
        "--log-file has each line once: fairseq opens the file again for each epoch and each "
        "validation, and would write a line as often.",
    ),
)
