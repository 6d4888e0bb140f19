"""Fork a process for each command that a client asks for: ``server.py SOCKET``.

Ends, and kills the commands that still run, when its standard input is closed.
"""

import fcntl
import gc
import importlib
import io
import json
import logging
import os
import runpy
import selectors
import signal
import socket
import struct
import sys
import tempfile
import time
import types
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
HIGH = 500  # file numbers that no command has
MOST = 250  # files of a command
PRELOADED = [
    *("fairseq_cli.eval_lm", "fairseq_cli.generate", "fairseq_cli.interactive"),
    *("fairseq_cli.preprocess", "fairseq_cli.train", "fairseq_cli.validate"),
    "torch._dynamo",  # torch imports it with the first optimizer
    *("torch.utils.tensorboard", "sacrebleu", "sacremoses", "sentencepiece"),
]


def preload() -> None:
    """What takes long to import, as if nothing had been."""
    logging.disable()  # fairseq remarks that tensorboardX is missing
    folders = sys.path[:]  # setuptools, which torch 2.8 imports, adds one
    for name in PRELOADED:
        importlib.import_module(name)
    sys.path[:] = folders
    read_options_once()
    # The commands import it again, and set up the log as they do.
    for name in [name for name in sys.modules if name.partition(".")[0] == "fairseq_cli"]:
        del sys.modules[name]
    for handler in logging.root.handlers[:]:
        logging.root.removeHandler(handler)
    logging.root.setLevel(logging.WARNING)
    logging.disable(logging.NOTSET)
    gc.collect()
    gc.freeze()


class Server:
    """Connections of clients, and the processes that run for them."""

    def __init__(self, path: str) -> None:
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen(64)
        self.running: dict[int, tuple[socket.socket, int]] = {}  # file of the process: whose, id
        self.clients: dict[int, int] = {}  # file of the connection: file of the process
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.listener, selectors.EVENT_READ, self.accept)
        self.selector.register(0, selectors.EVENT_READ)

    def serve(self) -> tuple[dict[str, Any], list[int]]:
        """Returns in the processes that it forks: what is asked for, and their files."""
        while True:
            for key, _ in self.selector.select():
                if key.fd == 0:
                    for client in [*self.clients]:
                        self.signal(client, signal.SIGKILL, group=True)
                    os._exit(0)
                job = key.data(key.fd)
                if job is not None:
                    return job

    def accept(self, _: int) -> tuple[dict[str, Any], list[int]] | None:
        client, _ = self.listener.accept()
        try:
            head, files, _, _ = socket.recv_fds(client, 8, MOST)
            text = client.recv(struct.unpack("Q", head)[0], socket.MSG_WAITALL)
            job = json.loads(text)
        except (OSError, ValueError, struct.error):  # it was killed meanwhile
            client.close()
            return None
        if job["surroundings"] != SURROUNDINGS:
            client.sendall(b"no")
            child = None
        else:
            child = os.fork()
            if child == 0:
                client.close()
                self.close()
                return job, files
        for number in files:
            os.close(number)
        if child is None:
            client.close()
            return None
        process = os.pidfd_open(child)
        self.running[process] = client, child
        self.clients[client.fileno()] = process
        self.selector.register(process, selectors.EVENT_READ, self.ended)
        self.selector.register(client, selectors.EVENT_READ, self.told)
        return None

    def ended(self, process: int) -> None:
        """A command has: its client is told, and need not have waited for it."""
        client, child = self.running.pop(process)
        _, status = os.waitpid(child, 0)
        with suppress(OSError):
            client.sendall(struct.pack("i", status))
        del self.clients[client.fileno()]
        self.selector.unregister(process)
        os.close(process)
        with suppress(KeyError):
            self.selector.unregister(client)
        client.close()

    def told(self, client: int) -> None:
        """A client passes signals on; without it there is nobody that the command runs for."""
        connection, _ = self.running[self.clients[client]]
        try:
            signals = connection.recv(100)
        except ConnectionError:
            signals = b""
        for number in signals:
            self.signal(client, number)
        if not signals:
            self.selector.unregister(connection)
            self.signal(client, signal.SIGKILL, group=True)

    def signal(self, client: int, number: int, group: bool = False) -> None:
        _, child = self.running[self.clients[client]]
        with suppress(ProcessLookupError):
            os.kill(child, number)
        if group:
            with suppress(ProcessLookupError):
                os.killpg(child, number)

    def close(self) -> None:
        """In a process that was forked: what the server has open."""
        self.selector.close()
        self.listener.close()
        for process, (client, _) in self.running.items():
            client.close()
            os.close(process)


def become(job: dict[str, Any], files: list[int]) -> None:
    """Make this process what the client of the command was started as."""
    os.setpgid(0, 0)
    high = [fcntl.fcntl(number, fcntl.F_DUPFD, HIGH) for number in files]
    os.closerange(3, HIGH)
    for number in range(3):
        if number not in job["files"]:
            os.close(number)
    for number, wanted in zip(high, job["files"], strict=True):
        os.dup2(number, wanted)
        os.close(number)
    os.chdir(job["folder"])
    os.umask(job["umask"])
    os.environ.clear()
    os.environ.update(job["environment"])
    time.tzset()
    for ignored in job["ignored"]:
        signal.signal(ignored, signal.SIG_IGN)
    if signal.SIGINT not in job["ignored"]:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        old = getattr(sys, name)
        KEPT.append(old)
        new = stream(number, old) if number in job["files"] else None
        setattr(sys, name, new)
        setattr(sys, f"__{name}__", new)
    tempfile.tempdir = None
    np.random.seed()  # which others seed themselves as a process is forked
    importlib.invalidate_caches()


def stream(number: int, old: io.TextIOWrapper) -> io.TextIOWrapper:
    """As the interpreter opens it."""
    mode = "w" if number else "r"
    unbuffered = isinstance(old.buffer, io.FileIO)
    file: Any = open(number, f"{mode}b", 0 if unbuffered else -1)  # noqa: SIM115
    (file if unbuffered else file.raw).name = old.name
    how = {"line_buffering": old.line_buffering, "write_through": old.write_through}
    new: Any = io.TextIOWrapper(file, old.encoding, old.errors, newline="\n", **how)
    new.mode = mode
    return new


def search_first(folder: str) -> None:
    """In place of this file's folder, which the interpreter has set; not with PYTHONSAFEPATH."""
    if not sys.flags.safe_path:
        sys.path[0] = folder


def execute(words: list[str]) -> None:
    """Run a program of Python as the interpreter does."""
    sys.orig_argv = words
    given = words[1:] if Path(words[0]).name.startswith("python") else words
    main = types.ModuleType("__main__")
    main.__dict__["__builtins__"] = __builtins__
    sys.modules["__main__"] = main
    if given[0] == "-m":
        sys.argv = ["-m", *given[2:]]
        search_first(os.getcwd())
        runpy._run_module_as_main(given[1])  # type: ignore[attr-defined]
        return
    if given[0] == "-c":
        sys.argv = ["-c", *given[2:]]
        search_first("")
        text, name = given[1], "<string>"
    else:
        sys.argv = given
        search_first(str(Path(given[0]).resolve().parent))
        main.__file__ = name = os.path.abspath(given[0])
        text = Path(name).read_bytes()
    exec(compile(text, name, "exec"), main.__dict__)


if __name__ == "__main__":
    KEPT: list[Any] = []  # closing them would close the new ones
    sys.path.insert(0, str(ROOT))
    from tests.forks import end_as_a_program, read_options_once
    from tests.preloaded.client import surroundings

    SURROUNDINGS = json.loads(json.dumps(surroundings(dict(os.environ))))
    preload()
    for name in [name for name in sys.modules if name.partition(".")[0] == "tests"]:
        del sys.modules[name]  # a command has its own
    del sys.path[0]
    server = Server(sys.argv[1])
    print("ready", flush=True)
    job, files = server.serve()
    become(job, files)
    end_as_a_program(lambda: execute(job["words"]), __file__)
