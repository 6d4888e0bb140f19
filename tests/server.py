"""A web server on this machine that serves a folder, and fails in the ways that servers do."""

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

_BLOCK = 1 << 14


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one request; nothing by itself."""

    status: int = 0  # answered instead of the file
    location: str | None = None  # where a status of 3xx points to
    cut: int | None = None  # bytes after which the connection ends
    stall: int | None = None  # bytes after which nothing comes any more
    wrong: bytes | None = None  # sent in place of the file
    etag: str | None = None  # in place of the file's own, as of another version
    shift: int = 0  # where a 206 begins, after what was asked for


@dataclass
class Server:
    """Serves ``folder`` at ``url`` within a ``with`` statement.

    ``faults[path]`` are those of the next requests for a path, one for each; without ``ranges``
    it always sends all, without ``lengths`` it does not announce how much that is; with
    ``announced`` it announces so many bytes, whatever it has.
    """

    folder: Path
    ranges: bool = True
    lengths: bool = True
    announced: int | None = None
    faults: dict[str, Iterator[Fault]] = field(default_factory=dict)
    requests: list[tuple[str, str | None, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.stopped = threading.Event()

    def __enter__(self) -> "Server":
        served = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                _answer(self, served)

            def log_message(self, *_: object) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped.set()
        self._http.shutdown()
        self._http.server_close()

    def asked(self, path: str) -> list[tuple[str | None, int]]:
        """The ranges that were asked for, and the answers' numbers."""
        return [(wanted, status) for name, wanted, status in self.requests if name == path]


def _answer(request: BaseHTTPRequestHandler, server: Server) -> None:
    path = request.path.lstrip("/")
    fault = next(server.faults.get(path, iter(())), Fault())
    wanted = request.headers["Range"]
    file = server.folder / path
    status = fault.status or (200 if file.is_file() else 404)
    content = b"" if status != 200 else fault.wrong or file.read_bytes()
    etag = fault.etag or f'"{hashlib.sha256(content).hexdigest()[:8]}"'
    start = 0
    if status == 200 and server.ranges and wanted:
        start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        if request.headers["If-Range"] not in (None, etag):
            start = 0
        elif start >= len(content):
            status = 416
        else:
            start += fault.shift
            status = 206
    server.requests.append((path, wanted, status))
    request.send_response(status)
    request.send_header("ETag", etag)
    if fault.location:
        request.send_header("Location", fault.location)
    if status == 206:
        request.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
    if status == 416:
        request.send_header("Content-Range", f"bytes */{len(content)}")
    body = content[start:] if status in (200, 206) else b""
    if server.lengths:
        request.send_header("Content-Length", str(server.announced or len(body)))
    request.end_headers()
    ends = [place for place in (fault.cut, fault.stall) if place is not None]
    body = body[: min(ends, default=len(body))]
    try:
        for place in range(0, len(body), _BLOCK):
            request.wfile.write(body[place : place + _BLOCK])
        if fault.stall is not None:
            server.stopped.wait(20)
    except ConnectionError:
        pass
