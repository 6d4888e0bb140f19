"""What must hold for any lines: none is an error of ours, and lines stay lines."""

import gzip
import itertools
import re
from pathlib import Path

import pytest
from fairseq.tokenizer import tokenize_line
from sentencepiece import SentencePieceProcessor

from nmt_moe.common.errors import UserError
from nmt_moe.corpus import sgm
from nmt_moe.corpus.clean import __main__ as clean
from nmt_moe.corpus.wordpieces import pieces
from nmt_moe.trained.text import cut
from nmt_moe.translate.sentences import Sentences
from nmt_moe.translate.text import read_clean


def write(path: Path, lines: list[bytes]) -> None:
    content = b"".join(line + b"\n" for line in lines)
    path.write_bytes(gzip.compress(content, 0) if path.suffix == ".gz" else content)


def read(path: Path) -> list[str]:
    """The lines of an output, which must be lines for every program."""
    text = path.read_bytes().decode("utf-8")
    found = text.split("\n")
    assert found.pop() == "" and text.splitlines() == found
    return found


def single_spaced(line: str) -> bool:
    return line == " ".join(line.split())


def check_cleaning(folder: Path, sources: list[bytes], targets: list[bytes], *options: str) -> int:
    """Clean two files; returns the pairs that are left."""
    write(folder / "in.en", sources)
    write(folder / "in.de.gz", targets)
    for name in ("out.en", "out.de", "report"):
        (folder / name).unlink(missing_ok=True)
    command = [str(folder / "in"), "--langs", "en", "de", "--out", str(folder / "out")]
    report = folder / "report"
    code = clean.main([*command, "--workers", "1", "--report", str(report), *options])
    if code:
        assert not (folder / "out.en").exists() and not (folder / "out.de").exists()
        return 0
    left, right = read(folder / "out.en"), read(folder / "out.de")
    assert 0 < len(left) == len(right) <= len(sources)
    assert all(line and single_spaced(line) for line in [*left, *right])
    counts = dict(re.findall(r'"(read|kept)": (\d+)', report.read_text(encoding="utf-8")))
    assert counts == {"read": str(len(sources)), "kept": str(len(left))}
    return len(left)


def check_sgm(content: bytes, other: bytes = b"<seg>x</seg>") -> None:
    """Every segment is a line, or the file is refused by name."""
    try:
        found = sgm.segments(content, "x.sgm")
    except UserError as error:
        assert "x.sgm" in str(error)
        found = []
    else:
        begun = re.findall(r"<seg\b", content.decode("utf-8"), re.IGNORECASE)
        assert len(found) == len(begun) > 0
    assert all(len(segment.text.encode("utf-8").decode().splitlines()) <= 1 for segment in found)
    for target in (content, other):
        try:
            pairs = sgm.pairs(("x.sgm", content), ("y.sgm", target))
        except UserError as error:
            assert re.search(r"[xy]\.sgm", str(error))
        else:
            assert len(pairs) == len(found)


def check_wordpieces(folder: Path, model: SentencePieceProcessor, lines: list[bytes]) -> None:
    """fairseq finds in each line the pieces that were written; other bytes are named."""
    write(folder / "a.en", lines)
    broken = next((number for number, line in enumerate(lines, 1) if not utf8(line)), None)
    for clean_source in (False, True):
        arguments = (model, [folder / "a.en"], [folder / "a.p"], pieces.Limits())
        if broken:
            with pytest.raises(UserError, match=rf"a\.en, line {broken}: not valid UTF-8"):
                pieces.encode(*arguments, keep_all=True, clean_source=clean_source)
            write(folder / "a.en", [line.decode(errors="replace").encode() for line in lines])
        counts = pieces.encode(*arguments, keep_all=True, clean_source=clean_source)
        found = read(folder / "a.p")
        assert len(found) == counts.read == len(lines)
        for line in found:
            assert tokenize_line(line) == (line.split(" ") if line else [])
        broken = None


def utf8(line: bytes) -> bool:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


SPLITTERS = [Sentences(language) for language in ("en", "de", "zh")]


def check_text(model: SentencePieceProcessor, lines: list[bytes]) -> None:
    """Each line is one text; its sentences and their parts are all of it."""
    found = list(read_clean(line + b"\n" for line in lines))
    assert len(found) == len(lines)
    for number, line in enumerate(found):
        assert single_spaced(line) and len(line.splitlines()) <= 1
        for sentences in (SPLITTERS[number % 3](line), [line]):
            assert "".join("".join(sentences).split()) == line.replace(" ", "")
            for sentence in sentences:
                cut_up = model.encode(sentence, out_type=str)
                parts = cut(cut_up, 7)
                assert [*itertools.chain(*parts)] == cut_up and max(map(len, parts)) <= 7
