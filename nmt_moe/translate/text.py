"""Reading lines of any bytes as clean text, and translating them in buffers."""

import sys
from collections.abc import Callable, Iterable, Iterator

from nmt_moe.trained.text import cleaned, joined
from nmt_moe.translate.sentences import Sentences

_BUFFER_CHARACTERS = 1_000_000


def read_clean(lines: Iterable[bytes]) -> Iterator[str]:
    """Decode and clean lines: whitespace becomes single spaces, special characters are normalised.

    Only a line feed ends a line. Bytes that are not UTF-8 become U+FFFD, with a warning on stderr
    at the first such line.
    """
    warned = False
    for number, line in enumerate(lines, start=1):
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError:
            text = line.decode("utf-8", errors="replace")
            if not warned:
                print(f"warning: line {number} is not valid UTF-8: replaced", file=sys.stderr)
            warned = True
        yield cleaned(text)


def buffered(lines: Iterable[str], number: int, characters: int) -> Iterator[list[str]]:
    """Group lines into lists of ``number`` lines, or fewer where they are long."""
    buffer: list[str] = []
    held = 0
    for line in lines:
        buffer.append(line)
        held += len(line)
        if len(buffer) >= number or held >= characters:
            yield buffer
            buffer, held = [], 0
    if buffer:
        yield buffer


def translate_lines(
    lines: Iterable[str],
    translator: Callable[[list[str]], list[str]],
    sentences: Sentences | None,
    buffer_lines: int,
) -> Iterator[list[str]]:
    """Translate lines in buffers; yields translations in the order of the lines.

    Args:
        lines: text without line ends.
        translator: translates sentences.
        sentences: splits a line into sentences; None: each line is a sentence, or empty.
        buffer_lines: lines that are read before they are translated together.
    """
    for buffer in buffered(lines, buffer_lines, _BUFFER_CHARACTERS):
        found = [sentences(line) if sentences else [line] for line in buffer]
        translated = iter(translator([sentence for group in found for sentence in group]))
        yield [joined(next(translated) for _ in group) for group in found]
