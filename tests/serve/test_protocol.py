"""What the server answers: LibreTranslate's client, equality with ``nmt-moe translate``, errors."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from libretranslatepy import LibreTranslateAPI
from starlette.datastructures import Headers

from nmt_moe.cli.main import main
from nmt_moe.serve.codes import CODES
from nmt_moe.serve.openapi import description
from nmt_moe.serve.settings import Settings
from nmt_moe.trained import Translator
from tests.hub.conftest import KNOWN
from tests.recipes import ROOT
from tests.serve.running import Running

LINES = [
    *KNOWN[:6],
    "",
    "The old dog sees a cat. A new bird likes it!  Is it red?",
    "  blue\tcat  sees\r",
    "Kubernetes 犬 <b>10%</b> & more",
    "red blue green big small old new dog cat bird sees likes the a " * 12,
]
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
HTML = "<p>The <b>old dog</b> sees &amp; likes a cat.</p>"


def events(text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for block in text.strip().split("\n\n"):
        kind, data = block.split("\n")
        yield kind.removeprefix("event: "), json.loads(data.removeprefix("data: "))


@pytest.fixture(scope="module")
def expected(model: Path) -> list[str]:
    """The translations of the lines by ``nmt-moe translate``'s own way."""
    found: list[str] = Translator(model, device="cpu").translate(LINES)
    return found


def test_the_official_client_translates(server: Running, expected: list[str]) -> None:
    client = LibreTranslateAPI(server.url)
    assert client.translate(LINES[0], "en", "de") == expected[0] == KNOWN[0]
    assert client.languages() == [
        {"code": "en", "name": "English", "targets": ["de"]},
        {"code": "de", "name": "German", "targets": []},
    ]
    [found, *_] = client.detect("The old dog sees the cat.")
    assert found["language"] == "en" and 80 < found["confidence"] < 100


def test_a_text_is_translated_as_its_lines_are(server: Running, expected: list[str]) -> None:
    answer = server.translate("\n".join(LINES))
    assert answer.json() == {"translatedText": "\n".join(expected)}


def test_several_texts_have_as_many_translations(server: Running, expected: list[str]) -> None:
    assert server.translate(LINES).json() == {"translatedText": expected}
    assert server.translate([LINES[1]]).json() == {"translatedText": [expected[1]]}
    assert server.translate([]).json() == {"translatedText": []}


@pytest.mark.parametrize("how", ["json", "data", "files"])
def test_fields_come_as_json_or_as_a_form(server: Running, how: str) -> None:
    fields: dict[str, Any] = {"q": KNOWN[0], "source": "en", "target": "de", "format": "text"}
    if how == "files":
        fields = {name: (None, value) for name, value in fields.items()}
    assert server.post("/translate", **{how: fields}).json() == {"translatedText": KNOWN[0]}


def test_a_form_may_have_several_texts(server: Running) -> None:
    fields = {"q": KNOWN[:2], "source": "en", "target": "de"}
    assert server.post("/translate", data=fields).json() == {"translatedText": KNOWN[:2]}


def test_the_beam_has_alternatives(server: Running) -> None:
    answer = server.translate(KNOWN[0], alternatives=2).json()
    assert answer["translatedText"] == KNOWN[0]
    assert len(answer["alternatives"]) == 2 and KNOWN[0] not in answer["alternatives"]
    several = server.translate(KNOWN[:2], alternatives=99).json()
    assert [len(some) for some in several["alternatives"]] == [3, 3]


def test_html_keeps_its_markup(server: Running) -> None:
    found = server.translate(HTML, format="html").json()["translatedText"]
    assert found.startswith("<p>") and found.endswith("</p>") and found.count("<b>") == 1


def test_a_language_is_found(server: Running) -> None:
    answer = server.translate(KNOWN[0], source="auto").json()
    spoken = answer["detectedLanguage"]
    assert answer == {"translatedText": KNOWN[0], "detectedLanguage": spoken}
    assert spoken["language"] == "en" and 90 < spoken["confidence"] < 100
    answer = server.translate([KNOWN[0]], source="auto").json()
    assert answer["detectedLanguage"] == [spoken]


def test_another_language_is_told_from_those_that_are_translated(server: Running) -> None:
    texts = {
        "de": ("German", "Zwei Hunde rennen durch den Schnee."),
        "fr": ("French", "Deux chiens courent dans la neige."),
    }
    for code, (name, text) in texts.items():
        best, *others = server.post("/detect", data={"q": text}).json()
        assert best["language"] == code and best["confidence"] > 90
        assert all(1 <= one["confidence"] < 50 for one in others)
        files = {"file": ("a.txt", text.encode())}
        fields = {"source": "auto", "target": "de"}
        for answer in (
            server.translate(text, source="auto"),
            server.post("/translate_file", data=fields, files=files),
        ):
            assert answer.status_code == 400
            said = f"no model translates from {name} ({code}): choose from en"
            assert answer.json() == {"error": said, "code": "no_direction"}
    # Of a word nothing is sure.
    answer = server.translate("Guten Tag", source="auto").json()
    assert answer["detectedLanguage"]["language"] == "en"
    assert answer["detectedLanguage"]["confidence"] < 10


def test_codes_are_understood_as_people_write_them(server: Running) -> None:
    answer = server.translate(KNOWN[0], source="eng", target="de-AT").json()
    assert answer == {"translatedText": KNOWN[0]}


def test_text_in_the_target_language_stays(server: Running) -> None:
    assert server.translate("Ja.", source="de").json() == {"translatedText": "Ja."}


@pytest.mark.parametrize(
    ("name", "content", "options"),
    [
        ("notes.md", b"# The dog\n\nthe *old* dog sees `code`\n", []),
        ("page.html", HTML.encode(), []),
        ("film.srt", b"1\n00:00:01,000 --> 00:00:02,000\nthe old dog\n", []),
        ("wide.txt", "the old dog\r\nsees\n".encode("utf-16"), []),
        ("table.tsv", b"1\tthe dog\t3\n", ["--column", "2"]),
        ("long.txt", f"{LINES[-1]} ".encode() * 3, []),
    ],
)
def test_a_file_is_translated_as_on_the_command_line(
    server: Running, model: Path, tmp_path: Path, name: str, content: bytes, options: list[str]
) -> None:
    source, out = tmp_path / name, tmp_path / f"out-{name}"
    source.write_bytes(content)
    command = ["translate", model, source, "--out", out, "--device", "cpu", *options]
    assert main([*map(str, command)]) == 0
    fields = {"source": "en", "target": "de"} | ({"column": options[1]} if options else {})
    answer = server.post("/translate_file", data=fields, files={"file": (name, content)})
    url = answer.json()["translatedFileUrl"]
    fetched = server.get(url)
    assert fetched.content == out.read_bytes()
    stem, _, ending = name.partition(".")
    assert f"{stem}_de.{ending}" in Headers(fetched.headers)["content-disposition"]
    assert fetched.headers["content-type"] == "application/octet-stream"


def test_the_name_of_a_file_leads_nowhere(server: Running) -> None:
    files = {"file": ("../..\\etc/pass wd<b>.txt", b"red")}
    answer = server.post("/translate_file", data={"source": "en", "target": "de"}, files=files)
    fetched = server.get(answer.json()["translatedFileUrl"])
    assert fetched.headers["content-disposition"].endswith("''pass%20wd%3Cb%3E_de.txt")
    for secret in ("..%2f..%2fetc%2fpasswd", "x", "%00"):
        assert server.get(f"/download_file/{secret}").status_code == 404


def test_sentences_come_as_events_in_their_order(server: Running, expected: list[str]) -> None:
    fields = {"q": "\n".join(LINES), "source": "en", "target": "de"}
    answer = server.post("/api/stream", json=fields)
    assert answer.headers["content-type"].startswith("text/event-stream")
    *sentences, (kind, end) = events(answer.text)
    assert (kind, end) == ("end", {"text": "\n".join(expected)})
    assert {kind for kind, _ in sentences} == {"sentence"}
    assert [one["index"] for _, one in sentences] == [*range(len(sentences))]
    assert [one["source"] for _, one in sentences if one["line"] == 7] == [
        "The old dog sees a cat.",
        "A new bird likes it!",
        "Is it red?",
    ]


def test_a_sentence_is_explained(server: Running) -> None:
    answer = server.post("/api/explain", json={"q": KNOWN[0], "source": "en", "target": "de"})
    assert answer.json()["translation"] == KNOWN[0]
    for q in ("", " \n", LINES[-1]):
        answer = server.post("/api/explain", json={"q": q, "source": "en", "target": "de"})
        assert answer.status_code == 400 and "q " in answer.json()["error"]


def test_models_say_how_they_are(server: Running) -> None:
    assert server.get("/api/models").json() == [
        {
            "name": "small",
            "state": "ready",
            "source": "en",
            "target": "de",
            "sourceName": "English",
            "targetName": "Deutsch",
            "sourceRtl": False,
            "targetRtl": False,
        }
    ]
    assert server.get("/health").json() == {"status": "ok"}


def test_settings_are_those_that_clients_ask_for(server: Running) -> None:
    found = server.get("/frontend/settings").json()
    assert (found["charLimit"], found["apiKeys"]) == (5000, False)
    assert found["language"]["source"] == {"code": "en", "name": "English"}
    endings = {".txt", ".tsv", ".tab", ".srt", ".vtt", ".md", ".markdown", ".html", ".xhtml"}
    assert endings < set(found["supportedFilesFormat"])


WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"q": None}, "missing", "q is missing"),
    ({"q": 5}, "field", "q must be a text"),
    ({"q": ["a", 5]}, "field", "q must be a text"),
    ({"q": {}}, "field", "q must be a text"),
    ({"source": "fr"}, "no_direction", "no model translates from 'fr': choose from en"),
    ({"target": "fr"}, "no_direction", "no model translates from en into 'fr': choose from de"),
    ({"target": None}, "missing", "target is missing"),
    ({"source": ["en"]}, "field", "source must be a text"),
    ({"format": "pdf"}, "field", "format must be text or html"),
    ({"alternatives": -1}, "field", "alternatives must be a whole number"),
    ({"alternatives": "x"}, "field", "alternatives must be a whole number"),
    ({"q": "a" * 5001}, "too_long", "the text has more than 5,000 characters"),
    ({"q": ["a" * 2501] * 2}, "too_long", "the text has more than 5,000 characters"),
    ({"q": [""] * 1001}, "too_many", "q has more than 1,000 texts"),
]


@pytest.mark.parametrize(("change", "code", "error"), WRONG, ids=[error for *_, error in WRONG])
def test_what_is_wrong_is_said_in_a_line(
    server: Running, change: dict[str, Any], code: str, error: str
) -> None:
    fields = {"q": "red", "source": "en", "target": "de"} | change
    answer = server.post("/translate", json={k: v for k, v in fields.items() if v is not None})
    assert answer.status_code == 400
    said = answer.json()["error"]
    assert error in said and "\n" not in said
    assert answer.json()["code"] == code


def test_what_was_passed_is_said_as_a_number(server: Running) -> None:
    assert server.translate("a" * 5001).json()["limit"] == 5000
    answer = server.translate("a" * 100_000)
    assert answer.status_code == 413
    assert (answer.json()["code"], answer.json()["limit"]) == ("too_long", 5000)
    files = {"file": ("a.txt", b"a" * (11 * 2**20))}
    answer = server.post("/translate_file", data={"source": "en", "target": "de"}, files=files)
    assert answer.status_code == 413
    assert answer.json() == {
        "error": "the file has more than the 10 MiB that this server takes",
        "code": "too_large",
        "limit": 10,
    }


def test_the_description_says_what_codes_mean(server: Running) -> None:
    error = server.get("/openapi.json").json()["components"]["schemas"]["Error"]
    assert error["properties"]["code"]["enum"] == [*CODES]
    said = (ROOT / "docs" / "serving.md").read_text("utf-8")
    frequent = said.partition("Frequent codes are")[2].partition("the description has all")[0]
    named = set(re.findall(r"`(\w+)`", frequent)) - {"limit"}
    assert named and named <= set(CODES)
    made = "".join(path.read_text("utf-8") for path in (ROOT / "nmt_moe" / "serve").glob("*.py"))
    assert all(made.count(f'"{code}"') > 1 for code in CODES), "one is never answered"


@pytest.mark.parametrize(
    ("status", "request_"),
    [
        (400, {"content": b"{", "headers": {"Content-Type": "application/json"}}),
        (400, {"content": b"[" * 9999, "headers": {"Content-Type": "application/json"}}),
        (400, {"content": b"[]", "headers": {"Content-Type": "application/json"}}),
        (400, {"content": b"q=%ff\xff"}),
        (400, {"content": b' {"q": "red"}', "headers": FORM}),
        (400, {"content": b"x", "headers": {"Content-Type": "multipart/form-data; boundary=a"}}),
        (400, {"content": b"x", "headers": {"Content-Type": "multipart/form-data"}}),
        *(
            (415, {"content": b"x", "headers": {"Content-Type": f"multipart/form-data; {how}"}})
            for how in ("boundary=a; charset=idna", 'charset="unicode_escape"; boundary=a')
        ),
        (413, {"content": b"x" * 100_000}),
        (415, {"content": b"x", "headers": {"Content-Type": "text/xml"}}),
    ],
)
def test_other_bodies_are_refused(server: Running, status: int, request_: dict[str, Any]) -> None:
    answer = server.post("/translate", **request_)
    assert (
        answer.status_code == status and answer.json()["error"] and answer.json()["code"] in CODES
    )


def test_json_without_its_type_is_told(server: Running) -> None:
    answer = server.post("/translate", content=b' {"q": "red"}', headers=FORM)  # as of curl -d
    assert "Content-Type: application/json" in answer.json()["error"]


def test_a_file_is_fetched_by_tls_where_a_proxy_speaks_it(server: Running) -> None:
    fields, files = {"source": "en", "target": "de"}, {"file": ("a.txt", b"red")}
    headers = {"X-Forwarded-Proto": "https", "Host": "localhost:5000"}
    answer = server.post("/translate_file", data=fields, files=files, headers=headers)
    assert answer.json()["translatedFileUrl"].startswith("https://localhost:5000/download_file/")


def test_half_characters_are_no_failure(server: Running) -> None:
    body = rb'{"q": "red \ud800 \udc00\ud800", "source": "en", "target": "de"}'
    answer = server.post("/translate", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("name", "content", "fields", "code", "error"),
    [
        ("a.txt", b"\xff\xfe\xff", {}, "encoding", "not valid UTF-16"),
        ("a.txt", b"red\n\xff", {}, "encoding", "a.txt, line 2: not valid UTF-8"),
        ("a.tsv", b"a\tb", {}, "column", "which column"),
        ("a.tsv", b"a\tb", {"column": "9"}, "column", "a.tsv, line 1: has 2 columns"),
        ("a.pdf", b"%PDF", {}, "file_type", "a.pdf is no file of text"),
        ("a.txt", b"red", {"format": "doc"}, "field", "format must be one of"),
        ("", b"red", {}, "missing", "file is missing"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(
    server: Running, name: str, content: bytes, fields: dict[str, str], code: str, error: str
) -> None:
    fields = {"source": "en", "target": "de"} | fields
    answer = server.post("/translate_file", data=fields, files={"file": (name, content)})
    assert answer.status_code == 400 and error in answer.json()["error"]
    assert answer.json()["code"] == code


def test_other_paths_and_methods_are_refused(server: Running) -> None:
    assert server.get("/nothing").status_code == 404
    assert server.get("/translate").status_code == 405
    assert server.get("/nothing").json() == {"error": "there is nothing here", "code": "not_found"}


def test_metrics_count_requests_batches_and_experts(server: Running) -> None:
    asked = 'nmt_moe_requests_total{path="/translate",status="200"}'
    before = server.metric(asked)
    server.translate(KNOWN[:3])
    assert server.metric(asked) == before + 1
    text = server.get("/metrics").text
    assert server.metric('nmt_moe_batch_sentences_count{model="small"}') > 0
    assert server.metric('nmt_moe_ready{model="small"}') == 1
    assert server.metric('nmt_moe_queue{model="small"}') == 0
    experts = re.findall(r'^nmt_moe_expert_tokens_total\{.*layer="(.*?)".*\} (.*)$', text, re.M)
    assert {layer for layer, _ in experts} == {"encoder.2", "decoder.1"}
    assert all(float(count) > 0 for _, count in experts)


def test_the_description_names_all_paths(server: Running) -> None:
    described = server.get("/openapi.json").json()
    assert described == description(Settings(("x",)), [("en", "de")])
    for path, methods in described["paths"].items():
        for method in methods:
            status = server.client.request(method, path.replace("{secret}", "x")).status_code
            assert status not in (404, 405) or "{secret}" in path
    page = server.get("/docs")
    assert "/translate_file" in page.text and "<script" not in page.text
    assert "`" not in page.text and "is wrong; <code>error</code> says what" in page.text
    assert (
        ".;" not in page.text and "Of TSV: numbers or names, with commas. May be left" in page.text
    )
    assert "td:first-child { white-space: nowrap }" in page.text, "names in one line"
    assert all(f"<td><code>{code}</code>" in page.text for code in CODES)
    assert "http" not in page.text.replace("http://www.w3.org", "")


def test_logs_hold_no_text(server: Running) -> None:
    server.translate("secret bird")
    server.get("/translate?q=secret")
    server.get("/secret")
    server.until(lambda: "POST /translate 200" in server.said, "a line of the log")
    assert "secret" not in server.said
