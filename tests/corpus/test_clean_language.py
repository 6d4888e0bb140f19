"""Language identification, with py3langid and without."""

import sys

import pytest

from nmt_moe.common.errors import UserError
from nmt_moe.corpus.clean.language import foreign

ENGLISH = "The government has decided that the law will be changed next year."
GERMAN = "Die Regierung hat entschieden, dass das Gesetz nächstes Jahr geändert wird."
CZECH = "Vláda rozhodla, že zákon bude v příštím roce změněn."


def test_longer_sides_must_be_in_their_language() -> None:
    pytest.importorskip("py3langid")
    is_foreign = foreign(["en", "de"])
    assert not is_foreign(ENGLISH, GERMAN)
    assert is_foreign(ENGLISH, ENGLISH + ".")
    assert is_foreign(GERMAN, GERMAN + ".")
    assert is_foreign(GERMAN, ENGLISH)
    assert is_foreign(ENGLISH, CZECH) and is_foreign(CZECH, GERMAN)
    for name in (
        "Jiří Krejčí",
        "Oh là là!",
        "1.",
        "Der Spiegel",
        "Tom Baker, Lisa Marie and Anna Lopez",
    ):
        assert not is_foreign(name, name)


def test_an_unknown_language_is_an_error() -> None:
    pytest.importorskip("py3langid")
    with pytest.raises(UserError, match="there is no language 'xx'"):
        foreign(["en", "xx"])
    with pytest.raises(UserError, match="does not know the language 'tpi'"):
        foreign(["en", "tpi"])


def test_a_code_may_be_written_in_many_ways() -> None:
    pytest.importorskip("py3langid")
    is_foreign = foreign(["en_US.UTF-8", "deu"])
    assert not is_foreign(ENGLISH, GERMAN)
    assert is_foreign(GERMAN, ENGLISH)


def test_without_the_library_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "py3langid.langid", None)
    with pytest.raises(UserError, match=r"pip install 'nmt-moe\[langid\]'"):
        foreign(["en", "de"])
