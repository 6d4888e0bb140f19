"""Codes of languages, however they are written."""

import pytest

from nmt_moe.common.errors import UserError
from nmt_moe.common.languages import language, same


@pytest.mark.parametrize(
    ("codes", "code", "script"),
    [
        ("de DE deu ger de_DE de-AT deu_Latn de_DE.UTF-8 de_DE@euro", "de", "Latn"),
        ("en en-US.UTF-8 en_XX eng en-GB-oed", "en", "Latn"),
        ("zh zho chi cmn zh_CN zh-Hans zho_Hans ZH-hans-SG zh-cmn-Hans-CN", "zh", "Hans"),
        ("zh_TW zh-HK zh_Hant zho_Hant zh-Hant-TW", "zh", "Hant"),
        ("yue zh-yue yue_Hant", "yue", "Hant"),
        ("ja jpn ja_JP jpn_Jpan", "ja", "Jpan"),
        ("pt pt-BR pt_br por PT-PT por_Latn", "pt", "Latn"),
        ("sr srp sr_RS srp_Cyrl", "sr", "Cyrl"),
        ("sr_Latn sr@latin sr-Latn-RS", "sr", "Latn"),
        ("he iw heb", "he", "Hebr"),
        ("id in ind", "id", "Latn"),
        ("ar arb ara arb_Arab ar_EG", "ar", "Arab"),
        ("ro rum ron mo", "ro", "Latn"),
        ("pa_PK pa-Arab pan_Arab", "pa", "Arab"),
        ("es es-419 spa", "es", "Latn"),
    ],
)
def test_a_code_may_be_written_in_many_ways(codes: str, code: str, script: str) -> None:
    for text in codes.split():
        found = language(text)
        assert (found.code, found.script) == (code, script), text


def test_spaces_between_words() -> None:
    unspaced = "zh ja th lo km my bo yue".split()
    known = [*unspaced, *"de ko vi ar hi zh_Latn".split()]
    assert [code for code in known if not language(code).spaced] == unspaced


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("jp", "did you mean ja (Japanese)?"),
        ("cz", "did you mean cs (Czech)?"),
        ("German", "did you mean de (German)?"),
        ("portugese", "did you mean pt (Portuguese)?"),
        ("xx", "use its code, such as de, deu or zh-Hant"),
        ("und", "use its code"),
        ("", "use its code"),
        ("../de", "use its code"),
        ("de/fr", "use its code"),
    ],
)
def test_what_is_no_language_is_refused_in_one_line(text: str, hint: str) -> None:
    with pytest.raises(UserError) as error:
        language(text)
    assert str(error.value).startswith(f"there is no language '{text}': {hint}")
    assert "\n" not in str(error.value)


def test_the_code_that_is_known_is_found() -> None:
    assert same("deu", ["fr", "de"]) == "de"
    assert same("yy", ["xx", "yy"]) == "yy"  # no languages, but the same
    assert same("zh_TW", ["zh_Hans", "zh_Hant"]) == "zh_Hant"
    assert same("pt", ["pt_BR", "es"]) == "pt_BR"
    assert same("pt", ["pt_BR", "pt_PT"]) is None
    assert same("xx", ["de"]) is None


def test_rules_may_be_those_of_a_wider_language() -> None:
    assert language("nob").codes == ["nb", "no"]
    assert language("arz").codes == ["arz", "ar"]
    assert language("nl_BE").codes == ["nl"]
