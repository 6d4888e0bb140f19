"""Subtitles of SRT and WebVTT: numbers, times and places stay.

A sentence may run over several subtitles. Their texts are one unit, and what stands between them is
a break in it, which divides the translation where the text was divided. Tags around a whole
subtitle stay around it; no sentence with a tag in it runs on.
"""

import re
from collections.abc import Iterable, Iterator

import regex

from nmt_moe.common.scripts import CLOSE
from nmt_moe.translate.documents.parts import Document, Kind, Part, Unit, atom, text

_TIME = r"(?:\d+:)?\d{1,2}:\d{2}[,.]\d{1,3}"
_TIMES = re.compile(rf"\s*({_TIME})\s*-->\s*({_TIME})")
_TAG = re.compile(r"<(/?)([A-Za-z]+)[^<>\n]*>|\{\\[^}\n]*\}|<[\d:.,]+>")
_LEADING = re.compile(r"[ \t]*(?:\{\\[^}\n]*\}[ \t]*)+")  # where the subtitle stands
_WRAPPED = re.compile(r"([ \t]*<([A-Za-z]+)[^<>\n]*>).*(</\2>[ \t]*)", re.DOTALL)
_SPEAKER = re.compile(r"\s*[-–—]\s?(?=\S)")
_ENDED = regex.compile(rf"[\p{{STerm}}…♪♫:\])](?:{CLOSE})*$")
_BETWEEN = regex.compile(r"(?<=[\p{STerm}…])\s")
_LONGEST = 3  # subtitles of one sentence
_PAUSE = 2.0  # seconds between two subtitles of one sentence at the most


class _Subtitle:
    """A subtitle: the lines of its text, its times, and what stands around its text."""

    def __init__(self, before: str, start: float, end: float, lines: list[str]) -> None:
        last = lines[-1].rstrip("\r\n")
        self.start, self.end, self.lines = start, end, [*lines[:-1], last]
        self.before, self.after = before, lines[-1][len(last) :]
        leading = _LEADING.match(lines[0])
        if leading:
            self._move(leading.end(), 0)
        # The same tag twice may be two that are each in the text: <i>one</i> and <i>two</i>.
        while found := _WRAPPED.fullmatch("".join(self.lines)):
            if found[0].count(f"</{found[2]}>") > 1:
                break
            self._move(len(found[1]), len(found[3]))

    def _move(self, first: int, last: int) -> None:
        """So many characters of the beginning and of the end stand around the text."""
        self.before += self.lines[0][:first]
        self.lines[0] = self.lines[0][first:]
        end = len(self.lines[-1]) - last
        self.after = self.lines[-1][end:] + self.after
        self.lines[-1] = self.lines[-1][:end]

    @property
    def plain(self) -> str:
        return _TAG.sub("", "".join(self.lines)).strip()

    @property
    def sentences(self) -> list[str]:
        return _BETWEEN.split("".join(self.lines))

    def goes_on(self, other: "_Subtitle") -> bool:
        """Whether a sentence of this subtitle may end in the next one."""
        return (
            0 <= other.start - self.end <= _PAUSE
            and not _ENDED.search(self.plain)
            and not any(map(_TAG.search, (self.sentences[-1], other.sentences[0])))
            and not any(_SPEAKER.match(line) for line in [*self.lines, *other.lines[:1]])
        )


def subtitles(lines: Iterable[str]) -> Document:
    """The texts of subtitles are units."""
    held: list[_Subtitle] = []
    for found in _read(lines):
        if held and (
            isinstance(found, str) or len(held) == _LONGEST or not held[-1].goes_on(found)
        ):
            yield from _together(held)
            held = []
        if isinstance(found, str):
            yield found
        else:
            held.append(found)
    if held:
        yield from _together(held)


def _read(lines: Iterable[str]) -> Iterator[_Subtitle | str]:
    """The subtitles, and what stands after the last."""
    before: list[str] = []
    times: tuple[float, float] | None = None
    said: list[str] = []
    for line in lines:
        match = None if times else _TIMES.match(line)
        if match:
            times = _seconds(match[1]), _seconds(match[2])
        if times and line.strip() and not match:
            said.append(line)
            continue
        if said and times:
            yield _Subtitle("".join(before), *times, said)
            before, said = [], []
        if not match and not line.strip():
            times = None
        before.append(line)
    if said and times:
        yield _Subtitle("".join(before), *times, said)
    elif before:
        yield "".join(before)


def _seconds(time: str) -> float:
    *hours, minutes, seconds = time.replace(",", ".").split(":")
    return sum(map(int, hours)) * 3600 + int(minutes) * 60 + float(seconds)


def _together(held: list[_Subtitle]) -> Document:
    parts: list[Part] = []
    before = ""
    for subtitle in held:
        before += subtitle.before
        for line in subtitle.lines:
            content = line.rstrip("\r\n")
            speaker = _SPEAKER.match(content)
            if not parts or speaker:  # another one speaks
                if parts:
                    yield Unit(parts)
                yield before + (speaker[0] if speaker else "")
                parts, content = [], content[speaker.end() :] if speaker else content
            else:
                parts.append(Part(Kind.BREAK, before, " "))
            parts += _tagged(content)
            before = line[len(line.rstrip("\r\n")) :]
        before += subtitle.after
    yield Unit(parts)
    yield before


def _tagged(line: str) -> Iterator[Part]:
    start = 0
    for match in _TAG.finditer(line):
        yield text(line[start : match.start()])
        if match[2] is None:
            yield atom(match[0])
        else:
            yield Part(Kind.CLOSE if match[1] else Kind.OPEN, match[0], name=match[2].lower())
        start = match.end()
    yield text(line[start:])
