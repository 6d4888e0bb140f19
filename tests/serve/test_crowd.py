"""Many requests at once, and clients that misbehave: the others are served."""

import contextlib
import json
import os
import random
import signal
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from nmt_moe.trained import Translator
from tests.hub.conftest import KNOWN
from tests.report.experts import sentences
from tests.serve.running import SECONDS, Running, served

LONG = "\n".join(sentences(700, seed=3, longest=2))


@contextmanager
def stopped(server: Running) -> Iterator[None]:
    """The models' processes do nothing now."""
    workers = server.workers
    for worker in workers:
        os.kill(worker, signal.SIGSTOP)
    try:
        yield
    finally:
        for worker in workers:
            os.kill(worker, signal.SIGCONT)


def opened(server: Running) -> socket.socket:
    return socket.create_connection((server.host, server.port), timeout=SECONDS)


def request(path: str, fields: dict[str, str], length: int | None = None) -> bytes:
    body = json.dumps(fields).encode()
    length = len(body) if length is None else length
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {length}\r\n\r\n".encode() + body


def fields(text: str) -> dict[str, str]:
    return {"q": text, "source": "en", "target": "de"}


@pytest.mark.parametrize(
    ("users", "requests"), [(16, 200), pytest.param(32, 2000, marks=pytest.mark.slow)]
)
def test_no_answer_is_lost_or_mixed_up(
    server: Running, model: Path, users: int, requests: int
) -> None:
    chance = random.Random(0)
    known = sentences(40, seed=7)
    texts = ["\n".join(chance.choices(known, k=chance.randint(1, 9))) for _ in range(requests)]
    translator = Translator(model, device="cpu")
    expected = [
        "\n".join(lines) for lines in map(translator.translate, (t.split("\n") for t in texts))
    ]

    def ask(text: str) -> str:
        found: str = httpx.post(
            f"{server.url}/translate", json=fields(text), timeout=SECONDS
        ).json()["translatedText"]
        return found

    with ThreadPoolExecutor(users) as pool:
        assert [*pool.map(ask, texts)] == expected
    count, total = (
        server.metric(f'nmt_moe_batch_sentences_{what}{{model="small"}}')
        for what in ("count", "sum")
    )
    assert total / count > 4  # they were put together


@pytest.mark.parametrize("path", ["/translate", "/api/stream"])
def test_a_request_that_is_gone_stops_costing(server: Running, path: str) -> None:
    with stopped(server):
        connection = opened(server)
        connection.sendall(request(path, fields(LONG)))
        server.until(lambda: server.metric('nmt_moe_queue{model="small"}') > 500, "the work")
        connection.close()
        server.until(lambda: server.metric('nmt_moe_queue{model="small"}') == 0, "its end")
        server.until(lambda: server.metric("nmt_moe_requests_running") == 0, "the request's end")
    assert server.translate(KNOWN[0]).json() == {"translatedText": KNOWN[0]}


def test_a_file_that_is_gone_stops_costing(server: Running) -> None:
    with stopped(server), contextlib.suppress(httpx.TimeoutException):
        httpx.post(
            f"{server.url}/translate_file",
            data={"source": "en", "target": "de"},
            files={"file": ("a.txt", LONG.encode())},
            timeout=3,
        )
    server.until(lambda: server.metric("nmt_moe_requests_running") == 0, "its end")
    server.until(lambda: server.metric('nmt_moe_queue{model="small"}') == 0, "its end")


def test_a_short_text_does_not_wait_for_a_long_one(server: Running) -> None:
    slow: list[float] = []

    def long() -> None:
        server.post("/translate", json=fields(LONG))
        slow.append(time.monotonic())

    thread = threading.Thread(target=long)
    thread.start()
    server.until(lambda: server.metric('nmt_moe_queue{model="small"}') > 100, "the long one")
    assert httpx.post(f"{server.url}/translate", json=fields(KNOWN[0]), timeout=SECONDS)
    ended = time.monotonic()
    thread.join()
    assert ended < slow[0]


def test_bodies_that_never_end_and_connections_that_say_nothing(server: Running) -> None:
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(contextlib.closing(opened(server))) for _ in range(200)]
        for number, connection in enumerate(held):
            if number % 4 == 0:
                connection.sendall(request("/translate", fields("red"), length=9_999))
            elif number % 4 == 1:
                connection.sendall(b"POST /translate HTTP/1.1\r\nHost: localhost\r\nX: ")
            elif number % 4 == 2:
                head = b"POST /translate HTTP/1.1\r\nHost: localhost\r\n"
                connection.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n5\r\nq=red\r\n")
        began = time.monotonic()
        assert server.translate(KNOWN[0]).json() == {"translatedText": KNOWN[0]}
        assert time.monotonic() - began < 30


def test_a_body_without_end_is_cut_off(server: Running) -> None:
    head = b"POST /translate HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    with opened(server) as connection:
        connection.sendall(head)
        with pytest.raises(ConnectionError):
            for _ in range(10_000):
                connection.sendall(b"1000\r\n" + b"x" * 4096 + b"\r\n")
    assert server.translate(KNOWN[0]).status_code == 200


def test_clients_that_do_not_read_hinder_nobody(server: Running) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            connection = stack.enter_context(contextlib.closing(socket.socket()))
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
            connection.connect((server.host, server.port))
            for _ in range(50):
                connection.sendall(request("/api/stream", fields("red")))
        assert server.translate(KNOWN[0]).json() == {"translatedText": KNOWN[0]}


def test_a_full_queue_says_when_to_come_again(model: Path) -> None:
    with served(model, "--queue", "2", "--timeout", "3") as server:
        server.until_ready()
        with stopped(server), ThreadPoolExecutor(2) as pool:
            url = f"{server.url}/translate"
            late = [pool.submit(httpx.post, url, json=fields("red"), timeout=99) for _ in range(2)]
            server.until(lambda: server.metric("nmt_moe_requests_running") == 2, "both")
            for path in ("/translate", "/api/stream", "/api/explain"):
                answer = server.post(path, json=fields("red"))
                assert answer.status_code == 429
                assert int(answer.headers["retry-after"]) > 0 and answer.json()["error"]
            for one in late:
                answer = one.result()
                assert answer.status_code == 504
                assert "more than 3 seconds" in answer.json()["error"]
        assert server.translate(KNOWN[0]).json() == {"translatedText": KNOWN[0]}
