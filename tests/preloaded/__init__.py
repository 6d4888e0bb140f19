"""Commands that need not import torch and fairseq again, which takes 3 to 4 seconds of a processor.

A server, one for each process of pytest that asks for it, has imported them once, and forks a
process for each command. A small program, the client, stands for the command: it hands over its
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
import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

BIN = Path(sys.executable).parent
HERE = Path(__file__).parent


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
    server = _server(os.getpid(), *environment.items())
    return [sys.executable, "-I", "-S", str(HERE / "client.py"), str(server)]


def _quoted(words: list[str]) -> str:
    return " ".join("'" + word.replace("'", "'\\''") + "'" for word in words)


@cache
def _server(pid: int, *variables: tuple[str, str]) -> Path:
    """The socket of a server of this process with these variables, which ends with it."""
    folder = Path(tempfile.mkdtemp(prefix="preloaded-"))
    path = folder / "socket"
    fixed = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    environment = os.environ | fixed | dict(variables)
    server = subprocess.Popen(
        [sys.executable, str(HERE / "server.py"), str(path)],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )

    def end() -> None:
        if os.getpid() == pid:  # not in what was forked
            server.communicate()
            shutil.rmtree(folder)

    atexit.register(end)
    assert server.stdout
    assert server.stdout.readline() == b"ready\n", "the server of preloaded commands did not start"
    return path
