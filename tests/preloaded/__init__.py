"""Commands that need not import torch and fairseq again, which takes 3 to 4 seconds of a processor.

A server, one for a whole run of pytest, has imported them once, and forks a process for each
command. A small program, the client, stands for the command: it hands over its
arguments, folder, environment and open files, passes signals on, and ends as the command ends. So
whatever starts programs can start these: :mod:`subprocess`, and the recipes in bash.

In the forked process the command's own file is run: the console script, or the module as
``python -m`` runs it. ``nmt_moe`` and ``fairseq_cli`` are not imported before. What differs from a
process of its own, so that tests of it start a real one (``run(..., fresh=True)``):

- the memory, the time, and what is imported (``sys.modules``);
- the process ids: signals to the client reach the command, but its parent is the server, and it
  leads a group of its own;
- the seed of ``hash``, which is the same in all commands of a server.

Whatever differs from the server in what an interpreter reads as it starts (:mod:`.client`) is
executed as a program of its own without being asked.
"""

import atexit
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

BIN = Path(sys.executable).parent
HERE = Path(__file__).parent
_FOLDER = "NMT_MOE_TESTS_SERVERS"  # the variable that names the folder of a run's servers


def begin() -> None:
    """Let the servers of this process and of all that it starts be the same, and end with it."""
    pid = os.getpid()
    folder = tempfile.mkdtemp(prefix="preloaded-")
    os.environ[_FOLDER] = folder
    os.mkfifo(_alive(folder))
    # Never closed: a server reads the end of its input once this process is gone.
    os.open(_alive(folder), os.O_RDWR)

    def end() -> None:
        if os.getpid() == pid:  # not in what was forked
            shutil.rmtree(folder)

    atexit.register(end)


def _alive(folder: str) -> str:
    return os.path.join(folder, "alive")


def command(program: str, *arguments: object) -> list[str]:
    """The words that run a program of the environment, such as ``fairseq-train`` or ``python``."""
    words = [str(BIN / program), *map(str, arguments)]
    if sys.platform != "linux":  # the server waits for processes as Linux lets it
        return words
    return [*_client(), *words]


def functions(**environment: str) -> dict[str, str]:
    """Variables of an environment with which bash runs the programs in this way.

    Args:
        environment: variables of the programs that an interpreter reads as it starts.
    """
    names = ["python", *(path.name for end in ("fairseq-*", "nmt-moe") for path in BIN.glob(end))]
    if sys.platform != "linux":
        return {}
    client = _quoted(_client(**environment))
    return {
        f"BASH_FUNC_{name}%%": f'() {{ {client} {_quoted([str(BIN / name)])} "$@"; }}'
        for name in names
    }


def _client(**environment: str) -> list[str]:
    return [sys.executable, "-I", "-S", str(HERE / "client.py"), _server(*environment.items())]


def _quoted(words: list[str]) -> str:
    return " ".join("'" + word.replace("'", "'\\''") + "'" for word in words)


@cache
def _server(*variables: tuple[str, str]) -> str:
    """The socket of the run's server with these variables, which the first that asks starts."""
    if _FOLDER not in os.environ:
        begin()
    folder = os.environ[_FOLDER]
    kind = repr((sys.executable, HERE, variables)).encode()
    path = os.path.join(folder, hashlib.sha256(kind).hexdigest()[:16])
    with open(f"{path}.lock", "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.exists(path):
            _start(path, folder, dict(variables))
    return path


def _start(path: str, folder: str, variables: dict[str, str]) -> None:
    with open(os.open(_alive(folder), os.O_RDONLY | os.O_NONBLOCK)) as alive:
        server = subprocess.Popen(
            [sys.executable, str(HERE / "server.py"), path],
            env=os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""} | variables,
            stdin=alive,
            stdout=subprocess.PIPE,
        )
    assert server.stdout
    assert server.stdout.readline() == b"ready\n", "the server of preloaded commands did not start"
