"""Inputs that once broke something, that look as if they could, or from which a fuzzer can start.

Each is tried on every target, whatever it was made for.
"""

import gzip
import io
import tarfile

from nmt_moe.corpus.manifest import find
from tests.reliability import texts


def _archive(**members: bytes) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return made.getvalue()[:3072]  # the padding says nothing


_DOCUMENT = b'<doc docid="a"><seg id="1">R&amp;D &#8211; &#x2028;</seg>\n<seg id=2>b\nc</seg></doc>'

INPUTS = {
    "nothing": b"",
    "line ends": b"\n\n\r\n\r\n",
    "sentences": "\n".join(texts.SENTENCES).encode(),
    "a document": _DOCUMENT,
    "a document cut off": _DOCUMENT[:-20],
    # Took quadratic time, before only linear patterns looked for segments.
    "segments without end": b"<seg>" * 20_000,
    "segments never closed": b"<seg " * 20_000,
    "documents never closed": b"<doc " * 20_000,
    "attributes without value": b"<seg " + b"id=" * 20_000 + b">x</seg>",
    "spaces for a value": b"<doc docid" + b" " * 20_000 + b"><seg>x</seg>",
    "ends without segment": b"</seg " * 20_000,
    # html.unescape raised OverflowError, and ValueError beyond 4,300 digits.
    "a number of a character that goes on": b"<seg>&#" + b"9" * 5_000 + b"</seg>",
    "a huge number of a character": b"<seg>&#" + b"9" * 5_000 + b";</seg>",
    "a huge hexadecimal number": b"<seg>&#x" + b"f" * 5_000 + b";</seg>",
    "a number beyond Unicode": b"<seg>&#1114112; &#x110000; &#9999999;</seg>",
    "a name that goes on": b"<seg>&" + b"a" * 20_000 + b";</seg>",
    "ampersands": b"<seg>" + b"&" * 20_000 + b"</seg>",
    # html.unescape makes U+FFFD of surrogates, which UTF-8 cannot hold.
    "numbers of surrogates": b"<seg>&#xD800;&#xDFFF;&#55296;</seg>",
    "numbers of line ends": b"<seg>a&#10;b&#13;c&#x85;d&NewLine;e&#x2029;f</seg>",
    "entities of entities": b"<seg>&amp;amp;lt;&#38;gt;</seg>",
    "surrogates in UTF-8": b"a \xed\xa0\x80 \xed\xbf\xbf b",
    "NULs": b"\0" * 600,
    "a NUL in a line": b"a\0b\nc\0\n",
    "every byte": bytes(range(256)),
    "cut in a character": "Gründe".encode()[:3],
    "byte-order marks": b"\xef\xbb\xbf\xef\xbb\xbfa\n\xff\xfea\0",
    "spaces of all kinds": "".join(f"a{space}" for space in texts.SPACES if space != "\n").encode(),
    "invisible": "\n".join(texts.INVISIBLE).encode(),
    "marks on marks": ("e" + "\u0301\u0489" * 3_000).encode(),
    # The rules for sentences took cubic time.
    "dots": b"." * 3_000,
    "a long word": b"a" * 20_000,
    "pieces": " ".join(texts.PIECES).encode(),
    "packed": gzip.compress("\n".join(texts.SENTENCES).encode(), mtime=0),
    "packed and cut off": gzip.compress(b"a\n" * 99, mtime=0)[:-9],
    "an archive": _archive(a=b"text\n", b=b"<seg>x</seg>"),
    "an archive with .gz": _archive(**{"a.gz": gzip.compress(b"text\n", mtime=0)}),
    "a manifest": find("en-de").read_bytes(),
    "a manifest that names a path": find("en-de").read_bytes().replace(b"europarl-v7", b"../x"),
    "a manifest of other types": b'{"archives": [5], "pair": "en", "train": {"a": null}}',
    "JSON without end": b"[" * 20_000,
    "a huge number in JSON": b'{"archives": [{"path": "a", "bytes": ' + b"9" * 5_000 + b"}]}",
}
