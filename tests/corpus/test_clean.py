"""The cleaning command: pairs stay pairs, counts are exact, and nothing is left after an error."""

import fcntl
import gzip
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nmt_moe.common.errors import UserError
from nmt_moe.corpus.clean import reading
from nmt_moe.corpus.clean.__main__ import main
from nmt_moe.corpus.clean.pipeline import Options, clean
from nmt_moe.corpus.clean.rules import Limits, judge
from tests.commands import run

COMMAND = ["-m", "nmt_moe.corpus.clean", "--langs", "en", "de"]


def write(prefix: Path, pairs: list[tuple[bytes, bytes]], packed: bool = False) -> Path:
    prefix.parent.mkdir(parents=True, exist_ok=True)
    for side, language in enumerate(("en", "de")):
        content = b"".join(pair[side] + b"\n" for pair in pairs)
        path = prefix.with_name(f"{prefix.name}.{language}")
        if packed:
            path.with_name(path.name + ".gz").write_bytes(gzip.compress(content))
        else:
            path.write_bytes(content)
    return prefix


def read(prefix: Path) -> list[tuple[str, str]]:
    sides = [Path(f"{prefix}.{language}").read_bytes().decode() for language in ("en", "de")]
    assert all(not side or side.endswith("\n") for side in sides)
    return list(zip(*(side.split("\n")[:-1] for side in sides), strict=True))


def sentences(number: int) -> list[tuple[bytes, bytes]]:
    """Different pairs that no rule touches."""
    return [
        (f"The {n} dogs run, {n}.".encode(), f"Die {n} Hunde läufen, {n}.".encode())
        for n in range(number)
    ]


DIRT = {
    "encoding": [(b"Gr\xfc\xdfe", b"greetings"), (b"cut \xe2\x82", b"off"), (b"a", b"\xff")],
    "empty": [(b"", b"nothing"), (b"something", b" \xc2\xa0"), (b"\x00", b"x"), (b"", b"")],
    "long": [
        (b"word " * 10_000, b"ein langer Satz"),
        (b"x", b"a" * 2001),
        (b"z" * (reading.MAX_LINE + 5), b"zu lang"),
    ],
    "ratio": [(b"one", b"eins zwei drei vier acht neun zehn elf zw\xc3\xb6lf")],
    "identical": [(b"Not translated at all.", b"Not translated  at all.")],
}
SPECIAL = [
    (b"A bare\rreturn.", b"Ein\rWagenr\xc3\xbccklauf.", "A bare return."),
    (b"A NUL\x00.", b"Eine Null.", "A NUL."),
    ("1\u00a0000\u202f%\u2009more".encode(), b"tausend", "1 000 % more"),
    ("A\u2028separator\u2029 \ufeffand\u200b".encode(), b"Trenner", "A separator and"),
    (b"windows\r", b"Fenster\r", "windows"),
]


def test_planted_dirt_is_counted_and_shifts_nothing(tmp_path: Path) -> None:
    pairs = sentences(3000)
    pairs.append((pairs[7][0], pairs[8][1]))  # each side has come before, but not the pair
    dirty = list(pairs)
    for place, planted in enumerate(DIRT.values()):
        for turn, pair in enumerate(planted):
            dirty.insert(37 * place + 531 * turn, pair)
    for place, (source, target, _) in enumerate(SPECIAL):
        dirty.insert(700 * place, (source, target))
    entity = (b"R&amp;D &lt;3", b"F&amp;E &#8364;")
    dirty.insert(1234, entity)
    again = [dirty[5], pairs[0], pairs[0], pairs[2999], (SPECIAL[1][0], b"Eine  Null.")]
    dirty += again

    # Two inputs, one packed; what is a duplicate does not depend on where.
    first = write(tmp_path / "one.v7", dirty[:1700], packed=True)
    second = write(tmp_path / "two", dirty[1700:])
    out, report = tmp_path / "out" / "train", tmp_path / "out" / "report.json"
    finished = run("python", *COMMAND, "--out", out, "--report", report, first, second)

    kept = [judge(source, target, Limits()) for source, target in dirty[: -len(again)]]
    expected = [(pair.source, pair.target) for pair in kept if pair.removed is None]
    assert read(out) == expected
    clean_text = {text for _, _, text in SPECIAL} | {"R&D <3"}
    assert {source for source, _ in expected} == clean_text | {s.decode() for s, _ in pairs}

    found = json.loads(report.read_text())
    counts = {rule: part["pairs"] for rule, part in found["removed"].items()}
    assert counts == {rule: len(planted) for rule, planted in DIRT.items()} | {"duplicate": 5}
    changed = {rule: part["pairs"] for rule, part in found["changed"].items()}
    # The copy, and the two empty sides that are of special characters.
    assert changed == {"entities": 1, "special": len(SPECIAL) + 3}
    assert (found["read"], found["kept"]) == (len(dirty), len(expected))
    assert [(part["name"], part["read"]) for part in found["inputs"]] == [
        (str(first), 1700),
        (str(second), len(dirty) - 1700),
    ]
    assert sum(part["kept"] for part in found["inputs"]) == len(expected)
    for part in found["removed"].values():
        assert len(part["examples"]) == min(3, part["pairs"])
    example = found["changed"]["special"]["examples"][0]
    line = dirty.index(SPECIAL[0][:2]) + 1
    assert example == {
        "where": f"{first}, line {line}",
        "en": r"A bare\rreturn.",
        "de": r"Ein\rWagenrücklauf.",
    }
    assert found["removed"]["encoding"]["examples"][0]["en"] == r"Gr\xfc\xdfe"

    table = [[cell.strip() for cell in line.split("|")] for line in finished.stdout.splitlines()]
    assert ["", "removed: an empty side", "4", f"{4 / len(dirty):.2%}", ""] in table
    assert ["", "kept", f"{len(expected):,}", f"{len(expected) / len(dirty):.2%}", ""] in table
    assert rf"    en: {example['en']}" in finished.stdout.splitlines()
    assert sorted(path.name for path in out.parent.iterdir()) == [
        "report.json",
        "train.de",
        "train.en",
    ]


WORDS = st.sampled_from(
    ["dog", "Hund", "\r", "\x00", "\u00a0", "\u2028", "&amp;", "\ufeff", "a" * 30, "x y z", " "]
)
LINE = st.one_of(
    st.lists(WORDS, max_size=12).map(lambda words: "".join(words).encode()),
    st.text(max_size=20).map(lambda text: text.replace("\n", "\r").encode()),
    st.binary(max_size=12).map(lambda raw: raw.replace(b"\n", b"\r")),
)


@settings(max_examples=60)
@given(
    parts=st.lists(st.tuples(LINE, LINE), min_size=1, max_size=8).flatmap(
        # Pairs of a few, so that many come again.
        lambda pairs: st.lists(
            st.lists(st.sampled_from(pairs), max_size=12), min_size=1, max_size=3
        )
    ),
    keep_duplicates=st.booleans(),
    limits=st.builds(Limits, st.integers(1, 8), st.integers(1, 60), st.floats(1, 3)),
)
def test_what_is_left_are_the_pairs_in_order(
    tmp_path_factory: pytest.TempPathFactory,
    parts: list[list[tuple[bytes, bytes]]],
    keep_duplicates: bool,
    limits: Limits,
) -> None:
    folder = tmp_path_factory.mktemp("clean")
    inputs = [write(folder / f"in{number}", part) for number, part in enumerate(parts)]
    expected: list[tuple[str, str]] = []
    counts: Counter[str] = Counter()
    kept = []
    for part in parts:
        before = len(expected)
        for pair in part:
            judged = judge(*pair, limits)
            rule = judged.removed
            left = (judged.source, judged.target)
            if rule is None and not keep_duplicates and left in expected:
                rule = "duplicate"
            if rule is None:
                expected.append(left)
            else:
                counts[rule] += 1
            counts.update(judged.changed)
        kept.append(len(expected) - before)

    options = Options(limits, keep_duplicates=keep_duplicates)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "_PAIRS", 5)
        if not expected:
            with pytest.raises(ValueError, match="no pair is left"):
                clean(inputs, folder / "out", ["en", "de"], options)
            assert not list(folder.glob("*out*"))
            return
        report = clean(inputs, folder / "out", ["en", "de"], options)
    assert read(folder / "out") == expected
    assert +report.tally.counts == counts
    assert report.read.total() == sum(map(len, parts))
    assert [report.kept[str(prefix)] for prefix in inputs] == kept
    removed = sum(report.tally.counts[rule] for rule in report.removals)
    assert report.read.total() - removed == report.kept.total() == len(expected)
    assert not list(folder.glob(".out*"))


def test_the_bytes_do_not_depend_on_the_workers(tmp_path: Path) -> None:
    pairs = sentences(4000)
    pairs[100:100] = [pair for planted in DIRT.values() for pair in planted]
    pairs += pairs[1000:1500]
    prefix = write(tmp_path / "in", pairs)
    for workers in (1, 3):
        out, report = tmp_path / f"{workers}", tmp_path / f"{workers}.json"
        options = ["--workers", workers, "--out", out, "--report", report]
        assert main([*COMMAND[2:], *map(str, options), str(prefix)]) == 0
    for suffix in ("en", "de", "json"):
        one, three = (tmp_path / f"{workers}.{suffix}" for workers in (1, 3))
        assert one.read_bytes() == three.read_bytes()
    assert len(read(tmp_path / "1")) == 4000


def test_errors_are_one_line_and_leave_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(*arguments: object, out: str = "out") -> str:
        given = ["--langs", "en", "de", "--workers", "1", "--out", tmp_path / out, *arguments]
        assert main([*map(str, given)]) == 1
        error = capsys.readouterr().err
        assert error.startswith("error: ") and error.count("\n") == 1
        assert not list(tmp_path.glob("*out*")) + list(tmp_path.glob(".*"))
        return error

    good = write(tmp_path / "good", sentences(5))
    uneven = write(tmp_path / "uneven", sentences(5))
    Path(f"{uneven}.de").write_bytes(b"nur eine\n")
    assert "uneven.en has 5 lines but" in (error := fails(good, uneven)) and "has 1:" in error
    assert "neither" in fails(good, tmp_path / "missing")
    broken = write(tmp_path / "broken", sentences(5), packed=True)
    Path(f"{broken}.de.gz").write_bytes(b"no archive")
    assert "broken.de.gz: cannot be read" in fails(broken)
    assert "no pair is left of 1" in fails(write(tmp_path / "empty", [(b"", b"x")]))
    assert "given twice" in fails(good, good)
    assert "is an input" in fails(good, out="good")
    assert read(good) == [(a.decode(), b.decode()) for a, b in sentences(5)]
    assert "names the language 'en' twice" in fails(good, "--langs", "en", "en")


def test_drafts_of_an_earlier_try_are_replaced(tmp_path: Path) -> None:
    prefix = write(tmp_path / "in", sentences(5))
    stale = tmp_path / ".out.cleaning"
    stale.mkdir()
    (stale / "repeated.0").write_bytes(bytes(8))
    assert main(["--langs", "en", "de", "--out", f"{tmp_path}/out", str(prefix)]) == 0
    assert len(read(tmp_path / "out")) == 5
    assert not stale.exists()


@pytest.mark.slow
def test_a_full_disk_ends_the_command(tmp_path: Path) -> None:
    prefix = write(tmp_path / "in", sentences(5000))

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))

    out = ["--out", tmp_path / "out", "--workers", 1]
    finished = run("python", *COMMAND, *out, prefix, fails=True, preexec_fn=limit)
    assert f"{tmp_path}/out.en (File too large): free some" in finished.error()
    assert not list(tmp_path.glob("*out*"))


def test_one_process_at_a_time(tmp_path: Path) -> None:
    for language in ("en", "de"):
        (tmp_path / f"in.{language}").write_text("a line\n")
    (tmp_path / ".out.cleaning").mkdir()
    (tmp_path / ".out.cleaning/kept.en").write_text("of a run that was killed\n")
    lock = os.open(tmp_path / ".out.cleaning", os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    with pytest.raises(UserError, match="another process is cleaning into"):
        clean([tmp_path / "in"], tmp_path / "out", ("en", "de"), Options())
    os.close(lock)
    with pytest.raises(UserError, match="no pair is left of 1; removed: 1 "):  # identical sides
        clean([tmp_path / "in"], tmp_path / "out", ("en", "de"), Options())
    assert not (tmp_path / ".out.cleaning").exists()


def test_waits_for_workers_of_a_killed_one(tmp_path: Path) -> None:
    for language in ("en", "de"):
        (tmp_path / f"in.{language}").write_text(f"a line in {language}\n")
    (tmp_path / ".out.cleaning").mkdir()
    lock = os.open(tmp_path / ".out.cleaning", os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    noticing = threading.Timer(1, os.close, [lock])
    noticing.start()
    clean([tmp_path / "in"], tmp_path / "out", ("en", "de"), Options())
    noticing.join()
    assert (tmp_path / "out.en").read_text() == "a line in en\n"


@pytest.mark.slow
@pytest.mark.parametrize("way", ["interrupt", "terminate", "kill a worker", "kill"])
def test_an_end_by_force(tmp_path: Path, way: str) -> None:
    for language in ("en", "de"):
        os.mkfifo(tmp_path / f"in.{language}")  # so that the command waits for the test
    command = [sys.executable, *COMMAND, "--workers", "2", "--out", "out", "in"]
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # Tests that run in the background have it ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    pairs = sentences(1000)
    texts = [b"".join(pair[side] + b"\n" for pair in pairs) for side in (0, 1)]
    with (tmp_path / "in.en").open("wb", 0) as left, (tmp_path / "in.de").open("wb", 0) as right:

        def feed(times: int) -> None:
            for _ in range(times):
                left.write(texts[0])
                right.write(texts[1])

        feed(20)  # more than two pipes hold: the workers are at work
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        workers = [int(pid) for pid in children.read_text().split()]
        assert len(workers) == 2
        if way == "interrupt":
            os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        elif way == "terminate":
            process.terminate()
        elif way == "kill":
            process.kill()
        else:
            os.kill(workers[0], signal.SIGKILL)
            with pytest.raises(BrokenPipeError):
                feed(10_000)
        errors = process.communicate(timeout=200)[1]
    for pid in workers:
        wait_for_end(pid)
    if way == "kill":
        assert process.returncode == -signal.SIGKILL
        return
    assert process.returncode == 1
    said = "a worker process was killed" if way == "kill a worker" else "interrupted: nothing was"
    assert errors.startswith(f"error: {said}") and errors.count("\n") == 1
    assert not list(tmp_path.glob("*out*"))


def wait_for_end(pid: int) -> None:
    for _ in range(1000):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return
        except FileNotFoundError:
            return
        time.sleep(0.1)
    raise AssertionError(f"process {pid} is still there")
