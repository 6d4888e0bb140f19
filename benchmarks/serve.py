"""``nmt-moe serve`` with many users at once, against ``nmt-moe translate`` on the same lines.

Each user sends a line as soon as the answer to the one before has come. Each answer has to be what
``nmt-moe translate`` writes for this line. That command is timed whole, and without the time that
it takes to open the model (which is its time for no lines). The model and the lines are by default
those of the quickstart, make demo.

The memory is what the server and its models' processes have resident after the first and after the
last round.
"""

import asyncio
import json
import random
import re
import signal
import statistics
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import urlopen

from harness import Seconds, middle, parser, ratios, report, start, take_turns

COMMAND = Path(sys.executable).with_name("nmt-moe")
QUICKSTART = Path(__file__).resolve().parents[1] / "data" / "quickstart-de"
MIB, SECONDS = 2**20, 300


class Load:
    """Users that ask a server.

    Args:
        url: of the server.
        users: how many at once.
        lines: what they ask for.
        languages: source and target.
    """

    def __init__(self, url: str, users: int, lines: list[str], languages: list[str]) -> None:
        self._url, self._users = urlsplit(url), users
        self._bodies = [
            json.dumps({"q": line, "source": languages[0], "target": languages[1]}).encode()
            for line in lines
        ]
        self.answers: list[str] = []
        self.waited: list[list[float]] = []
        """Seconds of each request, of each round."""

    def __call__(self) -> None:
        """All lines once."""
        asyncio.run(self._all())

    async def _all(self) -> None:
        self.answers = [""] * len(self._bodies)
        self.waited.append([])
        left = iter(range(len(self._bodies)))
        await asyncio.gather(*(self._user(left) for _ in range(self._users)))

    async def _user(self, left: Iterator[int]) -> None:
        reader, writer = await asyncio.open_connection(self._url.hostname, self._url.port)
        for number in left:
            body = self._bodies[number]
            head = "POST /translate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json"
            began = time.perf_counter()
            writer.write(f"{head}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
            found = await reader.readuntil(b"\r\n\r\n")
            [length] = re.findall(rb"content-length: (\d+)", found)
            answer = json.loads(await reader.readexactly(int(length)))
            self.waited[-1].append(time.perf_counter() - began)
            self.answers[number] = answer.get("translatedText", str(answer))
        writer.close()


@contextmanager
def served(args: Namespace, processes: int) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    """A server that is ready, at its address."""
    command = [COMMAND, "serve", args.model, "--port", "0", "--processes", processes]
    server = subprocess.Popen([*map(str, command)], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        end = time.monotonic() + SECONDS
        while True:
            try:
                with urlopen(f"{url}/health"):
                    break
            except OSError as error:
                if server.poll() is not None or time.monotonic() > end:
                    raise SystemExit(f"error: the server does not start: {error}") from None
                time.sleep(0.1)
        yield url, server
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(SECONDS)


def resident(server: int) -> int:
    """Bytes of a server and its models' processes."""
    found = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            status = (folder / "status").read_text()
        except OSError:
            continue
        [parent] = re.findall(r"^PPid:\s+(\d+)", status, re.MULTILINE)
        if server in (int(folder.name), int(parent)):
            found += 1024 * sum(map(int, re.findall(r"^VmRSS:\s+(\d+)", status, re.MULTILINE)))
    return found


def translate(args: Namespace, lines: list[str]) -> list[str]:
    """The command, whole."""
    text = "".join(f"{line}\n" for line in lines)
    ended = subprocess.run(
        [str(COMMAND), "translate", str(args.model)],
        input=text.encode(),
        capture_output=True,
        check=True,
    )
    return ended.stdout.decode().split("\n")[:-1]


def lines_of(args: Namespace) -> list[str]:
    """Some lines of the text, in an order that the lengths do not decide."""
    lines = args.text.read_text("utf-8").split("\n")[:-1]
    return random.Random(1).choices(lines, k=args.requests)


def percentile(values: list[float], share: float) -> float:
    """The value that this share of them is not above."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def main() -> None:
    """The command line."""
    command = parser(__doc__, rounds=5)
    command.add_argument("--model", type=Path, default=QUICKSTART / "training/checkpoint_best.pt")
    command.add_argument("--text", type=Path, default=QUICKSTART / "corpus/en-de/train.en")
    command.add_argument("--languages", nargs=2, default=["en", "de"])
    command.add_argument("--users", type=int, default=32, help="at once (default: 32)")
    command.add_argument("--requests", type=int, default=2000, help="of a round (default: 2000)")
    command.add_argument("--processes", type=int, nargs="+", default=[2, 1], help="of the model")
    args = command.parse_args()
    for path in (args.model, args.text):
        if not path.exists():
            raise SystemExit(f"error: there is no {path}: make demo makes those of the quickstart")
    start(args)
    if args.quick:
        args.rounds, args.requests, args.users = 2, 20, 4
    lines = lines_of(args)
    expected = translate(args, lines)
    seconds: Seconds = {}
    rows, figures = [], {}
    for processes in args.processes:
        name = f"{processes} process{'es' if processes > 1 else ''}"
        with served(args, processes) as (url, server):
            load = Load(url, args.users, lines, args.languages)
            load()  # what is made when it is needed
            memory = [resident(server.pid)]
            turns = {
                name: load,
                f"translate beside {name}": lambda: translate(args, lines),
                f"opening beside {name}": lambda: translate(args, []),
            }
            seconds |= take_turns(turns, args.rounds, "cpu")
            memory.append(resident(server.pid))
        wrong = sum(one != other for one, other in zip(load.answers, expected, strict=True))
        waited = [one for some in load.waited[-args.rounds :] for one in some]
        figures[name] = found = found_of(seconds, name, waited, memory, wrong, len(lines))
        seconds[f"without opening beside {name}"] = without_opening(seconds, name)
        rows.append(
            [
                name,
                f"{found['per_second']:.0f}",
                f"{found['p50'] * 1e3:.0f}",
                f"{found['p95'] * 1e3:.0f}",
                ratios(seconds, f"translate beside {name}", name),
                ratios(seconds, f"without opening beside {name}", name),
                str(wrong),
                f"{memory[0] / MIB:,.0f} MiB",
                f"{memory[1] / MIB:,.0f} MiB",
            ]
        )
    heads = ["model in", "requests/s", "p50, ms", "p95, ms", "times `nmt-moe translate`"]
    heads += ["times the same without opening the model", "wrong", "memory at first", "at last"]
    title = f"{args.users} users at once, {args.requests:,} requests a round, a line each"
    report(title, heads, rows, {"servers": figures, "seconds": seconds}, args)


def found_of(
    seconds: Seconds,
    name: str,
    waited: list[float],
    memory: list[int],
    wrong: int,
    requests: int,
) -> dict[str, object]:
    """The figures of a server."""
    return {
        "per_second": requests / middle(seconds[name]),
        "mean": statistics.mean(waited),
        "p50": percentile(waited, 0.5),
        "p95": percentile(waited, 0.95),
        "memory": memory,
        "wrong": wrong,
    }


def without_opening(seconds: Seconds, name: str) -> list[float]:
    """Seconds of the command in each round, without those that it takes for no lines."""
    whole, opening = (seconds[f"{what} beside {name}"] for what in ("translate", "opening"))
    return [max(1e-9, one - other) for one, other in zip(whole, opening, strict=True)]


if __name__ == "__main__":
    main()
