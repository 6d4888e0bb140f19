"""Downloads come from the hosts of the manifest, or those that the user names, and no others."""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from nmt_moe.common.errors import UserError
from nmt_moe.corpus import download, manifest, transfer
from nmt_moe.corpus.manifest import Archive
from tests.server import Fault, Server
from tests.tally import Tally
from tests.wmt14_archives import write

PATH = "wmt13/x.tgz"
QUICK = download.Patience(timeout=5.0, tries=2, pause=0.01, interval=9)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    write(tmp_path / "served" / PATH, {"text.en": b"text\n"})
    with Server(tmp_path / "served") as running:
        yield running


def get(folder: Path, *mirrors: str) -> bytes:
    download.download([Archive(PATH)], folder, mirrors, QUICK)
    return (folder / "x.tgz").read_bytes()


def test_the_manifests_name_one_site_by_https() -> None:
    for pair in manifest.PAIRS:
        mirrors = manifest.load(manifest.find(pair)).mirrors
        assert {*map(transfer.origin, mirrors)} == {"https://www.statmt.org", "https://statmt.org"}


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirection_elsewhere_is_refused(
    server: Server, tmp_path: Path, status: int, tally: Tally
) -> None:
    (tmp_path / "secret").write_text("secret")
    with Server(server.folder) as other:
        elsewhere = [
            f"{other.url}/{PATH}",
            f"http://localhost:{server.url.rpartition(':')[2]}/{PATH}",
            f"https://{server.url.removeprefix('http://')}/{PATH}",
            f"//user@{other.url.removeprefix('http://')}/{PATH}",
            (tmp_path / "secret").as_uri(),
            f"ftp://{other.url.removeprefix('http://')}/{PATH}",
            "data:text/plain,x",
        ]
        for location in elsewhere:
            server.faults[PATH] = itertools.repeat(Fault(status=status, location=location))
            with pytest.raises(
                UserError, match="x.tgz cannot be downloaded; the last try, "
            ) as error:
                get(tmp_path / "a", server.url)
            assert "\n" not in str(error.value)
            assert "none of the mirrors" in str(error.value) or "not allowed" in str(error.value)
            assert not other.requests
            assert not [*(tmp_path / "a").glob("x.tgz*")]
            tally(faults=1)


def test_a_redirection_to_a_mirror_is_followed(server: Server, tmp_path: Path) -> None:
    whole = (server.folder / PATH).read_bytes()
    server.faults[PATH] = iter([Fault(status=302, location=f"{server.url}/wmt13/y.tgz")])
    (server.folder / "wmt13/y.tgz").write_bytes(whole)
    assert get(tmp_path / "a", server.url) == whole
    with Server(server.folder) as other:
        server.faults[PATH] = iter([Fault(status=302, location=f"{other.url}/{PATH}")])
        assert get(tmp_path / "b", server.url, other.url) == whole
        assert len(other.requests) == 1
        # It may not be the way to a third one.
        server.faults[PATH] = itertools.repeat(Fault(status=302, location=f"{other.url}/{PATH}"))
        third = Fault(status=302, location="http://localhost:9/x")
        other.faults[PATH] = itertools.repeat(third)
        with pytest.raises(UserError, match="redirects to http://localhost:9/x, which is none of"):
            get(tmp_path / "c", server.url, other.url)


def test_a_redirection_without_end(server: Server, tmp_path: Path) -> None:
    again = Fault(status=302, location=f"{server.url}/{PATH}")
    server.faults[PATH] = itertools.repeat(again)
    with pytest.raises(UserError, match="x.tgz cannot be downloaded"):
        get(tmp_path / "a", server.url)


@pytest.mark.parametrize("note", ["5", "[1]", "null", '"x"', "{", "[[1, 2]]", "\ufffd"])
def test_a_note_that_is_damaged_is_none(server: Server, tmp_path: Path, note: str) -> None:
    whole = (server.folder / PATH).read_bytes()
    (tmp_path / "a").mkdir()
    (tmp_path / "a/x.tgz.part").write_bytes(whole[:50])
    (tmp_path / "a/x.tgz.part.json").write_text(note)
    assert get(tmp_path / "a", server.url) == whole
    assert json.loads(json.dumps(server.asked(PATH))) == [["bytes=50-", 206]]
