"""``benchmarks/before.py`` and ``benchmarks/demo.py``."""

import subprocess

import pytest
import torch

from tests.benchmarks.commands import BENCHMARKS, benchmark, load

ROOT = BENCHMARKS.parent


@pytest.fixture
def before(monkeypatch):
    if subprocess.run(["git", "-C", ROOT, "rev-parse", "HEAD"], capture_output=True).returncode:
        pytest.skip("no git, or no clone")
    return load(monkeypatch, "before")


@pytest.mark.slow
def test_two_versions_take_turns(before):
    found = benchmark("before.py", "HEAD", "--quick")
    assert [row[:3] for row in found["rows"]] == [
        ["before", "HEAD", "float32"],
        ["now", "this", "float32"],
    ]
    assert found["rows"][0][4] == "1.00 (1.00-1.00)"
    assert {name: len(x) for name, x in found["figures"]["seconds"].items()} == {
        "before": 2,
        "now": 2,
    }


@pytest.mark.slow
def test_the_quickstart_runs_at_both_commits(before):
    found = benchmark("demo.py", "HEAD", "--quick")
    assert [row[:2] for row in found["rows"]] == [["before", "HEAD"], ["now", "this"]]
    assert {name: len(x) for name, x in found["figures"]["bleu"].items()} == {"before": 1, "now": 1}
    assert all(1 < x < 600 for [x] in found["figures"]["seconds"].values())


def test_an_unknown_commit_is_refused(before):
    with (
        pytest.raises(SystemExit, match="error: nosuch cannot be unpacked: .*nosuch"),
        before.unpacked("nosuch"),
    ):
        pass


def test_extensions_are_built_as_the_checkout_has_them(before, tmp_path):
    (tmp_path / "some").mkdir()
    (tmp_path / "some" / "one.c").write_text("int one(void) { return 1; }\n")
    (tmp_path / "pyproject.toml").write_text(
        '[[tool.setuptools.ext-modules]]\nname = "some.one"\nsources = ["some/one.c"]\n'
    )
    before.build(tmp_path)
    assert [path.name.partition(".")[0] for path in (tmp_path / "some").glob("*.so")] == ["one"]
    (tmp_path / "some" / "one.c").write_text("int one(void) { return }\n")
    with pytest.raises(SystemExit, match=r"some/one.* cannot be compiled"):
        before.build(tmp_path)


def test_the_code_of_another_folder_is_not_taken_for_it(before, tmp_path):
    """Without a package in the folder Python finds this one."""
    (tmp_path / "benchmarks").mkdir()
    for name in ("contenders.py", "plain.py"):
        (tmp_path / "benchmarks" / name).write_text((BENCHMARKS / name).read_text())
    options = {"quick": True, "threads": 1, "vocabulary": 50, "dtype": "float32", "experts": 8}
    torch.save({}, tmp_path / "batch.pt")
    options["batch"] = str(tmp_path / "batch.pt")
    with (
        pytest.raises(SystemExit, match="is imported and not that of"),
        before.updater(tmp_path, options),
    ):
        pass
