"""Downloads from a server that fails: the archive is whole, or the error names it."""

import hashlib
import itertools
import resource
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from nmt_moe.common.errors import UserError
from nmt_moe.corpus import download
from nmt_moe.corpus.manifest import Archive
from tests.server import Fault, Server
from tests.wmt14_archives import write

PATH = "wmt13/x.tgz"
QUICK = download.Patience(timeout=1.0, tries=4, pause=0.01, interval=0.0)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server of one archive of 200 kB."""
    write(tmp_path / "served" / PATH, {"text.en": Random(1).randbytes(200_000)})
    with Server(tmp_path / "served") as running:
        yield running


def content(server: Server) -> bytes:
    return (server.folder / PATH).read_bytes()


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def get(server: Server, folder: Path, *mirrors: str, **known: object) -> Path:
    """Download the archive, and check that it alone has its final name."""
    archive = Archive(PATH, **known)  # type: ignore[arg-type]
    download.download([archive], folder, mirrors or [server.url], QUICK)
    assert {path.name for path in folder.iterdir()} - {".lock", "SHA256SUMS"} == {"x.tgz"}
    assert (folder / "x.tgz").read_bytes() == content(server)
    return folder / "x.tgz"


def fails(server: Server, folder: Path, words: str, *mirrors: str, **known: object) -> str:
    """The error; there is nothing under the final name."""
    with pytest.raises(UserError, match=words) as error:
        get(server, folder, *mirrors, **known)
    assert not (folder / "x.tgz").exists()
    assert "\n" not in str(error.value) and "x.tgz" in str(error.value)
    return str(error.value)


def test_a_download_without_faults(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    get(server, tmp_path / "a", sha256=digest(content(server)), bytes=len(content(server)))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("x.tgz: ") and "% of 2" in lines[0] and lines[0].endswith(" left")
    assert lines[-1].startswith("x.tgz: 2") and lines[-1].endswith("B/s")
    assert not (tmp_path / "a/SHA256SUMS").exists()  # the manifest knows it

    get(server, tmp_path / "a", sha256=digest(content(server)))
    assert capsys.readouterr().out == "x.tgz: is there, checked\n"
    assert len(server.requests) == 1


def test_a_checksum_is_recorded_and_compared(server: Server, tmp_path: Path) -> None:
    path = get(server, tmp_path / "a")
    sums = tmp_path / "a/SHA256SUMS"
    assert sums.read_text() == f"{digest(content(server))}  x.tgz\n"
    subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=path.parent, check=True)

    # The server's file has changed since.
    path.unlink()
    write(server.folder / PATH, {"text.en": b"another"})
    words = f"x.tgz: its sha256 should be .*, says {sums}, and is {digest(content(server))}"
    fails(server, tmp_path / "a", words)
    # One that the user changed is kept, under another name.
    get(server, tmp_path / "b")
    path.write_bytes(b"mine")
    sums.write_text(f"{digest(content(server))} *x.tgz\n")
    fails(server, tmp_path / "a", "x.tgz: its sha256 should be .* It is x.tgz.bad now")
    assert (tmp_path / "a/x.tgz.bad").read_bytes() == b"mine"
    for nonsense in (b"nonsense\n", b"\xff\xfe\n"):
        sums.write_bytes(nonsense)
        with pytest.raises(UserError, match="SHA256SUMS, line 1: no SHA-256 and name"):
            get(server, tmp_path / "a")


@pytest.mark.parametrize("known", ["sha256", "md5"])
def test_a_wrong_checksum(server: Server, tmp_path: Path, known: str) -> None:
    wrong = "0" * {"sha256": 64, "md5": 32}[known]
    found = hashlib.new(known, content(server)).hexdigest()
    words = f"{PATH}: its {known} should be {wrong}, says the manifest, and is {found}"
    fails(server, tmp_path / "a", words, **{known: wrong})
    assert len(server.requests) == 1  # all of it came at once: no use to try again
    assert not list((tmp_path / "a").glob("x.tgz*"))
    get(server, tmp_path / "a", **{known: found.upper()})


def test_a_link_to_where_the_archive_goes(server: Server, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "large disk").mkdir()
    (tmp_path / "a/x.tgz").symlink_to(tmp_path / "large disk/x.tgz")
    get(server, tmp_path / "a")
    assert (tmp_path / "a/x.tgz").is_symlink()
    assert [path.name for path in (tmp_path / "large disk").iterdir()] == ["x.tgz"]


def test_an_archive_that_is_there(server: Server, tmp_path: Path) -> None:
    folder = tmp_path / "a"
    folder.mkdir()
    (folder / "x.tgz").write_bytes(content(server))
    get(server, folder)
    assert not server.requests and (folder / "SHA256SUMS").exists()
    # What another tool left half-way, never seen before.
    (folder / "SHA256SUMS").unlink()
    (folder / "x.tgz").write_bytes(content(server)[:90_000])
    fails(server, folder, "x.tgz: it is no complete archive: .* It is x.tgz.bad now")
    (folder / "x.tgz.bad").unlink()
    get(server, folder)


def test_a_connection_that_ends_early_goes_on(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.faults[PATH] = iter([Fault(cut=50_000), Fault(cut=30_000), Fault(stall=20_000)])
    get(server, tmp_path / "a", sha256=digest(content(server)))
    wanted = [None, "bytes=50000-", "bytes=80000-", "bytes=100000-"]
    assert server.asked(PATH) == list(zip(wanted, [200, 206, 206, 206], strict=True))
    printed = capsys.readouterr().out
    assert "the connection ended after 50,000 of 2" in printed
    assert "no data for too long after 100,000 bytes" in printed
    assert "x.tgz: goes on after 80.0 kB" in printed


def test_many_interruptions_are_no_failure_while_there_is_progress(
    server: Server, tmp_path: Path
) -> None:
    server.faults[PATH] = itertools.repeat(Fault(cut=15_000), 12)
    get(server, tmp_path / "a")
    assert len(server.requests) == 13 > QUICK.tries


def test_a_server_that_always_stops_at_the_same_place(server: Server, tmp_path: Path) -> None:
    server.ranges = False
    server.faults[PATH] = itertools.repeat(Fault(cut=50_000))
    fails(server, tmp_path / "a", "x.tgz cannot be downloaded; .* ended after 50,000 of 2")
    assert len(server.requests) == 1 + QUICK.tries
    assert (tmp_path / "a/x.tgz.part").stat().st_size == 50_000
    # The same command later goes on where this one gave up.
    server.ranges, server.faults = True, {}
    get(server, tmp_path / "a")
    assert server.requests[-1] == (PATH, "bytes=50000-", 206)


def test_a_server_that_ignores_ranges(server: Server, tmp_path: Path) -> None:
    server.ranges = False
    server.faults[PATH] = iter([Fault(cut=50_000), Fault(cut=20_000), Fault(stall=90_000)])
    get(server, tmp_path / "a", sha256=digest(content(server)))
    assert [status for _, status in server.asked(PATH)] == [200] * 4


@pytest.mark.parametrize("status", [404, 403, 429, 500, 503])
def test_an_error_that_passes(server: Server, tmp_path: Path, status: int) -> None:
    server.faults[PATH] = iter([Fault(status=status), Fault(status=status)])
    get(server, tmp_path / "a")
    assert len(server.requests) == 3


@pytest.mark.parametrize(("status", "tries"), [(404, 3), (503, QUICK.tries)])
def test_an_error_that_stays(server: Server, tmp_path: Path, status: int, tries: int) -> None:
    server.faults[PATH] = itertools.repeat(Fault(status=status))
    text = fails(server, tmp_path / "a", f"{server.url}/{PATH}: HTTP {status} ")
    assert f"put the file into {tmp_path}/a" in text and len(server.requests) == tries


def test_another_file_on_the_server(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # It changed after the first half: the server sees that from If-Range and sends all of it.
    old = Random(2).randbytes(len(content(server)))
    server.faults[PATH] = iter([Fault(wrong=old, cut=50_000)])
    get(server, tmp_path / "a")
    assert server.asked(PATH) == [(None, 200), ("bytes=50000-", 200)]
    # A server without If-Range: what is put together is no archive, and all is fetched anew.
    server.faults[PATH] = iter([Fault(wrong=old, cut=50_000, etag="W/'1'")])
    get(server, tmp_path / "b")
    assert [status for _, status in server.asked(PATH)[2:]] == [200, 206, 200]
    # One of another size.
    server.faults[PATH] = iter([Fault(wrong=old + b"more", cut=50_000, etag="W/'1'")])
    get(server, tmp_path / "c")
    assert [status for _, status in server.asked(PATH)[5:]] == [200, 206, 200]
    assert "the server does not go on with the same file" in capsys.readouterr().out
    # An answer that begins at another place.
    server.faults[PATH] = iter([Fault(cut=50_000), Fault(shift=1)])
    get(server, tmp_path / "d")
    assert [status for _, status in server.asked(PATH)[8:]] == [200, 206, 200]


def test_partial_files_of_other_origin(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = content(server)
    for name, part, statuses, reason in (
        ("first half", whole[:70_000], [206], ""),
        ("all of it", whole, [416], ""),
        ("something else", b"x" * 70_000, [206, 200], "it is no complete archive"),
        ("too long", whole + b"x", [416, 200], "HTTP 416"),
    ):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "x.tgz.part").write_bytes(part)
        before = len(server.requests)
        get(server, folder)
        assert [status for _, _, status in server.requests[before:]] == statuses, name
        printed = capsys.readouterr().out
        assert reason in printed and ("trying again" in printed) == bool(reason), printed


def test_a_server_that_says_no_lengths(server: Server, tmp_path: Path) -> None:
    server.lengths = False
    server.faults[PATH] = iter([Fault(cut=50_000)])
    size = len(content(server))
    get(server, tmp_path / "a", bytes=size)
    # Without the size in the manifest: an archive without its end is found by reading it.
    server.faults[PATH] = iter([Fault(cut=50_000)])
    fails(server, tmp_path / "b", "it is no complete archive: Compressed file ended before")
    get(server, tmp_path / "b")


def test_a_wrong_size(server: Server, tmp_path: Path) -> None:
    size = f"{len(content(server)):,}"
    fails(server, tmp_path / "a", f"the file there has {size} bytes, not 10", bytes=10)
    (tmp_path / "a/x.tgz").write_bytes(b"short")
    fails(server, tmp_path / "a", "it should have 10 bytes and has 5", bytes=10)


def test_a_page_instead_of_an_archive(server: Server, tmp_path: Path) -> None:
    server.faults[PATH] = iter([Fault(wrong=b"<html>We are sorry</html>")])
    fails(server, tmp_path / "a", "it is no complete archive")


def test_a_page_instead_of_the_rest_leaves_the_partial_file(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = Fault(wrong=b"<html>We are sorry</html>")
    server.faults[PATH] = iter([Fault(cut=50_000), page])
    get(server, tmp_path / "a")
    wanted = [None, "bytes=50000-", "bytes=50000-"]
    assert server.asked(PATH) == list(zip(wanted, [200, 200, 206], strict=True))
    assert "it sends 25 bytes, fewer than the 50,000 that are in" in capsys.readouterr().out


def test_mirrors_are_tried_in_order(server: Server, tmp_path: Path) -> None:
    empty = (tmp_path / "nothing").as_uri()
    with Server(server.folder) as second:
        server.faults[PATH] = iter([Fault(cut=50_000)])
        get(server, tmp_path / "a", empty, server.url + "/", second.url)
        # The second one goes on where the first one stopped.
        assert second.asked(PATH) == [("bytes=50000-", 206)]
        server.faults[PATH] = iter([Fault(wrong=b"bad")])
        get(server, tmp_path / "b", server.url, second.url)
        assert len(server.requests) == len(second.requests) == 2
    get(server, tmp_path / "c", second.url, server.url)  # nothing listens at the first any more
    get(server, tmp_path / "d", server.folder.as_uri())
    for mirror in ("ftp://host", "data/mirror"):
        with pytest.raises(UserError, match=f"the mirror {mirror} is no http:, https: or file:"):
            get(server, tmp_path / "e", mirror)
    fails(server, tmp_path / "e", "nothing/wmt13/x.tgz: No such file", empty)


def test_a_disk_without_room(server: Server, tmp_path: Path) -> None:
    with Server(server.folder, announced=10**16) as large:
        fails(server, tmp_path / "a", "a/x.tgz needs 10000000.00 GB, .* are free there", large.url)
    # A disk that is full after all: no file may have more than 100 kB here.
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        fails(server, tmp_path / "b", "^/.*b/x.tgz.part: cannot be written: File too large$")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    get(server, tmp_path / "b")


def test_two_at_once(server: Server, tmp_path: Path) -> None:
    server.faults[PATH] = iter([Fault(stall=50_000)])
    others = [threading.Thread(target=get, args=(server, tmp_path / "a")) for _ in range(3)]
    for other in others:
        other.start()
    for other in others:
        other.join()
    get(server, tmp_path / "a")
    assert [status for _, status in server.asked(PATH)] == [200, 206]
