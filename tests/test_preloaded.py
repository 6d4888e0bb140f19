"""Commands forked from a process that has imported much do the same as those started alone."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests import preloaded
from tests.commands import PLUGIN, run

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="commands are not forked")

# What a program was started with.
SEEN = """
import json, logging, os, resource, signal, sys
opened = [int(sys.argv[-1]), *range(50)]
opened = [n for n in opened if n > 2 and os.path.exists(f"/proc/self/fd/{n}")]
streams = sys.stdin, sys.stdout, sys.stderr
print(json.dumps({
    "words": [sys.argv, sys.orig_argv[1:], sys.path, sys.executable, [*sys.flags]],
    "main": [__name__, vars(sys.modules["__main__"]).get("__file__"), __builtins__.__name__],
    "process": [os.getcwd(), os.umask(0), [resource.getrlimit(n) for n in range(10)]],
    "environment": dict(os.environ),
    "files": [os.path.realpath(f"/proc/self/fd/{n}") for n in opened],
    "streams": [[s.encoding, s.errors, s.line_buffering, s.mode, s.isatty()] for s in streams],
    "stdin": sys.stdin.read(),
    "signals": [str(signal.getsignal(n)) for n in (1, 2, 3, 10, 13, 14, 15, 17, 25)],
    "log": [*map(str, logging.root.handlers), logging.root.level],
    "hook": sys.excepthook is sys.__excepthook__,
}))
"""
MP = "import multiprocessing as mp\nif __name__ == '__main__':\n    "
# How programs end: what they print, and their code or signal.
ENDS = {
    "code": "print('a', end=''); raise SystemExit(7)",
    "negative": "raise SystemExit(-1)",
    "text": "import sys; sys.exit('wrong: é')",
    "none": "import sys; sys.exit()",
    "error": "def f():\n    1 / 0\nf()",
    "chain": "try:\n    1 / 0\nexcept ArithmeticError as e:\n    raise ValueError('x') from e",
    "syntax": "1 +",
    "interrupt": "print('a'); raise KeyboardInterrupt",
    "hook": "import sys\nsys.excepthook = lambda *about: print(about[:2])\n1 / 0",
    "atexit": "import atexit; atexit.register(print, 'last'); print('first'); 1 / 0",
    "thread": "import threading; threading.Timer(0.1, print, ['late']).start(); print('early')",
    "killed": "import os; print('lost', end=''); os.kill(os.getpid(), 9)",
    "crash": "import os; os.kill(os.getpid(), 11)",
    "closed": "import os; os.close(1); print('nowhere')",
    "full": "import os; os.dup2(os.open('/dev/full', 1), 1); print('nowhere')",
    "pool": f"{MP}with mp.Pool(2) as pool:\n        print(pool.map(abs, [-1, -2]))",
    "spawn": f"{MP}with mp.get_context('spawn').Pool(1) as it:\n        print(it.map(abs, [1]))",
}


@pytest.fixture(autouse=True)
def as_the_server(monkeypatch) -> None:
    """Or what has another number of threads than the server is executed."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def both(*words: object, **options) -> list[subprocess.CompletedProcess[str]]:
    """How a command of python ends that is forked, and as a process of its own."""
    options = {"capture_output": True, "encoding": "utf-8", "timeout": 60} | options
    forked = preloaded.command("python", *words)
    return [subprocess.run(command, **options) for command in (forked, [sys.executable, *words])]


@pytest.mark.parametrize("kind", ["script", "-m", "-c"])
def test_what_it_is_started_with(kind: str, tmp_path: Path, monkeypatch) -> None:
    changed = {"OWN": "a b\n\udcff", "TMPDIR": str(tmp_path)}
    for name, value in changed.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("HOME", raising=False)
    (tmp_path / "seen.py").write_text(SEEN)
    words = {"script": ["seen.py"], "-m": ["-m", "seen"], "-c": ["-c", SEEN]}[kind]
    with open(tmp_path / "other", "w") as other:
        file = other.fileno()
        given = {"cwd": tmp_path, "input": "text é\rmore\r\n", "umask": 0o27, "pass_fds": [file]}
        forked, own = both(*words, "a b", "", str(file), **given)
    assert json.loads(forked.stdout) == json.loads(own.stdout)


@pytest.mark.parametrize("kind", ENDS)
def test_how_it_ends(kind: str, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(ENDS[kind])
    forked, own = both(tmp_path / "program.py")
    assert (forked.returncode, forked.stdout) == (own.returncode, own.stdout)
    assert forked.stderr == own.stderr


@pytest.mark.slow
def test_a_command_of_fairseq_is_its_script() -> None:
    asked = ["fairseq-train", "--user-dir", PLUGIN, "--arch", "lstm_moe", "--help"]
    forked, own = run(*asked), run(*asked, fresh=True)
    remark = r".* \| Please install tensorboardX: .*\n"  # as fairseq is imported
    assert forked.stdout == re.sub(remark, "", own.stdout)
    warning = r".*FutureWarning: `torch\.jit\.script` is deprecated.*\n.*\n"  # likewise
    assert forked.stderr == re.sub(warning, "", own.stderr)
    program = f"import sys; print('torch' in sys.modules, {PLUGIN.name!r} in sys.modules)"
    assert run("python", "-c", program).stdout == "True False\n"


@pytest.mark.parametrize("change", ["variable", "option", "limit"])
def test_what_cannot_be_forked_is_executed(change: str, monkeypatch) -> None:
    imported = "import sys; print('torch' in sys.modules)"
    options, words = {}, ["-c", imported]
    if change == "variable":
        monkeypatch.setenv("PYTHONHASHSEED", "1")
    if change == "option":
        words = ["-X", "utf8", *words]
    if change == "limit":
        options["preexec_fn"] = lambda: os.nice(1)
    assert run("python", *words, **options).stdout == "False\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_signals_reach_it(number: signal.Signals) -> None:
    """And what it has started, where the client is killed."""
    program = "import os, time; os.fork(); os.write(1, b'%d\\n' % os.getpid()); time.sleep(60)"
    command = preloaded.command("python", "-c", program)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    # A shell lets what runs in its background ignore Ctrl-C.
    pipes["preexec_fn"] = lambda: signal.signal(signal.SIGINT, signal.default_int_handler)
    with subprocess.Popen(command, **pipes) as client:
        assert client.stdout
        processes = [int(client.stdout.readline()) for _ in range(2)]
        client.send_signal(number)
        assert client.wait(60) == -number
        if number != signal.SIGKILL:
            os.killpg(min(processes), signal.SIGKILL)
        until = time.monotonic() + 60
        with suppress(ProcessLookupError):
            while time.monotonic() < until:
                os.killpg(min(processes), 0)
                time.sleep(0.01)
        assert time.monotonic() < until, "its processes still run"


def test_bash_runs_programs_in_this_way(tmp_path: Path) -> None:
    script = "python -c 'import sys; print(\"torch\" in sys.modules, *sys.argv)' 'a b'; exit $?"
    found = subprocess.check_output(["bash", "-c", script], env=os.environ | preloaded.functions())
    assert found == b"True -c a b\n"
