"""``--log-file`` with each line once."""

import logging
import os
from collections.abc import Callable
from typing import Any

from fairseq.logging import progress_bar

from nmt_moe.fairseq_fixes.fix import Fix


def _once(make: Callable[..., Any]) -> Callable[..., Any]:
    def make_bar(*args: Any, log_file: str | None = None, **kwargs: Any) -> Any:
        path = os.path.abspath(log_file) if log_file else None
        for handler in progress_bar.logger.handlers[:]:
            is_file = isinstance(handler, logging.FileHandler)
            if is_file and handler.baseFilename == path:
                progress_bar.logger.removeHandler(handler)
                handler.close()
        return make(*args, log_file=log_file, **kwargs)

    return make_bar


FIXES = (
    Fix(
        "fairseq.logging.progress_bar:progress_bar",
        _once,
        "--log-file has each line once: fairseq opens the file again for each epoch and each "
        "validation, and would write a line as often.",
    ),
)
