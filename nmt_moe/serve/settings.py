"""What a server was started with, and the refusals that its requests meet."""

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nmt_moe.common.errors import UserError
from nmt_moe.trained.search import BEAM

FILES_AT_ONCE, UPLOADS_AT_ONCE = 4, 16
"""Files that are translated at the same time, and files that come in."""
PARTS, PIECES = 64, 2000
"""Of a batch: sentences or parts of them, and wordpieces."""
GATHER, PAUSE = 0.01, 0.002
"""Seconds that a batch waits for more requests, and that none comes after which it does not."""


@dataclass(frozen=True)
class Settings:
    """What ``nmt-moe serve`` was given."""

    models: tuple[str, ...]
    """Folders or checkpoints."""
    device: str | None = None
    int8: bool = False
    shortlist: Path | None = None
    threads: int | None = None
    """Of each model's process; None: as many as there are cores, but one."""
    processes: int | None = None
    """Of each model; None: by its size."""
    beam: int = BEAM
    host: str = "127.0.0.1"
    port: int = 5000
    tokens: frozenset[str] = field(default=frozenset(), repr=False)
    """Of which a request must bring one; empty: none is needed."""
    origins: frozenset[str] = frozenset()
    """Of pages elsewhere whose scripts may ask."""
    queue: int = 256
    """Requests that may wait or be translated."""
    max_length: int = 5000
    """Characters of the text of a request."""
    max_file: int = 10
    """MiB of a file."""
    timeout: int = 120
    """Seconds until a text must be translated, and a stopped server ends."""
    log: bool = False
    """Whether each request has a line on stderr."""
    log_text: bool = False
    """Whether texts and translations are written there, too."""

    @property
    def here_only(self) -> bool:
        """Whether only this machine reaches the address."""
        return loopback(self.host)


class Refused(Exception):
    """A request that is answered with an error of one line.

    Args:
        status: of HTTP.
        error: the line.
        code: a name of :mod:`nmt_moe.serve.codes`.
        limit: that was passed, of characters, texts or MiB.
        retry_after: seconds until it is worth asking again.
    """

    def __init__(
        self,
        status: int,
        error: str,
        code: str,
        *,
        limit: int | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(error)
        self.status, self.error, self.code = status, error, code
        self.limit, self.retry_after = limit, retry_after

    @property
    def content(self) -> dict[str, Any]:
        """What is answered."""
        limit = {} if self.limit is None else {"limit": self.limit}
        return {"error": self.error, "code": self.code, **limit}


def loopback(host: str) -> bool:
    """Whether an address is one of this machine to itself."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def origins_of(given: Iterable[str]) -> frozenset[str]:
    """Origins as browsers send them.

    Raises:
        UserError: a text is none, which no request would have.
    """
    for origin in given:
        scheme, _, host = origin.partition("://")
        default = {"http": ":80", "https": ":443"}.get(scheme, "/")
        if not re.fullmatch("[a-z][a-z0-9+.-]*://[^/?#@\\sA-Z]+", origin) or host.endswith(default):
            raise UserError(
                f"--allow-origin {origin}: give scheme and host in lower case as browsers do, such "
                "as https://example.org or http://localhost:8080"
            )
    return frozenset(given)


def read_tokens(file: Path) -> frozenset[str]:
    """The tokens of a file, one in each line; empty lines and those that begin with # are none.

    Raises:
        UserError: the file cannot be read, has no tokens, or one that is too short or no ASCII.
    """
    try:
        lines = file.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8"
        raise UserError(f"{file}: cannot be read: {reason}") from None
    tokens = {line.strip() for line in lines if line.strip() and not line.startswith("#")}
    if not tokens:
        raise UserError(f"{file} has no tokens: write one in each line, of 16 characters or more")
    for token in tokens:
        if len(token) < 16 or not token.isascii() or len(token.split()) > 1:
            raise UserError(
                f"{file}: a token is one word of 16 characters or more of ASCII, such as "
                "'openssl rand -hex 16' prints"
            )
    return frozenset(tokens)
