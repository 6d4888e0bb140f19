"""Segments of SGM, against sacrebleu's own reading of it."""

import html
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sacrebleu.dataset.fake_sgml import FakeSGMLDataset

from nmt_moe.common.errors import UserError
from nmt_moe.corpus import sgm
from tests.wmt14_archives import sgm as written

LINE = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


def texts(content: bytes) -> list[str]:
    return [segment.text for segment in sgm.segments(content, "x.sgm")]


def spaced(line: str) -> str:
    """As sacrebleu and every later tool see a line."""
    return " ".join(line.split())


def test_all_ways_to_write_a_segment() -> None:
    content = """\ufeff<?xml version="1.0"?>
    <SRCSET setid="x" srclang="any">
    <DOC sysid="ref" DocID='one' genre="news">
    <hl><SEG ID=1> First </SEG></hl>
    <p><seg id="2">two</seg><seg id="3">R&amp;D, AT&T &lt;b&gt; &#39;x&#x27; &amp;amp;</seg></p>
    </doc><doc docid="two"><seg id="1">over
      several\r
    lines</seg
    ><seg id="2"></seg></doc></srcset>""".encode()
    assert sgm.segments(content, "x") == [
        sgm.Segment("one", "1", "First"),
        sgm.Segment("one", "2", "two"),
        sgm.Segment("one", "3", "R&D, AT&T <b> 'x' &amp;"),
        sgm.Segment("two", "1", "over several lines"),
        sgm.Segment("two", "2", ""),
    ]


def test_what_lacks_a_semicolon_is_no_entity() -> None:
    """Though HTML would read these as characters."""
    line = "R&amp D &copy 2014 AT&ampT &lt b &not &#39 x &#x27 y &eacute"
    assert texts(f"<seg id='1'>{line}</seg>".encode()) == [line]
    assert html.unescape(line) != line


def test_special_spaces_stay_in_their_line() -> None:
    content = "<seg id='1'>oui\xa0! \u2009a\u202fb  c&nbsp;d&#10;e&#13;f\x85g\u2028h\x00</seg>"
    assert texts(content.encode()) == ["oui\xa0! \u2009a\u202fb  c\xa0d e f g h\x00"]


@given(lines=st.lists(LINE, min_size=1, max_size=12), documents=st.integers(1, 4))
def test_every_line_comes_back(lines: list[str], documents: int) -> None:
    found = texts(written(lines, documents=documents))
    assert [spaced(line) for line in found] == [spaced(line) for line in lines]
    assert not any(set("\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029") & set(line) for line in found)


def test_sacrebleu_reads_the_same(tmp_path: Path) -> None:
    lines = [
        "Tom & Jerry",
        "«\xa0Oui\u202f!\xa0»  dit-il",
        "a < b",
        '"x"',
        " ends ",
        "",
        "2\u20093",
    ]
    (tmp_path / "x.sgm").write_bytes(written(lines))
    dataset = FakeSGMLDataset("made", data=[], description="", langpairs={})
    dataset._convert_format(str(tmp_path / "x.sgm"), str(tmp_path / "x.txt"))
    theirs = (tmp_path / "x.txt").read_text(encoding="utf-8").split("\n")[:-1]
    # sacrebleu leaves entities to its tokeniser.
    ours = texts((tmp_path / "x.sgm").read_bytes())
    assert [html.unescape(line) for line in theirs] == [spaced(line) for line in ours]
    assert ours[0] == "Tom & Jerry" and theirs[0] == "Tom &amp; Jerry"


def test_pairs() -> None:
    source, target = written(["a", "b", "c"]), written(["A", "B", "C"], "refset")
    assert sgm.pairs(("s", source), ("t", target)) == [("a", "A"), ("b", "B"), ("c", "C")]
    with pytest.raises(UserError, match="s and t do not match: 3 and 2 segments"):
        sgm.pairs(("s", source), ("t", written(["A", "B"], documents=1)))
    swapped = target.replace(b'"doc-1"', b'"doc-2"')
    with pytest.raises(
        UserError, match="segment 3 is 1 of 'doc-1' in one, 1 of 'doc-2' in the other"
    ):
        sgm.pairs(("s", source), ("t", swapped))
    with pytest.raises(UserError, match="segment 2 is 2 of 'doc-0' in one, 7 of 'doc-0'"):
        sgm.pairs(("s", source), ("t", target.replace(b'<seg id="2"', b'<seg id="7"')))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "x.sgm has no <seg>"),
        (b"<seg id='1'>\xff</seg>", "x.sgm is not valid UTF-8, at byte 13"),
        (b"<seg id='1'>a<seg id='2'>b</seg>", "x.sgm: a <seg> has no end, at segment 1"),
        (b"<seg id='1'>a</seg><seg id='2'>b", "x.sgm: the last <seg> has no end"),
        (b"<seg id='1'><doc docid='1'><seg id='2'>b</seg>", "x.sgm: a <seg> has no end"),
    ],
)
def test_what_is_wrong_is_named(content: bytes, words: str) -> None:
    with pytest.raises(UserError, match=words):
        sgm.segments(content, "x.sgm")
