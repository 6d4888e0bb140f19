"""Requests that schemathesis makes of the server's own description: no failure, no hang."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hub.conftest import KNOWN
from tests.serve.running import Running, served

CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,"
    "response_schema_conformance"
)


@pytest.mark.parametrize(
    ("examples", "requests"), [(8, 200), pytest.param(2500, 10_000, marks=pytest.mark.slow)]
)
def test_no_request_fails(model: Path, tmp_path: Path, examples: int, requests: int) -> None:
    with served(model, "--timeout", "60") as server:
        server.until_ready()
        fuzz(server, tmp_path, examples)
        text = server.get("/metrics").text
        count = r'^nmt_moe_requests_total\{path="(.*)",status="(\d+)"\} (.*)$'
        found = [one for one in re.findall(count, text, re.M) if one[0] != "/health"]
        assert sum(float(number) for *_, number in found) >= requests
        assert not [one for one in found if one[1].startswith("5")]
        assert "error" not in server.said
        assert server.translate(KNOWN[0]).json() == {"translatedText": KNOWN[0]}
        assert server.metric("nmt_moe_requests_running") == 0


def fuzz(server: Running, folder: Path, examples: int) -> None:
    command = [Path(sys.executable).with_name("schemathesis"), "run", f"{server.url}/openapi.json"]
    options = ["--checks", CHECKS, "--max-examples", examples, "--request-timeout", 60]
    options += ["--workers", 4, "--seed", 1, "--no-color", "--suppress-health-check", "all"]
    options += ["--generation-database", "none"]
    ended = subprocess.run(
        [*map(str, [*command, *options])], cwd=folder, capture_output=True, text=True, timeout=3000
    )
    assert ended.returncode == 0, ended.stdout[-5000:] + ended.stderr[-2000:]
