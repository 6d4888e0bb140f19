"""Any usual file of parallel text is read as aligned pairs, or one line says why not."""

import bz2
import gzip
import hashlib
import json
import lzma
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nmt_moe.common.errors import UserError
from nmt_moe.corpus.sources import Source, check_columns, find, tmx

PAIRS = [("one dog", "ein Hund"), ("", "zwei"), ('He said "yes".', "Er sagte „ja“.")]
CHINESE = [("我喜欢猫。", "I like cats."), ("你好", "Hello")]
PERSIAN = [("می‌خواهم بروم.", "I want to go."), ("سلام", "Hello")]


def read(found: list[Source]) -> list[tuple[str, str]]:
    return [(pair.source, pair.target) for source in found for pair in source.pairs()]


def write(path: Path, lines: list[str], **how: str) -> Path:
    content = "".join(f"{line}\n" for line in lines).encode(how.get("encoding", "utf-8"))
    pack = {".gz": gzip.compress, ".xz": lzma.compress, ".bz2": bz2.compress}.get(
        path.suffix, bytes
    )
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(pack(content))
    return path


def two(folder: Path, pairs: list[tuple[str, str]], *names: str) -> list[Path]:
    return [write(folder / name, [pair[side] for pair in pairs]) for side, name in enumerate(names)]


def error(paths: list[Path], **how: object) -> str:
    """The one line, without folders."""
    with pytest.raises(UserError) as raised:
        read(find(paths, "en", "de", **how))  # type: ignore[arg-type]
    assert "\n" not in str(raised.value)
    return str(raised.value).replace(f"{paths[0].parent}/", "")


@pytest.mark.parametrize("pack", ["", ".gz", ".xz", ".bz2"])
@pytest.mark.parametrize(
    "names", [("a.en", "a.de"), ("a.eng", "a.de_AT"), ("en.txt", "de.txt"), ("left", "right")]
)
def test_two_aligned_files(tmp_path: Path, names: tuple[str, str], pack: str) -> None:
    files = two(tmp_path, PAIRS, *(name + pack for name in names))
    [source] = find(files, "en", "de")
    assert read([source]) == PAIRS
    assert [pair.line for pair in source.pairs()] == [1, 2, 3]
    assert source.split == "train" and source.files == tuple(files)
    if "left" not in names:
        assert read(find(files[::-1], "en", "de")) == PAIRS  # told apart by their endings


@pytest.mark.parametrize(("pairs", "language"), [(CHINESE, "zh"), (PERSIAN, "fa")])
def test_languages_in_other_scripts(tmp_path: Path, pairs: list[tuple[str, str]], language) -> None:
    files = two(tmp_path, pairs, f"a.{language}", "a.en")
    assert read(find(files, language, "en")) == pairs
    table = write(tmp_path / "a.tsv", ["\t".join(pair) for pair in pairs])
    assert read(find([table], language, "en")) == pairs


def test_a_pair_without_english_and_codes_that_nobody_knows(tmp_path: Path) -> None:
    assert read(find(two(tmp_path, PAIRS, "a.pl", "a.uk"), "pl", "uk")) == PAIRS
    assert read(find(two(tmp_path, PAIRS, "a.x1", "a.x2"), "x1", "x2")) == PAIRS
    files = two(tmp_path, PAIRS, "a.en_US", "a.en_GB")
    assert read(find(files[::-1], "en_US", "en_GB")) == PAIRS


def test_several_sources_keep_their_order_and_have_names(tmp_path: Path) -> None:
    first = two(tmp_path, PAIRS[:1], "b.en", "b.de")
    table = write(tmp_path / "a.tsv", ["three\tdrei"])
    second = two(tmp_path, PAIRS[2:], "c.v9.en.gz", "c.v9.de.gz")
    found = find([first[1], table, *second, first[0]], "en", "de")
    assert [source.name for source in found] == ["b", "a.tsv", "c.v9"]
    assert read(found) == [PAIRS[0], ("three", "drei"), PAIRS[2]]
    other = two(tmp_path / "other", PAIRS, "b.en", "b.de")
    assert len({source.name for source in find([*first, *other], "en", "de")}) == 2


def test_a_folder_with_splits(tmp_path: Path) -> None:
    two(tmp_path, PAIRS, "train.en", "train.de")
    two(tmp_path, PAIRS, "train.en.gz", "train.de.gz")  # the same once more
    two(tmp_path, PAIRS[:1], "val.en.gz", "val.de.gz")
    two(tmp_path, PAIRS[2:], "test_2016_flickr.en", "test_2016_flickr.de")
    two(tmp_path, PAIRS, "train.fr", "README.md")
    write(tmp_path / "config.json", ["[]"])
    found = find([tmp_path], "en", "de")
    assert {source.split: read([source]) for source in found} == {
        "train": PAIRS,
        "valid": PAIRS[:1],
        "test": PAIRS[2:],
    }
    assert {one.split for one in find([tmp_path], "en", "de", split="test")} == {"test"}
    (tmp_path / "val.de.gz").unlink()
    assert "val.en.gz has no partner: there should be val.de beside it" in error([tmp_path])
    with pytest.raises(UserError, match=r"holds no text in cs and pl: name its files train\.cs"):
        find([tmp_path], "cs", "pl")


@pytest.mark.parametrize(
    ("lines", "columns"),
    [
        (["one dog\tein Hund", "", "two\tzwei"], None),
        (["\ufeffone dog\tein Hund\r", "two\tzwei\r"], None),
        (["id\tGerman\tEnglish", "1\tein Hund\tone dog", "2\tzwei\ttwo"], None),
        (["Nr.\tDeutsch\tEnglisch", "1\tein Hund\tone dog", "2\tzwei\ttwo"], None),
        (["de-DE\ten-US", "ein Hund\tone dog", "zwei\ttwo"], None),
        (["target\tsource\tscore", "ein Hund\tone dog\t1", "zwei\ttwo\t.5"], None),
        (["one dog\tein Hund\tCC-BY 1", "two\tzwei\tCC-BY 2"], None),
        (["7\teng\tone dog\t8\tdeu\tein Hund"] + ["9\teng\ttwo\t6\tdeu\tzwei"] * 2, None),
        (["ein Hund\tx\tone dog", "zwei\ty\ttwo"], (3, 1)),
        (["de\tx\ten", "ein Hund\tx\tone dog", "zwei\ty\ttwo"], (3, 1)),
    ],
)
def test_tables(tmp_path: Path, lines: list[str], columns: tuple[int, int] | None) -> None:
    for name in ("a.tsv", "a.txt", "a.tsv.xz"):  # of .txt, the tabs say it
        path = write(tmp_path / name, lines)
        found = dict.fromkeys(read(find([path], "en", "de", columns=columns)))
        assert [*found] == [("one dog", "ein Hund"), ("two", "zwei")]


def test_columns_that_are_not_there(tmp_path: Path) -> None:
    sources = find([write(tmp_path / "a.tsv", ["en\tde", "one dog\tein Hund"])], "en", "de")
    for columns, message in {(1, 7): "no table has so many .* has 2", (1, 1): "one col"}.items():
        with pytest.raises(UserError, match=message):
            check_columns(columns, sources)
    check_columns((2, 1), sources)


def test_quotes_of_spreadsheets_are_not_those_of_sentences(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tsv", ['"Go!"\tGeh "weg"', '"She said ""hi""."\t"a" und "b"'])
    assert read(find([path], "en", "de")) == [
        ('"Go!"', 'Geh "weg"'),
        ('She said "hi".', '"a" und "b"'),
    ]
    write(path, ['"source"\t"target"', '"Go!"\t"Geh!"', '"a ""b"""\t"c"'])
    assert read(find([path], "en", "de")) == [("Go!", "Geh!"), ('a "b"', "c")]
    path = write(tmp_path / "a.csv", ["en;de", '"a; b";c', '"two', 'lines";"zwei ""x"""'])
    [source] = find([path], "en", "de")
    assert [*source.pairs()] == [("a; b", "c", 2), ("two lines", 'zwei "x"', 3)]


TMX = """<?xml version="1.0"?>
<!DOCTYPE tmx SYSTEM "tmx14.dtd">
<tmx version="1.4"><header srclang="en"/><body>
<tu><tuv xml:lang="en-GB"><seg>colour</seg></tuv><tuv xml:lang="en-US"><seg>color</seg></tuv>
<tuv xml:lang="DE"><seg>Farbe &amp; <bpt i="1">&lt;b></bpt>mehr<ept i="1"/> <hi>Licht</hi>
</seg></tuv></tu>
<tu><tuv lang="fr"><seg>un</seg></tuv><tuv lang="de-AT"><seg>eins</seg></tuv></tu>
<tu><tuv lang="en"><seg>two</seg></tuv><tuv lang="de-AT"><seg>zwei</seg></tuv></tu>
</body></tmx>"""


def test_tmx_with_several_languages_and_regions(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tmx.gz", [TMX])
    german = "Farbe & mehr Licht"
    assert read(find([path], "en", "de")) == [("colour", german), ("two", "zwei")]
    assert read(find([path], "en_us", "deu")) == [("color", german), ("two", "zwei")]
    [source] = find([path], "de", "fr")
    assert [*source.pairs()] == [("eins", "un", 7)]
    with pytest.raises(UserError, match="no unit has both en and pl; there are en-GB, en-US, DE, "):
        read(find([path], "en", "pl"))
    path.with_suffix("").write_text(TMX, encoding="utf-16")
    assert len(read(find([path.with_suffix("")], "en", "de"))) == 2
    named = TMX.replace("<tmx ", '<tmx xmlns="http://www.lisa.org/tmx14" ')
    assert len(read(find([write(path, [named])], "en", "de"))) == 2


def laughs(definition: str, use: str) -> str:
    more = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 12))
    return TMX.replace('SYSTEM "tmx14.dtd"', f"[{definition}{more}]").replace("Licht", use)


@pytest.mark.parametrize(
    "text",
    [
        laughs('<!ENTITY e0 "ha">', "&e11;"),
        laughs('<!ENTITY e0 "ha">', "x").replace('i="1"', 'i="&e11;"'),
        laughs('<!ENTITY e0 "ha">', "x").replace('version="1.4"', 'version="&e11;"'),
        laughs('<!ENTITY e0 SYSTEM "secret.txt">', "&e0;"),
        laughs('<!ENTITY % e SYSTEM "secret.txt"> %e;<!ENTITY e0 "">', "x"),
    ],
)
def test_hostile_tmx_is_refused(tmp_path: Path, monkeypatch, text: str) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "secret.txt", ["secret"])
    said = error([write(tmp_path / "a.tmx", [text])])
    assert said.startswith("a.tmx") and "secret" not in said
    assert "defines entities" in said or "not valid XML" in said


def test_json_lines(tmp_path: Path) -> None:
    records = [
        {"en": "one dog", "de": "ein Hund", "id": 7},
        {"translation": {"en-US": "two", "de": "zwei", "fr": "deux"}},
        {"source": "three", "target": "drei"},
        {"en": "a \ud800\n b", "de": "c"},
    ]
    path = write(tmp_path / "a.jsonl", [json.dumps(record) for record in records])
    expected = [("one dog", "ein Hund"), ("two", "zwei"), ("three", "drei"), ("a ? b", "c")]
    assert read(find([path], "en", "de")) == expected


def packed(text: str) -> bytes:
    """The same at any time: pytest names tests after it, alike in all of its workers."""
    return gzip.compress(text.encode(), mtime=0)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.tsv", b"a\tb\nonly\n", "a.tsv, line 2: there is no column 2, only 1"),
        ("a.tsv", b"a b\n", "a.tsv, line 1: 1 column, 1 of text"),
        ("a.tsv", b"a\tb\nGr\xfc\xdfe\tc\n", "a.tsv, line 2: not valid UTF-8 (byte 3)"),
        ("a.tsv", "a\tb\n".encode("utf-16"), "a.tsv, line 1: not valid UTF-8"),
        ("a.tsv", "a\tb\n".encode("utf-16-le"), "a.tsv, line 1: no text, or UTF-16 without"),
        ("a.tsv.gz", packed("a\tb\n" * 9999)[:-9], "a.tsv.gz: cannot be read after line"),
        ("a.tsv.xz", lzma.compress(b"a\tb\n" * 9999)[:-9], "a.tsv.xz: cannot be read after line"),
        ("a.tsv.bz2", b"no archive", "a.tsv.bz2: cannot be read: Invalid data stream"),
        ("a.csv", b'a,"b\n', "a.csv, line 1: no row of CSV: unexpected end of data"),
        ("a.jsonl", b'{"en": "a", "de": "b"}\n{"en": \n', "a.jsonl, line 2: not JSON"),
        (
            "a.jsonl",
            b'{"en": "a", "de": 5}\n',
            "line 1: no text for en and de; its keys are: en, de",
        ),
        ("a.jsonl", b'"a"\n', "a.jsonl, line 1: not an object"),
        ("a.jsonl", b"[" * 100_000, "a.jsonl, line 1: not JSON"),
        ("a.json", b'[{"en": "a", "de": "b"}]\n', "a.json, line 1: a list, not an object"),
        ("a.tmx", b"<tmx><body><tu>", "a.tmx, line 1: not valid XML: Premature end of data"),
        ("a.tmx", b"<html></html>", "a.tmx, line 1: no TMX, but <html>"),
        ("a.tmx.gz", packed(TMX)[:-99], "a.tmx.gz: cannot be read"),
        ("a.zip", b"PK", "a.zip: unpack it"),
        ("a.en", b"a\n", "a.en has no partner: there should be a.de beside it"),
        ("text", b"a\n", "text: lines of text without tabs: name its translation"),
    ],
)
def test_what_cannot_be_read_is_one_line(tmp_path: Path, name: str, content: bytes, said) -> None:
    (tmp_path / name).write_bytes(content)
    assert said in error([tmp_path / name])


def test_files_that_do_not_belong_together(tmp_path: Path) -> None:
    a, b = two(tmp_path, PAIRS, "a.en", "b.de")
    assert read(find([b, a], "en", "de")) == PAIRS  # they can belong to nothing else
    c, d = two(tmp_path, PAIRS[:2], "c.en", "d")
    assert "a.en has 3 lines but" in error([a, d]) and "d has 2:" in error([a, d])
    assert "a.en has no partner" in error([a, c])
    assert "a.en has no partner" in error([a, b, c, d])
    assert error([d, d]) == "d is given twice"
    assert error([tmp_path / "none"]) == "none: no such file"
    with pytest.raises(UserError, match="the same language 'en'"):
        find([a, b], "en", "en")
    with pytest.raises(UserError, match="no text is given"):
        find([], "en", "de")


@pytest.mark.parametrize("name", ["a.tsv", "a.csv", "a.tmx", "a.jsonl", "a"])
def test_an_empty_file_has_no_pair(tmp_path: Path, name: str) -> None:
    files = [write(tmp_path / name, [])]
    assert read(find(files if "." in name else two(tmp_path, [], "a.en", "a.de"), "en", "de")) == []


@example([("", "\ufeff")])
@given(st.lists(st.tuples(*[st.text(st.characters(codec="utf-8"), max_size=9)] * 2), max_size=9))
def test_every_form_gives_the_same_pairs(tmp_path_factory, pairs: list[tuple[str, str]]) -> None:
    written = [("begin", "Anfang")]
    written += [(" ".join(s.split()), " ".join(t.split())) for s, t in pairs if "\0" not in s + t]
    # A byte-order mark at the beginning is taken off.
    bare = [[" ".join(side.removeprefix("\ufeff").split()) for side in pair] for pair in written]
    expected = [(s, t) for s, t in bare]
    folder = tmp_path_factory.mktemp("forms")
    aligned = two(folder, written, "a.en", "a.de")
    records = [json.dumps({"de": t, "en": s}) for s, t in written]
    found = find([*aligned, write(folder / "a.jsonl", records)], "en", "de")
    assert read(found) == expected * 2


@pytest.mark.parametrize("form", ["tsv", "jsonl", "gz"])
def test_memory_does_not_grow(tmp_path: Path, form: str) -> None:
    peaks = []
    for number in (1500, 6000):
        lines = [f"sentence {n}" for n in range(number)]
        if form == "jsonl":
            lines = [json.dumps({"en": line, "de": line}) for line in lines]
        elif form == "tsv":
            lines = [f"{line}\t{line}" for line in lines]
        files = [write(tmp_path / f"a.{form}", lines)]
        if form == "gz":
            files = two(tmp_path, [(line, line) for line in lines], "a.en.gz", "a.de.gz")
        [source] = find(files, "en", "de")
        tracemalloc.start()
        assert sum(1 for _ in source.pairs()) == number
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 200_000


def test_of_a_tmx_one_unit_is_in_memory(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.tmx", ["<tmx><body>", *[f"<tu x='{'x' * 999}'/>"] * 2000, "</body></tmx>"]
    )
    # lxml reads in blocks, and what it has read of the next units is there already.
    assert max(len(unit.getparent()) for unit in tmx.units(path)) < 1000


def test_a_checksum_is_that_of_the_files(tmp_path: Path) -> None:
    files = two(tmp_path, PAIRS, "a.en", "a.de")
    [source] = find(files, "en", "de")
    content = b"".join(path.read_bytes() for path in files)
    assert source.checksum() == hashlib.sha256(content).hexdigest()
