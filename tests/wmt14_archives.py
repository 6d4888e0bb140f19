"""Miniature archives in WMT'14's layout: every archive and member has its official name."""

import gzip
import html
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path

from nmt_moe.corpus.manifest import find, load
from nmt_moe.corpus.phrasebook.generate import build as phrases

Pair = tuple[bytes, bytes]


def build(
    folder: Path,
    pair: str = "en-de",
    lines: int = 60,
    dirt: Mapping[str, Sequence[Pair]] | None = None,
    seed: int = 1,
) -> Path:
    """Make a folder that serves as a mirror, with ``manifest.json`` for these archives.

    Args:
        folder: where the archives go, in ``wmt10`` and so on.
        pair: en-de or en-fr.
        lines: pairs of each training corpus; validation and test sets have a tenth, but no
            fewer than 6. A soft hyphen comes before each line of the test set.
        dirt: for corpora of the manifest pairs that come before the others, as raw bytes.
        seed: of the sentences, which are the phrasebook's.

    Returns:
        The folder.
    """
    known = load(find(pair))
    few = max(lines // 10, 6)
    sentences = phrases(lines * len(known.train), few * len(known.valid), few, seed)
    texts = {
        split: [(one.text("en"), one.text(known.pair[1])) for one in found]
        for split, found in sentences.items()
    }
    contents: dict[str, dict[str, bytes]] = {}
    for number, corpus in enumerate(known.train.values()):
        pairs = texts["train"][number * lines : (number + 1) * lines]
        rows = [*(dirt or {}).get(corpus.name, ()), *((a.encode(), b.encode()) for a, b in pairs)]
        for side, member in enumerate(corpus.members.values()):
            text = b"".join(row[side] + b"\n" for row in rows)
            contents.setdefault(corpus.archive.path, {})[member] = (
                gzip.compress(text) if member.endswith(".gz") else text
            )
    for number, corpus in enumerate(known.valid.values()):
        _add_sgm(contents, corpus, texts["valid"][number * few : (number + 1) * few])
    for corpus in known.test.values():
        hyphens = [(f"\xad{source}", f"\xad{target}") for source, target in texts["test"]]
        _add_sgm(contents, corpus, hyphens)
    for path, members in contents.items():
        write(folder / path, members)
    manifest = json.loads(find(pair).read_text())
    manifest["mirrors"] = [folder.resolve().as_uri()]
    manifest["archives"] = [
        {"path": path, "sha256": sha256((folder / path).read_bytes()).hexdigest()}
        for path in contents
    ]
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=2))
    return folder


def write(archive: Path, members: Mapping[str, bytes]) -> None:
    """Write an archive, with members that nobody asks for before, between and after."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    packed = "w:gz" if archive.suffix == ".tgz" else "w"
    with tarfile.open(archive, packed) as tar:
        for number, (name, content) in enumerate(members.items()):
            _add(tar, f"../other{number}", b"not asked for\n")
            _add(tar, name, content)
        _add(tar, "other/readme", b"x" * 30_000)


def sgm(lines: Sequence[str], kind: str = "srcset", documents: int = 2) -> bytes:
    """The lines as SGM, spread over documents."""
    size = -(-len(lines) // documents)
    parts = [f'<{kind} setid="newstest" srclang="any">']
    for start in range(0, len(lines), size):
        parts.append(f'<doc sysid="ref" docid="doc-{start // size}" genre="news" origlang="en">')
        parts.append("<p>")
        for number, line in enumerate(lines[start : start + size], 1):
            parts.append(f'<seg id="{number}">{html.escape(line)}</seg>')
        parts += ["</p>", "</doc>"]
    return "\n".join([*parts, f"</{kind}>", ""]).encode()


def _add_sgm(contents: dict, corpus, pairs: Sequence[tuple[str, str]]) -> None:
    for side, (member, kind) in enumerate(
        zip(corpus.members.values(), ("srcset", "refset"), strict=True)
    ):
        text = sgm([pair[side] for pair in pairs], kind)
        contents.setdefault(corpus.archive.path, {})[member] = text


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))
