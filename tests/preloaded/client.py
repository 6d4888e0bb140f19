"""Stand for a command that the server runs: ``client.py SOCKET PROGRAM ARGUMENT...``.

The program is executed instead where the server cannot be what it would be: of another interpreter
or with options for it, or where anything differs that an interpreter or a library reads as it
starts, or that a forked process cannot be given: variables (``FIXED``), limits of resources, the
user, namespaces, processors. It is executed, too, on a terminal.

Runs in an interpreter without ``site``: it takes 20 ms.
"""

import json
import os
import resource
import signal
import socket
import struct
import sys

# The beginnings of the names of variables that are read at start.
FIXED = (
    *("PYTHON", "LD_", "MALLOC_", "LC_", "LANG", "OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_"),
    *("ONEDNN_", "DNNL_", "ATEN_", "TORCH", "PYTORCH", "NUMEXPR_", "NPY_"),
)
LATE = ("TORCHINDUCTOR_CACHE_DIR",)  # read when it is needed; torch sets it in processes of pytest
PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
PASSED_ON += (signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM)
OPTIONS = ("-m", "-c")  # of python, that the server knows


def surroundings(environment: dict[str, str]) -> dict:
    """What must be the same in the server as in a command."""
    limits = [name for name in dir(resource) if name.startswith("RLIMIT_")]
    return {
        "variables": {
            name: value
            for name, value in sorted(environment.items())
            if name.startswith(FIXED) and name not in LATE
        },
        "limits": {name: resource.getrlimit(getattr(resource, name)) for name in limits},
        "user": [os.getresuid(), os.getresgid(), sorted(os.getgroups())],
        "spaces": {name: os.readlink(f"/proc/self/ns/{name}") for name in ("net", "mnt", "pid")},
        "processors": sorted(os.sched_getaffinity(0)),
        "priority": os.getpriority(os.PRIO_PROCESS, 0),
    }


def execute(words: list[str]) -> None:
    """Become the program itself."""
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # which this interpreter ignores
        signal.signal(number, signal.SIG_DFL)
    os.execv(words[0], words)


def known(words: list[str]) -> bool:
    """Whether the server can run it."""
    if not os.path.basename(words[0]).startswith("python"):
        return True
    return len(words) > 1 and (words[1] in OPTIONS or not words[1].startswith("-"))


def request(words: list[str], files: list[int]) -> dict:
    """What the server is asked for."""
    umask = os.umask(0)
    os.umask(umask)
    ignored = [s for s in signal.valid_signals() if signal.getsignal(s) is signal.SIG_IGN]
    environment = {os.fsdecode(name): os.fsdecode(value) for name, value in os.environb.items()}
    return {
        "words": words,
        "environment": environment,
        "folder": os.getcwd(),
        "files": files,
        "umask": umask,
        "ignored": [int(s) for s in ignored if s not in (signal.SIGPIPE, signal.SIGXFSZ)],
        "surroundings": surroundings(environment),
    }


def open_files() -> list[int]:
    """The numbers of what this process was started with."""
    numbers = [int(name) for name in os.listdir("/proc/self/fd")]
    return [number for number in sorted(numbers) if os.path.exists(f"/proc/self/fd/{number}")]


def main(path: str, words: list[str]) -> None:
    files = open_files()
    if not known(words) or any(os.isatty(number) for number in files):
        execute(words)
    server = socket.socket(socket.AF_UNIX)
    server.connect(path)
    asked = json.dumps(request(words, files)).encode()
    socket.send_fds(server, [struct.pack("Q", len(asked))], files)
    server.sendall(asked)
    for number in PASSED_ON:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda number, _: server.send(bytes([number])))
    status = server.recv(4, socket.MSG_WAITALL)
    if status == b"no":
        server.close()
        execute(words)
    if len(status) < 4:
        sys.exit("the server of preloaded commands has ended")
    code = os.waitstatus_to_exitcode(struct.unpack("i", status)[0])
    if code < 0:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if -code not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
