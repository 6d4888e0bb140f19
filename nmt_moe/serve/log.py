"""The lines that a server writes to stderr."""

import contextlib
import logging
import sys


def say(line: str) -> None:
    """Write a line; where there is no room for it, as on a full disk, the server goes on."""
    with contextlib.suppress(OSError):
        print(line, file=sys.stderr, flush=True)


class Errors(logging.StreamHandler):
    """What libraries log, without a traceback where it cannot be written."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Go on."""
