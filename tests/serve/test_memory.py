"""The server's memory stays as it is, however many requests come."""

import asyncio
import itertools
import json
from pathlib import Path

import pytest

from tests.report.experts import sentences
from tests.serve.running import Running, served

USERS, WARM, REQUESTS = 16, 2_000, 20_000
MOST = 16 * 2**20


@pytest.mark.slow
def test_memory_is_flat_over_many_requests(model: Path) -> None:
    with served(model) as server:
        server.until_ready()
        asyncio.run(asked(server, WARM))
        before = memory(server)
        asyncio.run(asked(server, REQUESTS))
        grown = [after - first for first, after in zip(before, memory(server), strict=True)]
        assert max(grown) < MOST, grown
        count = server.metric('nmt_moe_requests_total{path="/translate",status="200"}')
        assert count == WARM + REQUESTS


def memory(server: Running) -> list[int]:
    """Resident bytes of the server and of its models' processes."""
    found = []
    for process in (server.process.pid, *server.workers):
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
        [line] = [line for line in lines if line.startswith("VmRSS")]
        found.append(int(line.split()[1]) * 1024)
    return found


async def asked(server: Running, number: int) -> None:
    """So many requests of several users, each of which needs an answer."""
    texts = itertools.cycle(sentences(500, seed=2))
    left = iter(range(number))

    async def user() -> None:
        reader, writer = await asyncio.open_connection(server.host, server.port)
        for _ in left:
            body = json.dumps({"q": next(texts), "source": "en", "target": "de"}).encode()
            head = "POST /translate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json"
            writer.write(f"{head}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
            answer = (await reader.readuntil(b"\r\n\r\n")).lower()
            assert answer.startswith(b"http/1.1 200"), answer
            await reader.readexactly(int(answer.split(b"content-length: ")[1].split(b"\r")[0]))
        writer.close()

    await asyncio.gather(*(user() for _ in range(USERS)))
