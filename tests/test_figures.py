"""``docs/figures.py``: no page has a figure that no file has."""

from types import ModuleType

import pytest

from tests.scripts import script


def figures() -> ModuleType:
    return script("docs/figures.py")


def found(text: str, page: str = "docs/x.md", *known: dict[str, str]) -> list[str]:
    return [error.split("'")[1] for error in figures().unknown(page, text, [*known])]


def test_every_figure_has_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert figures().main() == 0, capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "figure"),
    [
        ("Published systems have 38 to 41 BLEU.", "38 to 41 BLEU"),
        ("It takes 0.04 ms of\n18 s.", "0.04 ms"),
        ("Torch 2.14.1 gives the same.", "2.14.1"),
        ("A word needs 21 bytes.", "21 bytes"),
        ("It differs by 7e-15.", "7e-15"),
        ("With 65,536 tokens on the GPU.", "65,536 tokens"),
        ("It is 12 % faster.", "12 %"),
        ("The mean is 68.27/68.85.", "68.27"),
    ],
)
def test_a_figure_is_found(text: str, figure: str) -> None:
    assert found(text)[0] == figure
    assert found(f"<!-- generated: table x -->\n{text}\n<!-- end -->") == []
    assert found(f"```text\n{text}\n```\n`{text}`") == []


def test_a_source_covers_its_text_and_page_alone() -> None:
    source = {"page": "docs/x.md", "text": "a limit of 1.5 MiB"}
    assert found("It has a limit of\n1.5 MiB.", "docs/x.md", source) == []
    assert found("It has a limit of 1.5 MiB.", "docs/y.md", source) == ["1.5 MiB"]
    assert found("It has a mean of 1.5 MiB.", "docs/x.md", source) == ["1.5 MiB"]


def test_results_have_no_digits_of_their_own() -> None:
    assert found("There are 3 seeds of Multi30k in float32.", "docs/results.md") == ["3"]
    assert found("There are 3 seeds of Multi30k in float32.") == []


def test_a_source_that_has_it_no_more() -> None:
    source = {"page": "docs/x.md", "text": "1.5 MiB", "source": "README.md", "has": "# nmt_moe"}
    pages = {"docs/x.md": "By 1.5 MiB."}
    wrong = figures().wrong
    assert [*wrong([source], pages)] == []
    assert len([*wrong([source | {"has": "never that"}], pages)]) == 1
    assert len([*wrong([source | {"source": "no.file"}], pages)]) == 1
    assert len([*wrong([source | {"text": "1.6 MiB"}], pages)]) == 1
