"""The process of a model as a child of the server: started, asked line by line, and ended."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from typing import Any

_WORKER = "from nmt_moe.serve.worker import main; main()"
_LONGEST_LINE = 256 * 2**20  # bytes of an answer
_QUIET = {"OMP_WAIT_POLICY": "PASSIVE"}
"""Threads that wait leave the cores to others, unless the environment says otherwise."""


class Ended(Exception):
    """The process is not there any more, or cannot open its model; says why."""


class Mistaken(Ended):
    """A user has to do something before it can open its model."""


class Child:
    """A process that was started.

    Args:
        process: whose input and output are pipes.
    """

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls) -> "Child":
        """Start one.

        Raises:
            OSError: there is no room for it.
        """
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-c", _WORKER),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=_LONGEST_LINE,
            start_new_session=True,  # a terminal's Ctrl-C and closing are for the server
            env=_QUIET | os.environ,
        )
        return cls(process)

    async def ask(self, content: dict[str, Any]) -> dict[str, Any]:
        """Write a line, and read the one that answers it.

        Raises:
            Ended: none does.
        """
        process = self._process
        assert process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write(json.dumps(content).encode() + b"\n")
            await process.stdin.drain()
            line = await process.stdout.readline()
        except (ConnectionError, ValueError):
            line = b""
        if not line.endswith(b"\n"):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), 5)
            raise Ended(_why(process.returncode))
        answer: dict[str, Any] = json.loads(line)
        return answer

    async def until(self, event: asyncio.Event) -> None:
        """Wait for an event.

        Raises:
            Ended: the process has ended before it: it may be killed while it has no work, too.
        """
        process = self._process
        more = asyncio.ensure_future(event.wait())
        ended = asyncio.ensure_future(process.wait())
        try:
            await asyncio.wait((more, ended), return_when=asyncio.FIRST_COMPLETED)
        finally:
            more.cancel()
            ended.cancel()
        if process.returncode is not None:
            raise Ended(_why(process.returncode))

    async def end(self) -> None:
        """End it, if it has not."""
        if self._process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()


def _why(code: int | None) -> str:
    if code is None:
        return "its process does not answer; it is started anew, so try again soon"
    how = f"ended with {code}"
    if code < 0:
        name = signal.Signals(-code).name if -code in {*signal.Signals} else str(-code)
        how = f"was killed by {name}"
        if name == "SIGKILL":
            how += ", perhaps for want of memory"
    return f"its process {how}; it is started anew, so try again soon"
