"""A server that answers the page with what can be foreseen, and fails as it is told to.

A translation is the text in capitals, in Arabic a fixed sentence; its words are those of the text.
"""

import json
import re
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from email import message_from_bytes
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from nmt_moe.serve.page import page
from nmt_moe.trained.alignment import words

ARABIC = "يركض كلبان عبر الثلج."
HEBREW = "שני כלבים רצים בשלג."
_NAMES = {"en": "English", "de": "Deutsch", "ar": "العربية", "he": "עברית"}
_RIGHT = {"ar", "he"}
PAIRS = [("en", "de"), ("de", "en"), ("en", "ar"), ("he", "en")]


@dataclass
class Fault:
    """What is answered in place of an answer."""

    status: int
    error: str = ""
    retry_after: int | None = None
    code: str = ""
    limit: int | None = None

    @property
    def content(self) -> dict[str, Any]:
        given = {"error": self.error, "code": self.code, "limit": self.limit}
        return {name: value for name, value in given.items() if value}


@dataclass
class Fake:
    """Serves within a ``with`` statement; :meth:`stop` and :meth:`start` keep its address."""

    pairs: list[tuple[str, str]] = field(default_factory=lambda: list(PAIRS))
    token: str | None = None
    state: str = "ready"
    error: str | None = None
    faults: dict[str, Fault] = field(default_factory=dict)
    """By path, until they are taken away."""
    beam: int = 3
    limit: int = 5000
    """Characters of a text."""
    delay: float = 0.0
    """Seconds before each sentence of a stream."""
    asked: list[tuple[str, Any]] = field(default_factory=list)
    """Paths, and what came with them."""
    _http: ThreadingHTTPServer | None = None
    _port: int = 0

    def __enter__(self) -> "Fake":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/"

    def start(self) -> None:
        fake = self

        class Handler(_Handler):
            server_of = fake

        self._http = ThreadingHTTPServer(("127.0.0.1", self._port), Handler)
        self._http.daemon_threads = True
        self._port = self._http.server_port
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        if self._http:
            self._http.shutdown()
            self._http.server_close()
        self._http = None

    def of(self, path: str) -> list[Any]:
        """What came with the requests for a path."""
        return [given for name, given in self.asked if name == path]


def translated(text: str, target: str) -> str:
    return {"ar": ARABIC}.get(target, text.upper())


def sentences(text: str) -> list[tuple[int, str]]:
    """The sentences with the numbers of their lines."""
    return [
        (number, sentence)
        for number, line in enumerate(text.split("\n"))
        for sentence in re.split(r"(?<=[.!?]) +", " ".join(line.split()))
        if sentence
    ]


def whole(text: str, target: str) -> str:
    lines = [""] * (text.count("\n") + 1)
    for number, sentence in sentences(text):
        lines[number] = f"{lines[number]} {translated(sentence, target)}".strip()
    return "\n".join(lines)


def explained(sentence: str, target: str, beam: int) -> dict[str, Any]:
    translation = translated(sentence, target)
    sides = {"source": words(sentence), "target": words(translation)}
    counts = len(sides["source"])
    return {
        "text": sentence,
        "translation": translation,
        "alternatives": [f"{translation} {letter}" for letter in "BCDE"[: beam - 1]],
        **{
            side: [{"start": start, "end": end} for start, end in found]
            for side, found in sides.items()
        },
        "alignment": [[min(number, counts - 1)] for number in range(len(sides["target"]))],
        "pieces": [
            {
                "text": f"▁{text[start:end]}",
                "side": side,
                "layers": [{
                    "layer": layer,
                    "experts": [
                        {"expert": number % 3, "gate": 0.75}, {"expert": 7, "gate": 0.25}
                    ],
                }],
            }
            for side, text, layer in [
                ("source", sentence, "encoder.2"), ("target", translation, "decoder.1")
            ]
            for number, (start, end) in enumerate(sides[side])
        ],
    }  # fmt: skip


class _Handler(BaseHTTPRequestHandler):
    server_of: Fake

    def do_GET(self) -> None:
        fake, path = self.server_of, self.path.lstrip("/")
        fake.asked.append((path, None))
        if path == "":
            made = page()
            self._send(
                made.html, "text/html; charset=utf-8", {"Content-Security-Policy": made.policy}
            )
        elif path == "frontend/settings":
            self._json({"keyRequired": fake.token is not None, "charLimit": fake.limit})
        elif self._faulty(path):
            pass
        elif path == "api/models":
            self._json([
                {
                    "name": "fake", "source": source, "target": target,
                    "sourceName": _NAMES[source], "targetName": _NAMES[target],
                    "sourceRtl": source in _RIGHT, "targetRtl": target in _RIGHT,
                    "state": fake.state, "error": fake.error,
                }
                for source, target in fake.pairs
            ])  # fmt: skip
        elif path.startswith("download_file/"):
            self._send(self._file.upper(), "application/octet-stream", {})
        else:
            self._json({"error": "not found"}, 404)

    _file = b""

    def do_POST(self) -> None:
        fake, path = self.server_of, self.path.lstrip("/")
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if path == "translate_file":
            form = message_from_bytes(
                b"Content-Type: " + self.headers["Content-Type"].encode() + b"\n\n" + body
            )
            parts = {
                part.get_param("name", header="content-disposition"): part
                for part in form.get_payload()  # type: ignore[union-attr]
            }
            _Handler._file = parts["file"].get_payload(decode=True)  # type: ignore[union-attr]
            fake.asked.append((path, parts["file"].get_filename()))  # type: ignore[union-attr]
            column = parts["column"].get_payload() if "column" in parts else ""  # type: ignore[union-attr]
            if column:
                fake.asked.append(("column", column))
            if column == "none":
                self._json({"error": "no such column", "code": "column"}, 400)
            elif not self._faulty(path):
                self._json({"translatedFileUrl": "http://elsewhere.invalid/download_file/abc"})
            return
        given = json.loads(body)
        fake.asked.append((path, given))
        if self._faulty(path):
            return
        if len(given["q"]) > fake.limit:
            self._json({"error": f"the text has more than {fake.limit:,} characters"}, 400)
        elif path == "api/explain":
            self._json(explained(given["q"], given["target"], fake.beam))
        elif path == "api/stream":
            self._stream(given)

    def _stream(self, given: dict[str, Any]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        delay = self.server_of.delay
        with suppress(ConnectionError):
            for number, (line, sentence) in enumerate(sentences(given["q"])):
                time.sleep(delay)
                translation = translated(sentence, given["target"])
                self._event("sentence", {
                    "index": number, "line": line, "source": sentence, "translation": translation
                })  # fmt: skip
            self._event("end", {"text": whole(given["q"], given["target"])})

    def _event(self, name: str, data: Any) -> None:
        self.wfile.write(f"event: {name}\ndata: {json.dumps(data)}\n\n".encode())
        self.wfile.flush()

    def _faulty(self, path: str) -> bool:
        fake = self.server_of
        fault = fake.faults.get(path)
        if fake.token and self.headers["Authorization"] != f"Bearer {fake.token}":
            fault = Fault(
                401 if self.headers["Authorization"] is None else 403, "a token is needed"
            )
        if fault is None:
            return False
        more = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
        self._json(fault.content, fault.status, more)
        return True

    def _json(self, content: Any, status: int = 200, more: dict[str, str] | None = None) -> None:
        self._send(json.dumps(content).encode(), "application/json", more or {}, status)

    def _send(self, body: bytes, kind: str, more: dict[str, str], status: int = 200) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **more}.items():
            self.send_header(name, value)
        self.end_headers()
        with suppress(ConnectionError):
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass
