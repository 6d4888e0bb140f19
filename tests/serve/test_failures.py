"""What goes wrong: each time one clear line, and what can goes on."""

import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch

from nmt_moe.cli.main import main
from nmt_moe.serve.opened import Opened
from nmt_moe.serve.worker import mistake
from nmt_moe.trained import folder as folders
from nmt_moe.trained.packing import pack
from tests.commands import BIN
from tests.hub.conftest import KNOWN
from tests.report.experts import write_checkpoint
from tests.serve.running import SECONDS, Running, served


def one_line(server: Running) -> str:
    """What the server says of an error, on stderr and to all who ask."""
    server.until(lambda: server.get("/health").status_code == 503, "the end of a process")
    server.until(lambda: "opened" not in server.get("/health").text, "an error")
    error: str = server.get("/health").json()["error"]
    assert "\n" not in error and "Traceback" not in server.said
    return error


def asked_in_vain(server: Running, worker: int) -> tuple[threading.Thread, list[httpx.Response]]:
    """A request that runs while its worker stands still, and the list for its answer."""
    os.kill(worker, signal.SIGSTOP)
    answers: list[httpx.Response] = []
    asking = threading.Thread(target=lambda: answers.append(server.translate(KNOWN[0])))
    asking.start()
    server.until(lambda: server.metric("nmt_moe_requests_running") == 1, "the request")
    return asking, answers


def test_a_killed_model_is_told_and_started_anew(model: Path) -> None:
    with served(model) as server:
        server.until_ready()
        [worker] = server.workers
        asking, answers = asked_in_vain(server, worker)
        os.kill(worker, signal.SIGKILL)
        asking.join()
        said = "small: its process was killed by SIGKILL, perhaps for want of memory; it is "
        assert answers[0].status_code == 503
        assert answers[0].json()["error"].startswith(said)
        assert answers[0].headers["retry-after"] == "5"
        assert one_line(server).startswith(said)
        [known] = server.get("/api/models").json()
        assert known["state"] != "ready" and known["error"].startswith(said)
        assert server.metric('nmt_moe_failures_total{model="small"}') == 1
        server.until_ready()
        assert server.translate(KNOWN[0]).json() == {"translatedText": KNOWN[0]}
        server.until(lambda: server.said.count("\n") == 3, "a line of its return")
        first, error, last = server.said.splitlines()
        assert (first, last) == ("small is ready: en-de", "small is ready again: en-de")
        assert error.startswith(f"error: {said}")


def test_one_of_several_processes_may_end(model: Path) -> None:
    with served(model, "--processes", "2") as server:
        server.until_ready()
        server.until(lambda: len(server.workers) == 2, "the second one")
        first = server.workers[0]
        os.kill(first, signal.SIGKILL)
        server.until(lambda: server.metric('nmt_moe_failures_total{model="small"}') == 1, "its end")
        for _ in range(3):
            assert server.translate(KNOWN[0]).json() == {"translatedText": KNOWN[0]}
        assert server.get("/health").status_code == 200
        server.until(lambda: len({*server.workers} - {first}) == 2, "another one")


def test_a_broken_model_leaves_the_others_alone(model: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(model, tmp_path / "broken")
    weights = (broken / "model.pt").read_bytes()
    (broken / "model.pt").write_bytes(weights[: len(weights) // 2])
    with served(broken, model) as server:
        assert one_line(server).startswith("broken: ") and "model.pt" in one_line(server)
        server.until(lambda: server.translate(KNOWN[0]).status_code == 200, "the other model")
        states = {one["name"]: one["state"] for one in server.get("/api/models").json()}
        assert states == {"broken": "failed", "small": "ready"}
        assert len(server.workers) == 1, "no start can mend it"
        answer = server.get("/health")
        assert answer.status_code == 503 and answer.json()["error"] == one_line(server)
        assert server.said.count("error: ") == 1


def test_a_server_that_cannot_translate_ends(model: Path) -> None:
    options = ["--port", "0", "--device", "nonsense", "--processes", "2"]
    command = [BIN / "nmt-moe", "serve", model, *options]
    ended = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=SECONDS)
    assert ended.returncode == 1
    said = "error: small: there is no device nonsense here: use --device cpu\n"
    assert ended.stderr == said


@pytest.mark.parametrize(
    ("file", "options"),
    [
        ("small.zip", {}),
        ("small/model.json", {}),
        ("small", {"device": "nonsense"}),
        ("small", {"device": "cuda"}),
        ("small", {"shortlist": "none"}),
        ("language_model", {}),
        ("no_wordpieces", {}),
    ],
)
def test_what_only_a_user_can_mend_is_known(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, options: dict[str, Any]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    shutil.copytree(model, tmp_path / "small")
    pack(folders.read(model), tmp_path / "small.zip")
    shutil.copytree(model, tmp_path / "no_wordpieces")
    (tmp_path / "no_wordpieces" / "sentencepiece.model").unlink()
    path = tmp_path / file
    if file == "language_model":
        (tmp_path / file).mkdir()
        path = write_checkpoint(tmp_path / file, "lstm_moe_lm")
    asked = dict.fromkeys(("device", "shortlist")) | {"int8": False, "threads": 1, "beam": 2}
    with pytest.raises(Exception) as raised:
        Opened(asked | {"path": str(path)} | options)
    assert mistake(raised.value)
    assert not mistake(RuntimeError("by chance"))


def test_a_model_that_is_not_there_is_told_at_once(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = shutil.copytree(model, tmp_path / "damaged")
    (damaged / "model.json").write_text("{")
    for given, error in {
        tmp_path / "none": "there is no model",
        tmp_path: "is no model's folder: it has neither",
        model.parent / "training": f"name a checkpoint in it, such as {model.parent}/training/",
        damaged: "model.json is damaged",
    }.items():
        assert main(["serve", str(model), str(given)]) == 1
        [line] = capsys.readouterr().err.splitlines()
        assert error in line


def test_a_port_in_use_is_told(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert main(["serve", str(model), "--port", str(port)]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line == f"error: port {port} of 127.0.0.1 is in use: choose another --port"


def test_what_is_not_installed_is_named(model: Path, tmp_path: Path) -> None:
    (tmp_path / "uvicorn.py").write_text("raise ImportError('gone', name='uvicorn')\n")
    command = [sys.executable, "-m", "nmt_moe", "serve", str(model)]
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    ended = subprocess.run(
        command, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True
    )
    assert ended.returncode == 1
    assert ended.stderr == (
        "error: nmt-moe serve needs uvicorn: install it with pip install 'nmt-moe[serve]'\n"
    )


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)]
)
def test_it_ends_after_the_running_requests(model: Path, number: int) -> None:
    with served(model) as server:
        server.until_ready()
        [worker] = server.workers
        asking, answers = asked_in_vain(server, worker)
        server.process.send_signal(number)
        server.until(lambda: not reachable(server), "the end of listening")
        assert server.said.endswith("\nends after the running requests\n")
        os.kill(worker, signal.SIGCONT)
        asking.join()
        assert answers[0].json() == {"translatedText": KNOWN[0]}
        assert server.process.wait(60) == 0
        assert not Path(f"/proc/{worker}").exists()


def reachable(server: Running) -> bool:
    try:
        socket.create_connection((server.host, server.port), 1).close()
    except OSError:
        return False
    return True


def test_it_ends_while_a_model_is_opened(model: Path) -> None:
    with served(model) as server:
        [known] = server.get("/api/models").json()
        assert (known["state"], known["source"], known["target"]) == ("loading", "en", "de")
        assert server.end() == 0
        assert not server.said, "no request runs"


@pytest.mark.slow
def test_a_worker_ends_with_its_server(model: Path) -> None:
    with served(model) as server:
        server.until_ready()
        [worker] = server.workers
        server.process.kill()
        server.process.wait()
        for _ in range(600):
            if not Path(f"/proc/{worker}").exists():
                return
            threading.Event().wait(0.1)
        pytest.fail("it still runs")


def test_a_full_disk_hinders_nothing(model: Path) -> None:
    with (
        open("/dev/full", "w") as full,
        served(model, "--log", "--log-text", stderr=full) as server,
    ):
        server.until_ready()
        for process in (server.process.pid, *server.workers):
            resource.prlimit(process, resource.RLIMIT_FSIZE, (0, 0))  # of any file
        content = f"{KNOWN[0]}\n".encode()
        fields = {"source": "en", "target": "de"}
        blank = b"\n" * 2**21  # more than is kept in memory by default
        files = {"file": ("a.txt", content + blank)}
        answer = server.post("/translate_file", data=fields, files=files)
        assert server.get(answer.json()["translatedFileUrl"]).content == content + blank
        assert server.translate(KNOWN[0]).json() == {"translatedText": KNOWN[0]}
        assert server.end() == 0
