"""The page as a file: what its policy allows, its texts, and its scripts."""

import base64
import hashlib
import json
import re
from importlib import resources

from nmt_moe.common.scripting import linked
from nmt_moe.serve.page import page

ASSETS = {
    file.name: file.read_text(encoding="utf-8")
    for file in (resources.files("nmt_moe.serve.page") / "assets").iterdir()
}
SCRIPTS = {name: text for name, text in ASSETS.items() if name.endswith(".js")}


def test_the_policy_allows_the_style_and_the_script_of_the_page_alone() -> None:
    made = page()
    html = made.html.decode()
    policy = dict(part.strip().split(" ", 1) for part in made.policy.split(";"))
    for name, pattern in (
        ("script-src", r"<script>(.*?)</script>"),
        ("style-src", r"<style>(.*?)</style>"),
    ):
        [content] = re.findall(pattern, html, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert policy[name] == f"'sha256-{digest}'"
    assert policy["default-src"] == "'none'" and policy["connect-src"] == "'self'"
    assert "unsafe" not in made.policy
    assert not re.search(r"\son\w+=|style=|javascript:|src=|@import", html)
    addresses = set(re.findall(r"""https?://[^\s"')]+""", html))
    assert addresses == {"http://www.w3.org/2000/svg"}  # a name, not an address


def test_text_never_becomes_html() -> None:
    forbidden = "innerHTML|outerHTML|insertAdjacentHTML|document.write|eval|new Function|srcdoc"
    for name, text in SCRIPTS.items():
        assert not re.search(forbidden, text), name


def test_each_text_is_there_in_each_language_with_the_same_values() -> None:
    texts = json.loads(ASSETS["texts.json"])
    assert [*texts] == ["en", "de", "fr"]

    def values(text: str | dict[str, str]) -> set[str]:
        forms = [text] if isinstance(text, str) else [*text.values()]
        assert all(form.strip() for form in forms)
        return {name for form in forms for name in re.findall(r"\{(\w+)\}", form)}

    for language, own in texts.items():
        assert own.keys() == texts["en"].keys(), language
        for key, text in own.items():
            assert values(text) == values(texts["en"][key]), (language, key)
            if isinstance(text, dict):
                assert {"one", "other"} <= text.keys()
    for language in ("de", "fr"):
        same = {key for key, text in texts[language].items() if text == texts["en"][key]}
        assert same <= {"seconds", "sourcePane", "name", "token"}, language


def test_each_text_is_used_and_each_used_one_is_there() -> None:
    texts = json.loads(ASSETS["texts.json"])["en"].keys() - {"name"}
    in_html = set(re.findall(r'data-(?:text|label|placeholder)="(\w+)"', ASSETS["page.html"]))
    scripts = "".join(SCRIPTS.values())
    assert in_html | set(re.findall(r'say\("(\w+)"', scripts)) <= texts
    unused = {key for key in texts - in_html if not re.search(rf'"{key}"', scripts)}
    assert not unused


def test_texts_of_the_file_are_those_of_its_first_language() -> None:
    """Where the script does not run, it still reads well."""
    texts = json.loads(ASSETS["texts.json"])["en"]
    written = re.findall(r'data-text="(\w+)">([^<]+)<', ASSETS["page.html"])
    assert len(written) > 15
    for key, text in written:
        assert text.rstrip(".") == texts[key].rstrip("."), key


def test_scripts_name_what_they_need_of_each_other() -> None:
    order = re.findall(
        r"^modules\.(\w+) = ", linked("start", lambda name: SCRIPTS[name]), re.MULTILINE
    )
    assert sorted(f"{name}.js" for name in order) == sorted(SCRIPTS)  # none is left over
    for name, text in SCRIPTS.items():
        for names, other in re.findall(r'^import \{ (.*) \} from "\./(\w+)\.js";$', text, re.M):
            exported = set(re.findall(r"^export const (\w+) = ", SCRIPTS[f"{other}.js"], re.M))
            assert set(names.split(", ")) <= exported, f"{name}, {other}.js"
            used = re.sub(r"^import .*$", "", text, flags=re.MULTILINE)
            unused = [one for one in names.split(", ") if not re.search(rf"\b{one}\b", used)]
            assert not unused, f"{name}: {unused}"
