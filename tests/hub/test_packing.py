"""A model's folder as one file: the same bytes each time, and nothing from a stranger's archive."""

import io
import os
import shutil
import stat
import subprocess
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from nmt_moe.cli.main import main
from nmt_moe.common.errors import UserError
from nmt_moe.trained import folder as folders
from nmt_moe.trained.folder import ModelFolder
from nmt_moe.trained.packing import pack, unpack
from tests.hub.test_model_folder import written


@pytest.fixture(scope="module")
def model(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> ModelFolder:
    return written(tmp_path_factory.mktemp("packing") / "my-model", folder)


def content(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.mark.parametrize("name", ["m.zip", "m.tar.gz", "m.tgz"])
def test_there_and_back(model, name: str, tmp_path, monkeypatch, capsys) -> None:
    out = tmp_path / name
    assert main(["model", "pack", str(model.path), "--out", str(out)]) == 0
    first = out.read_bytes()
    os.utime(model.checkpoint, (1e9, 1e9))
    assert main(["model", "pack", str(model.path), "--out", str(out)]) == 1
    assert "give --force to replace it" in capsys.readouterr().err
    assert main(["model", "pack", str(model.path), "--out", str(out), "--force"]) == 0
    assert out.read_bytes() == first
    monkeypatch.chdir(tmp_path)
    assert main(["model", "unpack", name]) == 0
    assert capsys.readouterr().out.endswith("\nmy-model: en to xx\n")
    assert content(tmp_path / "my-model") == content(model.path)
    assert main(["model", "unpack", name]) == 1
    assert "error: there is my-model already: name another" in capsys.readouterr().err
    found = unpack(out, tmp_path / "new" / "other")
    assert content(found.path) == content(model.path)
    assert stat.S_IMODE((found.path / "model.pt").stat().st_mode) & 0o111 == 0
    assert {path.name for path in tmp_path.iterdir()} == {name, "my-model", "new"}


def test_by_default_a_zip_beside_the_folder(model, tmp_path, monkeypatch) -> None:
    shutil.copytree(model.path, tmp_path / "m")
    (tmp_path / "m" / ".hidden").touch()
    (tmp_path / "m" / "report.html").write_text("a page")
    monkeypatch.chdir(tmp_path / "m")
    assert main(["model", "pack", "."]) == 0
    with zipfile.ZipFile(tmp_path / "m.zip") as archive:
        names = sorted(f"m/{name}" for name in [*content(model.path), "report.html"])
        assert archive.namelist() == names
    subprocess.run(["python3", "-m", "zipfile", "-t", tmp_path / "m.zip"], check=True)


def test_an_archive_of_other_programs(model, tmp_path) -> None:
    shutil.make_archive(str(tmp_path / "flat"), "zip", model.path)
    assert content(unpack(tmp_path / "flat.zip", tmp_path / "a").path) == content(model.path)
    parent, name = model.path.parent, model.path.name
    shutil.make_archive(str(tmp_path / "deep"), "xztar", parent, name)
    assert content(unpack(tmp_path / "deep.tar.xz", tmp_path / "b").path) == content(model.path)


def test_only_good_models_are_packed(model, tmp_path) -> None:
    with pytest.raises(UserError, match=r"ends with \.zip or \.tar\.gz or \.tgz"):
        pack(model, tmp_path / "m.7z")
    with pytest.raises(UserError, match="is in the folder that is packed"):
        pack(model, model.path / "m.zip")
    shutil.copytree(model.path, tmp_path / "m")
    (tmp_path / "m" / "model.pt").write_bytes(b"")
    with pytest.raises(UserError, match=r"model\.pt is not the file that"):
        pack(folders.read(tmp_path / "m"), tmp_path / "m.zip")
    assert not (tmp_path / "m.zip").exists()


def archive(kind: str, path: Path, model: Path, more: dict[str, bytes | str]) -> None:
    """A model's files, then others; text leads a link somewhere."""
    files = {f"m/{name}": value for name, value in content(model).items()}
    entries: list[tuple[str, Any]] = [*files.items(), *more.items()]
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as written:
            for name, value in entries:
                info = zipfile.ZipInfo(name)
                link = stat.S_IFLNK if isinstance(value, str) else stat.S_IFREG
                info.external_attr = (link | 0o777) << 16
                written.writestr(info, value)
        return
    with tarfile.open(path, "w:gz") as packed:
        for name, value in entries:
            entry = tarfile.TarInfo(name)
            if isinstance(value, str):
                entry.type, entry.linkname = tarfile.SYMTYPE, value
                packed.addfile(entry)
            else:
                entry.size = len(value)
                packed.addfile(entry, io.BytesIO(value))


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"../out": b"x"}, "holds '../out', which is a link or leaves its folder"),
        ({"m/../../out": b"x"}, "leaves its folder"),
        ({"/tmp/nmt-moe-out": b"x"}, "leaves its folder"),
        ({"..\\out": b"x"}, "leaves its folder"),
        ({"m/link": "/etc", "m/link/out": b"x"}, "holds 'm/link', which is a link"),
        ({"m/report.html/x": b"x", "m/report.html": b"x"}, "holds 'm/report.html' twice"),
        ({"m/model.json/x": b"x"}, "twice"),
        ({"n/model.json": b"{}"}, r"holds more than one model\.json"),
        ({"m/model.pt/../model.pt": b"x"}, "leaves its folder"),
    ],
)
def test_a_hostile_archive_writes_nothing(kind, more, message: str, model, tmp_path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    path = inside / f"bad.{kind}"
    archive(kind, path, model.path, more)
    with pytest.raises(UserError, match=message):
        unpack(path, inside / "m")
    assert [*inside.iterdir()] == [path] and [*tmp_path.iterdir()] == [inside]
    assert not Path("/tmp/nmt-moe-out").exists()


def test_a_damaged_file_is_refused(model, tmp_path) -> None:
    (tmp_path / "text.zip").write_text("no archive")
    with pytest.raises(UserError, match=r"text\.zip is no packed model, or is damaged"):
        unpack(tmp_path / "text.zip")
    with pytest.raises(UserError, match=r"there is no file .*none\.zip"):
        unpack(tmp_path / "none.zip")
    with pytest.raises(UserError, match=r"model\.pt is no packed model: it holds no model\.json"):
        unpack(model.checkpoint, tmp_path / "m")
    for kind in ("zip", "tar.gz"):
        whole = tmp_path / f"m.{kind}"
        pack(model, whole)
        data = whole.read_bytes()
        for number, cut in enumerate((data[: len(data) * 2 // 3], data[:99])):
            path = tmp_path / f"cut{number}.{kind}"
            path.write_bytes(cut)
            with pytest.raises(UserError, match="is no packed model"):
                unpack(path, tmp_path / "m")
        changed = tmp_path / f"changed.{kind}"
        archive(kind, changed, model.path, {})
        other = content(model.path) | {"dict.xx.txt": b"other 1\n"}
        shutil.rmtree(tmp_path / "src", ignore_errors=True)
        (tmp_path / "src").mkdir()
        for name, value in other.items():
            (tmp_path / "src" / name).write_bytes(value)
        archive(kind, changed, tmp_path / "src", {})
        with pytest.raises(UserError, match=rf"changed\.{kind}: dict\.xx\.txt is not the file"):
            unpack(changed, tmp_path / "m")
    assert not (tmp_path / "m").exists() and not [*tmp_path.glob(".*")]
