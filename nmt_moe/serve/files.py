"""Translated files that wait to be fetched: in memory, for a while, by secret names."""

import secrets
import time
from collections import OrderedDict
from dataclasses import dataclass

_SECONDS = 600
_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Kept:
    """A translated file."""

    name: str
    content: bytes
    until: float


class Files:
    """Keeps each file for ten minutes, and fewer where all together are too large."""

    def __init__(self, seconds: float = _SECONDS, size: int = _BYTES) -> None:
        self._seconds, self._size = seconds, size
        self._files: OrderedDict[str, Kept] = OrderedDict()

    def keep(self, name: str, content: bytes) -> str:
        """Keep a file; returns what it is fetched by."""
        secret = secrets.token_urlsafe(24)
        self._files[secret] = Kept(name, content, time.monotonic() + self._seconds)
        self._forget()
        return secret

    def get(self, secret: str) -> Kept | None:
        """A file that is still there."""
        self._forget()
        return self._files.get(secret)

    def _forget(self) -> None:
        now, total = time.monotonic(), sum(len(kept.content) for kept in self._files.values())
        while self._files:
            oldest = next(iter(self._files.values()))
            if oldest.until > now and (total <= self._size or len(self._files) == 1):
                break
            total -= len(oldest.content)
            self._files.popitem(last=False)
