"""Files keep their form: all but the text stays, whatever the translation does with the words."""

import re
from collections.abc import Callable, Iterable
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from nmt_moe.common.errors import UserError
from nmt_moe.trained.alignment import Aligned
from nmt_moe.translate.documents.forms import document
from nmt_moe.translate.documents.parts import Unit
from nmt_moe.translate.documents.translating import Documents, Translate, terms
from nmt_moe.translate.sentences import Sentences

FORMS = ("text", "tsv", "srt", "markdown", "html")


def word_by_word(change: Callable[[str], str], order: int = 1) -> Translate:
    """A translator of words, with their alignment; order -1: the last word comes first."""

    def translate(sentences: list[str]) -> list[Aligned]:
        found = []
        for sentence in sentences:
            assert sentence == " ".join(sentence.split()) != ""
            text = change(" ".join(sentence.split(" ")[::order]))
            source, target = (
                [match.span() for match in re.finditer(r"(?a:\w+)|\S", one)]
                for one in (sentence, text)
            )
            places = [m.start() for m in re.finditer(r"(?<!\S)(?=\S)", sentence)][::order]
            numbers = {place: n for n, (place, _) in enumerate(source)}
            attention = np.zeros((len(target), len(source)))
            at = 0
            for place in places:
                for number in range(numbers[place], len(source)):
                    start, _ = source[number]
                    if " " in sentence[place:start]:
                        break
                    attention[at, number] = 1
                    at += 1
            found.append(Aligned(text, source, target, attention))
        return found

    return translate


def swapped(word: str) -> str:
    return re.sub("[A-Za-z]+", lambda match: match[0].swapcase(), word)


def longer(text: str) -> str:
    return re.sub(r"\w+", lambda match: f"{match[0]}{match[0]}", text)


def translated(
    form: str, text: str, translate: Translate, keep: Iterable[str] = (), sentences: bool = True
) -> str:
    split = Sentences("en") if sentences else None
    documents = Documents(translate, split, terms(keep), buffer=3)
    lines = re.findall(r"[^\n]*\n|[^\n]+", text)
    return "".join(part for part, _ in documents(document(form, lines, ["2"])))


SPACES = st.sampled_from([" ", " ", " ", "  ", "\n", "\r\n", "\n    ", "\t", "\xa0"])
WORDS = "The dog sees it. A cat, too! (is) 3 -- x2 it's 5. 犬。 猫 the".split()
WORDS += "* # - > _ & < ~ | [ ] \\ \\d".split()
MARKUP = {
    "text": ["http://x.y/a_b.", "me@x.org"],
    "tsv": ["\t", "\n"],
    "srt": [
        *("<i>", "</i>", "{\\an8}", "\n- ", "<b>", "</b>"),
        "\n\n2\n00:00:03,000 --> 00:00:04,500\n",
    ],
    "markdown": [
        *("*", "**", "_", "`a b`", "[", "](u)", "][r]", "![p](q)", "<b>", "</b>", "<br>", "~~"),
        *("\n\n", "\n> ", "\n- ", "\n1. ", "\n# ", "\n```\n", "&amp;", "\\*", "  \n", "<!-- c -->"),
        *("<https://x.y>", "[^1]", "\n\n<div>", "</div>\n\n", "\n---\n", "***", "$x_1$"),
        "\n|a|b|\n|-|-|\n|",
    ],
    "html": [
        *("<b>", "</b>", "<a href='x'>", "</a>", "<p>", "</p>", "<br>", "<img src=x>", "&amp;"),
        *("<code>", "</code>", "<pre>", "</pre>", "<!-- c -->", "<script>", "</script>", "<i/>"),
        *("&nbsp;", "<li>", "<wbr>", "<!", "</", "<![x", "<?php ?>", "<span translate=no>"),
        *("</span>", "&lt;", "&#35"),
    ],
}  # fmt: skip
SRT = "1\n00:00:01,000 --> 00:00:03,000\n"


@st.composite
def texts(draw: st.DrawFn, form: str, spaced: bool) -> str:
    some = st.one_of(st.sampled_from(WORDS), st.sampled_from(MARKUP[form]), SPACES)
    parts = draw(st.lists(some, max_size=25))
    text = "".join(f"{part} " if spaced else part for part in parts)
    if form == "tsv":
        return "".join(f"x\t{line}\n" for line in text.replace("\t", " ").split("\n"))
    return SRT * (form == "srt") + text


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=30, derandomize=True)
@given(st.data())
def test_a_translation_and_its_inverse_give_the_same_bytes(form: str, data: st.DataObject) -> None:
    spaced = data.draw(st.booleans())
    text = data.draw(texts(form, spaced))
    raw = "".join(
        one if isinstance(one, str) else one.raw
        for one in document(form, re.findall(r"[^\n]*\n|[^\n]+", text), ["2"])
    )
    assert raw == text
    assert translated(form, text, word_by_word(str)) == text
    if not spaced:  # markup within a word is put around all of its translation
        return
    once = translated(form, text, word_by_word(swapped))
    if form != "markdown" or "[" not in text:  # [r] may have become [R][r]
        assert once.lower() == text.lower()
    if form in ("text", "tsv", "srt"):
        assert translated(form, once, word_by_word(swapped)) == text


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=30, derandomize=True)
@given(st.data())
def test_whatever_the_translation_no_markup_is_lost(form: str, data: st.DataObject) -> None:
    """Words in the reverse order, each another: tags, code and addresses are all there."""
    spaced = data.draw(st.booleans())
    text = data.draw(texts(form, spaced))
    found = translated(form, text, word_by_word(longer, -1))
    assert [*tags(form, text)] == [*tags(form, found)], found


def tags(form: str, text: str) -> Iterable[str]:
    """What has to stay, in an order that does not depend on the place."""
    if form == "html":
        seen: list[str] = []
        parser = HTMLParser(convert_charrefs=False)
        parser.handle_starttag = lambda tag, attrs: seen.append(parser.get_starttag_text() or "")
        parser.handle_endtag = lambda tag: seen.append(f"</{tag}>")
        parser.handle_comment = seen.append
        parser.parse_marked_section = parser.parse_bogus_comment  # an old one fails
        parser.feed(text.replace("&", "+"))
        return sorted(seen)
    if form == "srt":
        return re.findall(r"\d+\n[\d:,]+ --> [\d:,]+\n", text) + sorted(
            re.findall("</?[bi]>", text)
        )
    if form == "tsv":
        return [line.split("\t")[0] for line in text.split("\n")]
    if form == "markdown":
        tokens = MarkdownIt("commonmark").parse(text)
        inner = [one.type for token in tokens for one in token.children or () if one.type != "text"]
        return [one.type for one in tokens] + sorted(inner)
    return sorted(re.findall(r"(?a:(?<!\w)http\S+?b\b|\bme@x\.org\b)", text))


def test_tags_stay_around_their_subtitles() -> None:
    times = "00:00:01,000 --> 00:00:03,000\n", "00:00:03,100 --> 00:00:05,000\n"
    first = r"{\an8}<i><b>A man plays</b></i>"
    seconds = ["the guitar\n", "<i>the guitar\nhere</i>\n", "the <b>guitar</b>\n"]
    seconds += [
        "{\\an8}\n<i>the guitar</i>\n",
        "<i>the</i> big <i>guitar</i> \n",
        "<i>\nthe\n</i>\n",
    ]
    for second in seconds:
        text = f"1\n{times[0]}{first}\n\n2\n{times[1]}{second}"
        found = translated("srt", text, word_by_word(longer, -1)).split("\n\n")
        tags = [
            [re.findall("</?[a-z]+>", one) for one in side] for side in (text.split("\n\n"), found)
        ]
        assert tags[0] == tags[1], found
        assert found[0].splitlines()[2].startswith(r"{\an8}<i><b>")
        assert found[0].endswith("</b></i>")


def test_a_sentence_in_tagged_subtitles_is_one() -> None:
    asked: list[str] = []

    def translate(sentences: list[str]) -> list[Aligned]:
        asked.extend(sentences)
        return word_by_word(longer)(sentences)

    times = "00:00:01,000 --> 00:00:03,000\n", "00:00:03,100 --> 00:00:05,000\n"
    text = f"1\n{times[0]}<i>A man plays</i>\n\n2\n{times[1]}<i>the\nguitar</i>\n"
    found = translated("srt", text, translate)
    assert asked == ["A man plays the guitar"]
    assert (
        "<i>AA manman playsplays</i>\n\n2\n" in found and "<i>thethe\nguitarguitar</i>\n" in found
    )


def test_a_sentence_runs_over_subtitles() -> None:
    text = (
        "\ufeff1\r\n00:00:01,000 --> 00:00:03,000\r\nThis is a sentence that\r\n"
        "runs over two\r\n\r\n"
        "2\r\n00:00:03,100 --> 00:00:05,000\r\nsubtitles. <i>And another.</i>\r\n\r\n"
        "3\r\n00:00:09,000 --> 00:00:10,000\r\n- Yes!\r\n- {\\an8}No. 7\r\n"
    )
    asked: list[str] = []

    def translate(sentences: list[str]) -> list[Aligned]:
        asked.extend(sentences)
        return word_by_word(longer)(sentences)

    found = translated("srt", text, translate)
    assert asked == [
        *("This is a sentence that runs over two subtitles.", "And another.", "Yes!", "No. 7")
    ]
    assert found == re.sub(
        r"(?m)^(?!\d|\ufeff)(.*)$",
        lambda match: re.sub(r"(?<![<\\/])\b[A-Za-z]+(?!>)", lambda m: m[0] * 2, match[0]),
        text,
    ).replace("7", "77")


@pytest.mark.parametrize("order", [1, -1])
def test_terms_stay_wherever_the_translation_has_them(order: int) -> None:
    text = "We run New Foo, the new Foo, and Foo Bar 2.0 on foo.\n"
    terms_to_keep = ["Foo Bar 2.0", "New  Foo", "", "Foo"]
    found = translated("text", text, word_by_word(longer, order), terms_to_keep)
    left = found
    for term in ("New Foo", "Foo Bar 2.0", "Foo"):
        assert left.count(term) == 1, found
        left = left.replace(term, "-")
    assert "foofoo" in left and not re.search(r"\bfoo\b|Foo", left)


def test_no_term_is_lost_where_the_attention_says_nothing() -> None:
    def translate(sentences: list[str]) -> list[Aligned]:
        return [Aligned(f"{len(sentence)} signs") for sentence in sentences]

    text = "You <b>may</b> run <code>make</code> and Foo here.\n"
    assert translated("html", text, translate, ["Foo"]) == (
        "3 signs <b>3 signs</b> 3 signs <code>make</code> 3 signs Foo 5 signs\n"
    )


def test_tags_follow_their_words() -> None:
    """As attention says: around the words that have most of it within the tag."""

    def translate(sentences: list[str]) -> list[Aligned]:
        assert sentences == ["I saw a red dog."]
        attention = np.full((6, 6), 0.05)
        for target, source in enumerate([3, 4, 2, 0, 1, 5]):
            attention[target, source] = 0.75
        return [Aligned(
            "rouge chien un je vu.",
            [(0, 1), (2, 5), (6, 7), (8, 11), (12, 15), (15, 16)],
            [(0, 5), (6, 11), (12, 14), (15, 17), (18, 20), (20, 21)],
            attention,
        )]  # fmt: skip

    text = "I saw a **red [dog](u)**."
    assert translated("markdown", text, translate) == "**rouge [chien](u)** un je vu."


def test_what_a_translation_writes_is_no_markup() -> None:
    def translate(sentences: list[str]) -> list[Aligned]:
        return [Aligned("1. *a* <b> & [b](c) # `d`") for _ in sentences]

    found = translated("markdown", "Text.\n", translate, sentences=False)
    tokens = MarkdownIt("commonmark").parse(found)
    assert [token.type for token in tokens] == ["paragraph_open", "inline", "paragraph_close"]
    assert {token.type for token in tokens[1].children or ()} == {"text"}
    assert "".join(token.content for token in tokens[1].children or ()) == (
        "1. *a* <b> & [b](c) # `d`"
    )
    assert translated("html", "<p>Text", translate) == "<p>1. *a* &lt;b&gt; &amp; [b](c) # `d`"


def test_columns_by_number_and_name_and_none() -> None:
    def texts_of(text: str, *columns: str) -> list[str]:
        lines = text.splitlines(keepends=True)
        return [one.raw for one in document("tsv", lines, columns) if isinstance(one, Unit)]

    table = "id\ta\tb\r\n1\tx y\t z\n\n2\t\tw\n"
    assert texts_of(table, "2") == ["a", "x y"]
    assert texts_of(table, "b", "a") == ["x y", "z", "w"]
    with pytest.raises(UserError, match=r"^text: the first line has no column 'c': choose from id"):
        texts_of(table, "c")
    with pytest.raises(UserError, match=r"^text, line 4: has 2 columns between tabs, no column 3"):
        texts_of("1\t2\t3\n\n1\t2\t3\n1\t2\n", "3")


def test_scripts_without_spaces_are_wrapped_between_letters() -> None:
    def translate(sentences: list[str]) -> list[Aligned]:
        return [Aligned({"他来了很好。": "She came and all was well."}[one]) for one in sentences]

    assert translated("markdown", "他来了\n很好。\n", translate) == "She came and\nall was well.\n"


def test_a_term_that_the_model_copies_stays_in_its_sentence() -> None:
    def translate(sentences: list[str]) -> list[Aligned]:
        return [Aligned({"And Foo here.": "Und hier Foo."}[one]) for one in sentences]

    assert translated("text", "And Foo here.\n", translate, ["Foo"]) == "Und hier Foo.\n"
