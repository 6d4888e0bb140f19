"""Splitting lines into sentences, in any script.

sentence-splitter knows the full stops, question marks and abbreviations of European languages. This
module adds the marks of other scripts (Unicode's Sentence_Terminal), which may have no space after
them, and other conventions of their languages.
"""

from collections.abc import Iterator

import regex
from sentence_splitter import SentenceSplitter, SentenceSplitterException

from nmt_moe.common.languages import find
from nmt_moe.common.scripts import CLOSE, HAN

_LONG_WORD = 200  # the rules may take cubic time on a longer one, such as a row of dots
_ENCLOSED = 300  # characters between two quotes or brackets that are looked at together

# Not U+104A, a comma in Burmese, and the full-width dot only after a letter.
_MARK = r"(?V1:[\p{STerm}--[\u0000-\u007f\u104a\u2024\uff0e]])"
_SHAD = "[།༎༏༐༑༔]"
_OPEN = r"[\p{Ps}\p{Pi}\"]"
_END = regex.compile(
    rf"(?:{_MARK}|፡፡)(?:{_MARK}|[!?.])*"
    rf"|(?<=[{HAN}])(?:．+|[.!?]+(?={CLOSE}*{_OPEN}*[{HAN}]))"
    rf"|{_SHAD}+(?: ?{_SHAD}+)*(?= |$)"
    # Letters without case for sentence-splitter, but not for Unicode.
    rf"|(?<=\p{{Georgian}}{{3}})[.!?]+(?={CLOSE}* +{_OPEN}*\p{{Georgian}})"
)
_CLOSING = regex.compile(r"[\p{Pe}\p{Pf}]")
_PAIRS = dict(zip('「『（(【《〈“«［["', '」』）)】》〉”»］]"', strict=True))
_DEPTH = 9  # of quotes and brackets in each other
# A sentence goes on after a quote: 「はい。」と言った。 “好吗？”他问。
_GOES_ON = regex.compile(
    r"\p{Hiragana}|[\p{Po}--[¿¡]]|(?! )[^\p{Po}\p{Ps}\p{Pi}]{0,8}?[说說问問道喊叫答讲講嚷吼]",
    regex.V1,
)
_MIXED = "‼⁇⁈⁉‽"  # beside Latin letters, where a small one begins no sentence
# A title or an initial, in scripts without capitals.
_ABBREVIATED = regex.compile(
    r"(?:^|[\s\p{Ps}\p{Pi}])(?:[\p{Arabic}\p{Hebrew}]|डॉ|प्रो|पं|ডা|ড|মো|প্রো)\.$"
)
_OWN_MARKS = {"el": ";", "hy": ":"}  # questions in Greek; for the full stop of Armenian


class Sentences:
    """Splits lines into sentences by the rules of a language, which include its abbreviations.

    Args:
        language: of the text, such as ``en`` or ``pt_BR``; one without rules has those of English.
    """

    def __init__(self, language: str) -> None:
        known = find(language)
        codes = known.codes if known else ["en"]
        self._splitter = _splitter(codes[-1])
        own = _OWN_MARKS.get(codes[0])
        self._own = own and regex.compile(rf"({own}{CLOSE}*) +(?={_OPEN}*\p{{Lu}})")

    def __call__(self, line: str) -> list[str]:
        """The sentences of a line, none of an empty line; only spaces are dropped."""
        if not line.isascii():
            line = "\n".join(_cut(line))
        if self._own:
            line = self._own.sub(r"\1\n", line)
        found = [text for part in line.split("\n") for text in self._split(part.strip())]
        return found if line.isascii() else [*_whole(found)]

    def _split(self, line: str) -> list[str]:
        if any(len(word) > _LONG_WORD for word in line.split(" ")):
            return [line]
        return [sentence for sentence in self._splitter.split(line) if sentence]


def _splitter(code: str) -> SentenceSplitter:
    try:
        return SentenceSplitter(code)
    except SentenceSplitterException:
        return SentenceSplitter("en")


def _cut(line: str) -> Iterator[str]:
    """Split the line after each sentence that ends with one of the marks above."""
    marks = [*_END.finditer(line)]
    enclosed = _enclosed(line) if marks else []
    start = 0
    for mark in marks:
        end = mark.end()
        # The quotes and brackets that end with the sentence.
        while end < len(line) and (_CLOSING.match(line, end) or enclosed[end - 1] == line[end]):
            end += 1
        if end < len(line) and not enclosed[end - 1] and not _goes_on(line, mark, end):
            yield line[start:end]
            start = end
    yield line[start:]


def _goes_on(line: str, mark: regex.Match[str], end: int) -> bool:
    """Whether the sentence continues after a mark: in a number, or by what follows."""
    before, after = line[max(0, mark.start() - 1) : mark.start()], line[end]
    if before.isdecimal() and after.isdecimal():
        return True
    if mark[0][0] in _MIXED and line[end : end + 2].strip()[:1].islower():
        return True
    return end > mark.end() and bool(_GOES_ON.match(line, end))


def _enclosed(line: str) -> list[str]:
    """For each character the mark that closes the innermost quote or bracket around it, if any."""
    inside = [""] * len(line)
    opened: list[tuple[int, str]] = []
    for place, char in enumerate(line):
        depth = next((i for i, (_, end) in enumerate(reversed(opened), 1) if end == char), 0)
        if depth:
            first, _ = opened[-depth]
            del opened[-depth:]
            if place - first <= _ENCLOSED:
                inside[first:place] = [char] * (place - first)
        elif char in _PAIRS:
            opened = [*opened[-_DEPTH:], (place, _PAIRS[char])]
    return inside


def _whole(sentences: list[str]) -> Iterator[str]:
    """Join marks that stand alone, and titles, with the sentence they belong to."""
    held: list[str] = []
    for sentence in sentences:
        held.append(sentence)
        if any(map(str.isalnum, sentence)) and not _ABBREVIATED.search(sentence[-9:]):
            yield " ".join(held)
            held = []
    if held:
        yield " ".join(held)
