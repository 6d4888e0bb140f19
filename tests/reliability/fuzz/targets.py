"""What reads the bytes of others: each takes any bytes, and says what must hold for them.

Only an error of ours, :class:`~nmt_moe.common.errors.UserError`, may be the answer.
"""

import codecs
import contextlib
import functools
import html
import io
import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from sentencepiece import SentencePieceProcessor

from nmt_moe.common.errors import UserError
from nmt_moe.common.lines import read_lines
from nmt_moe.corpus import archives, manifest, sgm
from nmt_moe.corpus.clean.pipeline import Options, clean_chunk
from nmt_moe.corpus.clean.reading import Chunk, read_chunks
from nmt_moe.corpus.clean.rules import normalise, plain
from nmt_moe.corpus.wordpieces import model as wordpieces
from tests.reliability import checks, texts


@functools.cache
def folder() -> Path:
    """Where the files of this process are."""
    kept = tempfile.TemporaryDirectory(prefix="fuzz-")
    folder.kept = kept  # type: ignore[attr-defined]  # removed with the process
    return Path(kept.name)


@functools.cache
def model() -> SentencePieceProcessor:
    """Wordpieces of some sentences."""
    (folder() / "learn").write_text("".join(f"{text}\n" for text in texts.SENTENCES[:3]))
    wordpieces.train([folder() / "learn"], folder() / "model", 120)
    return wordpieces.load(folder() / "model.model")


@contextlib.contextmanager
def refused(name: str) -> Iterator[None]:
    """What can be refused must be so by name, in one line."""
    try:
        yield
    except UserError as error:
        assert name in str(error), error
        assert len(str(error).splitlines()) == 1, error


def cleaning(data: bytes) -> None:
    """The second half of the lines are the translations of the first."""
    lines = data.split(b"\n")
    half = len(lines) // 2
    chunk = Chunk(lines[:half], lines[half : 2 * half], "x", 1)
    done = clean_chunk(chunk, Options())
    for side in (done.source, done.target):
        left = side.decode().split("\n")[:-1]
        assert len(left) == done.kept <= half and left == side.decode().splitlines()
        assert all(line and checks.single_spaced(line) for line in left)
    removals = set(done.tally.counts) - {"entities", "special"}
    assert sum(done.tally.counts[rule] for rule in removals) == half - done.kept


def segments(data: bytes) -> None:
    """A file of segments, paired with itself, and with another."""
    checks.check_sgm(data)


def entities(data: bytes) -> None:
    """What is written with entities is read as what it was."""
    text = data.decode("utf-8", errors="replace")
    for found in (normalise(text)[0], *_segment(text)):
        assert len(found.splitlines()) <= 1
        found.encode()
    line = " ".join(text.split())
    escaped = html.escape(line)
    assert _segment(escaped) == [line]
    assert normalise(escaped)[0] == " ".join(plain(line).split())
    numbers = "".join(
        f"&#{ord(character)};" if ord(character) > 255 and character.isprintable() else character
        for character in escaped
    )
    assert _segment(numbers) == [line]
    assert normalise(numbers)[0] == normalise(escaped)[0]


def _segment(text: str) -> list[str]:
    """The text of the only segment, none if the text holds tags."""
    try:
        found = sgm.segments(f"<seg>{text}</seg>".encode(), "x.sgm")
    except UserError:
        return []
    return [segment.text for segment in found]


def pieces(data: bytes) -> None:
    """Lines to be cut into wordpieces."""
    checks.check_wordpieces(folder(), model(), data.split(b"\n"))


def sentences(data: bytes) -> None:
    """Lines to be translated."""
    with contextlib.redirect_stderr(io.StringIO()):  # a warning each time
        checks.check_text(model(), [line[:2000] for line in data.split(b"\n")])


def files(data: bytes) -> None:
    """A file of lines, plain and as if it were packed: every reader finds the same lines."""
    for name in ("read.txt", "read.gz"):
        path = folder() / name
        path.write_bytes(data)
        with refused(name):
            raw = [line for chunk in read_chunks(path, path, "x") for line in chunk.source]
            if path.suffix != ".gz":
                assert raw == [
                    line[:-1] if line[-1:] == b"\n" else line for line in io.BytesIO(data)
                ]
            raw = [line.removeprefix(codecs.BOM_UTF8) for line in raw]
            assert [*read_lines(path)] == [" ".join(line.decode().split()) for line in raw]


def tars(data: bytes) -> None:
    """An archive, plain or packed; memory holds no more than was there."""
    path = folder() / "x.tar"
    path.write_bytes(data)
    trouble = archives.trouble(path)
    for name in ("a", "a.gz", "b"):
        found = io.BytesIO()
        try:
            archives.extract(path, {name: found})
        except UserError as error:
            assert str(error).startswith(str(path))
            assert trouble or str(error) == f"{path} has no {name}"


def manifests(data: bytes) -> None:
    """A manifest: none of its names is a path."""
    path = folder() / "manifest.json"
    path.write_bytes(data)
    with refused("manifest.json"):
        known = manifest.load(path)
        corpora = [*known.train.values(), *known.valid.values(), *known.test.values()]
        names = [*known.pair, *(corpus.name for corpus in corpora)]
        names += [archive.name for archive in manifest.archives_of(corpora)]
        assert all(Path(name).name == name for name in names)
        json.dumps(names)


TARGETS: dict[str, Callable[[bytes], None]] = {
    function.__name__: function
    for function in (cleaning, segments, entities, pieces, sentences, files, tars, manifests)
}
