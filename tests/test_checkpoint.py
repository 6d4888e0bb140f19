"""Checkpoints: safe to load, never half-written, and clear about what is wrong."""

import errno
import os
import resource
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
import torch
from fairseq import checkpoint_utils
from fairseq.file_io import PathManager

from nmt_moe.common.errors import UserError
from nmt_moe.fairseq_fixes import checkpoints as hooks
from tests.commands import PLUGIN, TRAINING, Finished, run, train

DAMAGED = "is no checkpoint, or is damaged or incomplete"


class Foreign:
    """Unpickling it creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.path),)


def generate(data: Path, path: Path) -> Finished:
    return run("fairseq-generate", data, "--user-dir", PLUGIN, "--path", path, "--cpu", fails=True)


def copy(checkpoint_path: Path, folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return Path(shutil.copy(checkpoint_path, folder / "checkpoint_last.pt"))


def test_a_checkpoint_holds_nothing_that_could_run_code(trained):
    state = torch.load(trained, weights_only=True)
    assert {"cfg", "model", "last_optimizer_state", "extra_state"} <= state.keys()
    assert state["cfg"]["model"]["moe_experts"] == 4


@pytest.mark.parametrize("zipped", [True, False])
def test_a_foreign_class_is_refused_and_its_code_not_run(trained, tmp_path, zipped):
    state = torch.load(trained, weights_only=True)
    state["extra_state"]["more"] = Foreign(tmp_path / "it ran")
    path = str(tmp_path / "foreign.pt")
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(UserError, match=r"foreign.pt holds an object of class posix\.mkdir"):
        checkpoint_utils.load_checkpoint_to_cpu(path)
    assert not (tmp_path / "it ran").exists()
    torch.load(path, weights_only=False)
    assert (tmp_path / "it ran").exists()  # the test's file does what it should


def test_every_truncation_is_called_damaged(trained, tmp_path):
    whole = trained.read_bytes()
    path = tmp_path / "part.pt"
    size = len(whole)
    for length in [0, 1, 2, 20, 100, *range(0, size, size // 25), size - 100, size - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(UserError, match=DAMAGED):
            checkpoint_utils.load_checkpoint_to_cpu(str(path))
    path.write_bytes(whole)
    assert "model" in checkpoint_utils.load_checkpoint_to_cpu(str(path))


@pytest.mark.parametrize(
    "content",
    [b"hello\n", b"<html></html>", b"\x80\x02}.", b"]\x94.", b"\x80\x02]q\x00.", b"\x95" * 40],
)
def test_other_files_are_no_checkpoints(tmp_path, content):
    path = tmp_path / "other.pt"
    path.write_bytes(content)
    with pytest.raises(UserError, match=DAMAGED):
        checkpoint_utils.load_checkpoint_to_cpu(str(path))


def test_damaged_pickles_raise_no_other_error(trained, tmp_path):
    """Whatever is in the bytes of its structure, it loads or is called damaged."""
    whole = trained.read_bytes()
    start = whole.find(b"data.pkl")
    path = tmp_path / "changed.pt"
    damaged = 0
    for step in range(60):
        changed = bytearray(whole)
        changed[start + 20 + 91 * step] ^= 0xFF >> (step % 8)
        path.write_bytes(changed)
        try:
            checkpoint_utils.load_checkpoint_to_cpu(str(path))
        except UserError:
            damaged += 1
    assert damaged > 10


def test_a_checkpoint_without_part_of_its_settings_is_damaged(trained, tmp_path):
    state = torch.load(trained, weights_only=True)
    del state["cfg"]["distributed_training"]
    torch.save(state, tmp_path / "less.pt")
    with pytest.raises(UserError, match=DAMAGED):
        checkpoint_utils.load_checkpoint_to_cpu(str(tmp_path / "less.pt"))


def test_commands_say_in_one_line_what_is_wrong(data, trained, tmp_path):
    """The same errors as a user sees them, while the file stays as it is."""
    error = generate(data, tmp_path / "missing.pt").error()
    assert error.startswith("Model file not found:") and "missing.pt" in error

    last = copy(trained, tmp_path / "resume")
    last.write_bytes(trained.read_bytes()[:-1000])
    resumed = train(data, tmp_path / "resume", fails=True)
    assert DAMAGED in resumed.error()
    assert last.read_bytes() == trained.read_bytes()[:-1000]
    assert list((tmp_path / "resume").iterdir()) == [last]


def test_another_architecture_is_refused(data, trained, tmp_path):
    last = copy(trained, tmp_path)
    finished = train(data, tmp_path, "--moe-experts", 8, fails=True)
    assert "ensure that the architectures match" in finished.error()
    assert last.read_bytes() == trained.read_bytes()
    assert list(tmp_path.iterdir()) == [last]


@pytest.mark.slow
def test_foreign_class_seen_from_the_command(data, trained, tmp_path):
    state = torch.load(trained, weights_only=True)
    torch.save(state | {"more": Foreign(tmp_path / "it ran")}, tmp_path / "foreign.pt")
    assert "object of class posix.mkdir" in generate(data, tmp_path / "foreign.pt").error()
    assert not (tmp_path / "it ran").exists()


@pytest.mark.slow
def test_a_checkpoint_of_fairseqs_own_lstm_is_refused(data, tmp_path):
    own = tmp_path / "own"
    architecture = ["--arch", "lstm", "--criterion", "cross_entropy"]
    run("fairseq-train", data, "--save-dir", own, *TRAINING, *architecture, "--max-update", 1)
    before = (own / "checkpoint_last.pt").read_bytes()
    finished = train(data, own, "--max-update", 2, fails=True)
    assert "ensure that the architectures match" in finished.error()
    assert (own / "checkpoint_last.pt").read_bytes() == before


@pytest.mark.slow
def test_another_optimizer_is_refused(data, trained, tmp_path):
    copy(trained, tmp_path)
    options = ["--optimizer", "nag"]
    assert "reset the optimizer" in train(data, tmp_path, *options, fails=True).error()


# A disk that fills up


def limit_files(size: int):
    """Let writes beyond ``size`` bytes of a file fail, as on a full disk."""

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return limit


def updates(path: Path) -> int:
    return torch.load(path, weights_only=True)["optimizer_history"][-1]["num_updates"]


@pytest.mark.slow
def test_a_failed_write_leaves_the_checkpoints_before_it(data, trained, tmp_path):
    last, best = copy(trained, tmp_path), tmp_path / "checkpoint_best.pt"
    shutil.copy(trained, best)
    options = ["--max-update", 155]
    limit = limit_files(len(trained.read_bytes()) // 2)
    failed = train(data, tmp_path, *options, fails=True, preexec_fn=limit)
    assert "free some space and rerun the same command" in failed.error()
    assert last.read_bytes() == best.read_bytes() == trained.read_bytes()
    assert sorted(tmp_path.iterdir()) == [best, last]  # nothing half-written

    train(data, tmp_path, *options)
    assert updates(last) == 155


@pytest.mark.parametrize("there_before", [False, True])
def test_a_failed_copy_leaves_what_was_there(tmp_path, there_before):
    source, target = tmp_path / "checkpoint_best.pt", tmp_path / "checkpoint_last.pt"
    source.write_bytes(b"new " * 100)
    if there_before:
        target.write_bytes(b"old")

    def fails_halfway(src_path: str, dst_path: str, overwrite: bool = False) -> None:
        Path(dst_path).write_bytes(Path(src_path).read_bytes()[:50])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(UserError, match=r"could not copy .*No space left on device"):
        hooks._copy_whole(fails_halfway)(str(source), str(target), overwrite=True)
    assert sorted(tmp_path.iterdir()) == [source, target][: 1 + there_before]
    assert not there_before or target.read_bytes() == b"old"

    assert PathManager.copy(str(source), str(target), overwrite=True)
    assert target.read_bytes() == source.read_bytes()
    assert sorted(tmp_path.iterdir()) == [source, target]


@pytest.fixture
def small_disk(tmp_path: Path):
    """Mounts a file system of so many bytes; skips the test where that is not allowed."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(size: int) -> Path:
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
        if os.geteuid() or subprocess.run(command, capture_output=True).returncode:
            pytest.skip("may not mount a file system here")
        return folder

    yield mount
    if os.path.ismount(folder):
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("room", "complete"),
    [
        (0.5, []),  # the first write fails
        (1.5, ["checkpoint_best.pt"]),  # the first copy fails
        (2.5, ["checkpoint_best.pt", "checkpoint_last.pt"]),  # the second write fails
    ],
)
def test_a_full_disk(data, trained, small_disk, room, complete):
    size = trained.stat().st_size
    folder = small_disk(int(room * size))
    # Saves at the ends of epoch 1 and 2.
    options = ["--batch-size", 100, "--max-epoch", 2]
    failed = train(data, folder, *options, fails=True)
    assert "free some space and rerun the same command" in failed.error()
    assert sorted(path.name for path in folder.iterdir()) == complete
    for name in complete:
        assert updates(folder / name) == 2
    subprocess.run(["mount", "-o", f"remount,size={5 * size}", str(folder)], check=True)
    train(data, folder, *options)
    assert updates(folder / "checkpoint_last.pt") == 4
