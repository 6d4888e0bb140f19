"""A server as a user starts it, on a free port, with the processes of its models."""

import contextlib
import logging
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from tests.commands import BIN

logging.getLogger("httpcore").setLevel(logging.WARNING)  # fairseq lets all be logged
logging.getLogger("httpx").setLevel(logging.WARNING)
SECONDS = 120
"""That anything may take: the machine may be busy."""


class Running:
    """A server that was started, and a client of it."""

    def __init__(self, process: "subprocess.Popen[str]", url: str, said: list[str]) -> None:
        self.process, self.url, self._said = process, url, said
        self.client = httpx.Client(base_url=url, timeout=SECONDS)
        self.host, self.port = urlsplit(url).hostname or "", urlsplit(url).port or 0

    @property
    def said(self) -> str:
        """What it has written to stderr until now."""
        return "".join(self._said)

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.client.get(path, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        return self.client.post(path, **options)

    def translate(self, q: Any, **fields: Any) -> httpx.Response:
        content = {"q": q, "source": "en", "target": "de"} | fields
        return self.post("/translate", json=content)

    def until(self, reached: Callable[[], bool], what: str) -> None:
        """Wait until something is so."""
        end = time.monotonic() + SECONDS
        while not reached():
            assert time.monotonic() < end, f"{what} does not come: {self.said}"
            assert self.process.poll() is None, self.said
            time.sleep(0.02)

    def until_ready(self) -> None:
        self.until(lambda: self.get("/health").status_code == 200, "readiness")

    def metric(self, line: str) -> float:
        """A figure of /metrics, 0 where it is not there."""
        found = [one.split() for one in self.get("/metrics").text.splitlines()]
        return next((float(one[-1]) for one in found if one[:-1] == line.split()), 0.0)

    @property
    def workers(self) -> list[int]:
        """The models' processes."""
        return [
            int(path.name)
            for path in Path("/proc").glob("[0-9]*")
            if parent_of(path) == self.process.pid
        ]

    def end(self, number: int = signal.SIGTERM) -> int:
        """End it as a user does; its exit code."""
        self.process.send_signal(number)
        return self.process.wait(SECONDS)


def parent_of(process: Path) -> int:
    with contextlib.suppress(OSError):
        return int((process / "stat").read_text().rpartition(")")[2].split()[1])
    return 0


@contextmanager
def served(*arguments: object, **options: Any) -> Iterator[Running]:
    """``nmt-moe serve`` with these arguments."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    process = subprocess.Popen(
        [BIN / "nmt-moe", "serve", *map(str, arguments), "--port", "0", "--threads", "1"],
        stdout=subprocess.PIPE,
        stderr=options.pop("stderr", subprocess.PIPE),
        text=True,
        env=environment | options.pop("env", {}),
        **options,
    )
    said: list[str] = []
    if process.stderr is not None:
        threading.Thread(target=said.extend, args=(process.stderr,), daemon=True).start()
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url.startswith("http://"), "".join(said)
        yield Running(process, url, said)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
