"""Who may ask: tokens, pages elsewhere, other hosts, and what each answer carries."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from nmt_moe.cli.main import main
from nmt_moe.serve.address import listen, shown
from nmt_moe.serve.settings import Settings, origins_of
from tests.hub.conftest import KNOWN
from tests.serve.running import Running, served

TOKEN, OTHER = "0123456789abcdef", "fedcba9876543210"
ORIGIN = "https://pages.example"
FIELDS = {"q": KNOWN[0], "source": "en", "target": "de"}


@pytest.fixture(scope="module")
def guarded(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server that can be reached from elsewhere."""
    tokens = tmp_path_factory.mktemp("tokens") / "tokens"
    tokens.write_text(f"# of the tests\n{TOKEN}\n\n{OTHER}\n")
    options = ["--host", "0.0.0.0", "--token-file", tokens, "--allow-origin", ORIGIN]
    with served(model, *options) as running:
        running.client.base_url = running.client.base_url.copy_with(host="127.0.0.1")
        running.until_ready()
        yield running


@pytest.mark.parametrize(
    "path", ["/translate", "/detect", "/translate_file", "/api/stream", "/api/explain"]
)
def test_work_needs_a_token(guarded: Running, path: str) -> None:
    for headers in ({}, {"Authorization": f"Bearer {TOKEN}x"}, {"Authorization": f"Basic {TOKEN}"}):
        answer = guarded.post(path, data=FIELDS, files={"file": ("a.txt", b"red")}, headers=headers)
        assert answer.status_code == 403 and "token" in answer.json()["error"]
    for token in (TOKEN, OTHER):
        given = {"Authorization": f"Bearer {token}"}
        files = {"file": ("a.txt", b"red")}
        assert guarded.post(path, data=FIELDS, files=files, headers=given).status_code == 200
        fields = FIELDS | {"api_key": token}
        assert guarded.post(path, data=fields, files=files).status_code == 200


def test_a_wrong_token_is_told_from_none(guarded: Running) -> None:
    none = guarded.post("/translate", json=FIELDS)
    wrong = guarded.post("/translate", json=FIELDS | {"api_key": "x"})
    assert (none.json()["code"], wrong.json()["code"]) == ("token", "token_wrong")
    assert wrong.json()["error"] == "the token is not one of this server's"


def test_metrics_need_a_token_and_the_page_none(guarded: Running) -> None:
    assert guarded.get("/metrics").status_code == 403
    given = {"Authorization": f"Bearer {TOKEN}"}
    assert guarded.get("/metrics", headers=given).status_code == 200
    for path in ("/", "/docs", "/health", "/languages", "/api/models", "/frontend/settings"):
        assert guarded.get(path).status_code == 200
    assert guarded.get("/frontend/settings").json()["keyRequired"] is True


def test_pages_elsewhere_may_ask_where_they_are_named(guarded: Running) -> None:
    headers = {"Origin": ORIGIN, "Authorization": f"Bearer {TOKEN}"}
    answer = guarded.post("/translate", json=FIELDS, headers=headers)
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    asked = {"Origin": ORIGIN, "Access-Control-Request-Method": "POST"}
    answer = guarded.client.options("/translate", headers=asked)
    assert answer.status_code == 200
    assert "Authorization" in answer.headers["access-control-allow-headers"]
    for origin in ("https://other.example", "null", f"{ORIGIN}.other.example"):
        answer = guarded.post("/translate", json=FIELDS, headers=headers | {"Origin": origin})
        assert answer.status_code == 403
        assert "access-control-allow-origin" not in answer.headers


def test_by_default_no_page_elsewhere_may_ask(server: Running) -> None:
    for origin in (ORIGIN, "null"):
        answer = server.post("/translate", json=FIELDS, headers={"Origin": origin})
        assert answer.status_code == 403
        assert server.client.options("/translate", headers={"Origin": origin}).status_code == 403
        assert "access-control-allow-origin" not in server.get("/languages").headers
    answer = server.post("/translate", json=FIELDS, headers={"Origin": server.url})
    assert answer.status_code == 200


def test_a_name_that_was_bound_to_this_machine_is_refused(server: Running) -> None:
    """As a page elsewhere could have its own name's address changed."""
    for host in ("evil.example", "evil.example:5000", "127.0.0.1.evil.example"):
        answer = server.get("/languages", headers={"Host": host})
        assert answer.status_code == 421
    for host in ("localhost", "LOCALHOST:1", "127.0.0.1:80", "[::1]:80"):
        assert server.get("/languages", headers={"Host": host}).status_code == 200


def test_answers_carry_the_headers_of_security(server: Running) -> None:
    for path in ("/", "/docs", "/languages", "/nothing"):
        headers = server.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert "server" not in headers


def test_markup_in_a_request_is_no_markup_in_an_answer(server: Running) -> None:
    answer = server.post("/translate", json=FIELDS | {"source": "<script>"})
    assert answer.headers["content-type"] == "application/json"
    assert server.get("/<script>").headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("tokens", "error"),
    [
        (None, "cannot be read: No such file"),
        (b"# none\n", "has no tokens"),
        (b"short\n", "of 16 characters or more"),
        ("ä" * 20, "of 16 characters or more"),
        (b"\xff" * 20, "not UTF-8"),
        (b"two words of a token\n", "one word"),
    ],
)
def test_a_file_without_good_tokens_is_refused(
    model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    tokens: bytes | str | None,
    error: str,
) -> None:
    file = tmp_path / "tokens"
    if tokens is not None:
        file.write_bytes(tokens if isinstance(tokens, bytes) else tokens.encode())
    assert main(["serve", str(model), "--token-file", str(file)]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert error in line


@pytest.mark.parametrize(
    ("option", "error"),
    [
        (["--host", "no-such-host.invalid"], "no-such-host.invalid: there is no such address"),
        (["--host", f"{'a' * 70}.b"], "there is no such address"),
        (["--host", "http://localhost"], "give an address, not a URL"),
        *(
            (["--allow-origin", origin], f"--allow-origin {origin}: give scheme and host")
            for origin in (
                "example.org", "*", "null", "https://example.org/", "https://example.org/page",
                "https://Example.org", "https://", "https://example.org:443", "http://a@b",
            )
        ),
    ],
)  # fmt: skip
def test_what_is_no_address_is_told(
    model: Path, capsys: pytest.CaptureFixture[str], option: list[str], error: str
) -> None:
    assert main(["serve", str(model), *option]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert error in line


def test_origins_are_taken_as_browsers_send_them() -> None:
    good = [
        "https://example.org",
        "http://localhost:8080",
        "http://[::1]:1",
        "moz-extension://ab-1",
    ]
    assert origins_of(good) == set(good)


def test_all_addresses_of_this_machine_are_shown_by_its_name() -> None:
    tokens = frozenset(["0123456789abcdef"])
    with listen(Settings(("x",), host="0.0.0.0", port=0, tokens=tokens)) as listening:
        port = listening.getsockname()[1]
        first, second, *_ = shown(listening)
        assert first == f"http://0.0.0.0:{port}"
        assert second == f"http://{socket.gethostname()}:{port}"
    with listen(Settings(("x",), port=0)) as listening:
        assert [*shown(listening)] == [f"http://127.0.0.1:{listening.getsockname()[1]}"]


def test_other_addresses_need_tokens(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for host in ("0.0.0.0", "::", "192.0.2.1"):
        assert main(["serve", str(model), "--host", host]) == 1
        [line] = capsys.readouterr().err.splitlines()
        assert "--token-file" in line
