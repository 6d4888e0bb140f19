"""Damaged checkpoints: refused in one line that names the file, or loaded exactly."""

import os
import pickle
import random
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from fairseq import checkpoint_utils

from nmt_moe.checkpoint import files
from nmt_moe.checkpoint.__main__ import main as checkpoint_command
from nmt_moe.common.errors import UserError
from nmt_moe.report.__main__ import main as report_command
from nmt_moe.translate.__main__ import main as translate_command
from tests.commands import PLUGIN, run, train
from tests.tally import Tally
from tests.test_training import flat

READERS = [files.read, checkpoint_utils.load_checkpoint_to_cpu]


@pytest.fixture
def chance() -> random.Random:
    """Other damage in each run; the seed is shown when a test fails."""
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    return random.Random(seed)


def leaves(state: Any) -> dict[str, Any]:
    """All that a checkpoint holds; what is mapped from the file is copied, for it may change."""
    return {
        name: leaf.clone() if torch.is_tensor(leaf) else leaf for name, leaf in flat(state).items()
    }


def equal(got: dict[str, Any], want: dict[str, Any]) -> bool:
    return got.keys() == want.keys() and all(
        torch.equal(got[name], leaf) if torch.is_tensor(leaf) else got[name] == leaf
        for name, leaf in want.items()
    )


class Judge:
    """Reads a file in the place of a whole one, and counts which of both answers there were."""

    def __init__(self, trained: Path, folder: Path, tally: Tally) -> None:
        self.whole = trained.read_bytes()
        self.path = folder / "damaged.pt"
        self.path.write_bytes(self.whole)
        self.want = [leaves(read(str(self.path))) for read in READERS]
        self.tally = tally
        self.refused = self.exact = 0

    def __call__(self, content: bytes, what: str) -> None:
        self.path.unlink()
        self.path.write_bytes(content)
        for read, want in zip(READERS, self.want, strict=True):
            try:
                state = read(str(self.path))
            except UserError as error:
                assert str(error).startswith(f"{self.path} is no checkpoint, or is damaged"), what
                assert "\n" not in str(error), what
                self.refused += 1
                continue
            same = equal(leaves(state), want)
            self.tally(losses=int(not same))
            assert same, f"{what}: loaded, but not what was saved"
            self.exact += 1
        self.tally(faults=1)


@pytest.fixture
def judge(trained: Path, tmp_path: Path, tally: Tally) -> Judge:
    return Judge(trained, tmp_path, tally)


def flipped(content: bytes, place: int, chance: random.Random) -> bytes:
    changed = bytearray(content)
    changed[place] ^= 1 << chance.randrange(8)
    return bytes(changed)


def test_truncated_at_20_places(judge: Judge, chance: random.Random) -> None:
    for _ in range(20):
        length = chance.randrange(len(judge.whole))
        judge(judge.whole[:length], f"the first {length} bytes")
    assert judge.exact == 0


def test_200_random_flips(judge: Judge, chance: random.Random) -> None:
    for _ in range(200):
        place = chance.randrange(len(judge.whole))
        judge(flipped(judge.whole, place, chance), f"byte {place}")
    assert judge.refused > 200  # of 400: most bytes are those of tensors


@pytest.mark.slow
def test_200_flips_in_what_holds_the_tensors_together(judge: Judge, chance: random.Random) -> None:
    """Headers, names, sizes and the pickled structure, which few random flips would meet."""
    with zipfile.ZipFile(judge.path) as archive:
        entries = archive.infolist()
        start = archive.start_dir
    places = list(range(start, len(judge.whole)))
    for entry in entries:
        places += range(entry.header_offset, entry.header_offset + 128)
        if entry.filename.endswith("data.pkl"):
            places += range(entry.header_offset, entry.header_offset + entry.file_size)
    for place in chance.sample(places, 200):
        judge(flipped(judge.whole, place, chance), f"byte {place}")
    assert judge.refused > 100 and judge.exact > 0  # padding may be anything


def test_a_tensor_marked_as_a_folder(judge: Judge) -> None:
    """One bit that no checksum covers: torch would read nothing of the tensor, and say nothing."""
    with zipfile.ZipFile(judge.path) as archive:
        place = archive.start_dir
        for entry in archive.infolist():
            if entry.filename.endswith("data/0"):
                break
            place += 46 + len(entry.filename) + len(entry.extra) + len(entry.comment)
    content = bytearray(judge.whole)
    content[place + 38] ^= 0x10
    judge(bytes(content), "marked as a folder")
    assert judge.refused == len(READERS)


def another_run(path: Path, folder: Path) -> bytes:
    """A checkpoint of the same structure, with other numbers."""
    state = torch.load(path, weights_only=True)
    for weight in state["model"].values():
        weight.add_(1)
    files.write(state, str(folder / "other.pt"))
    return (folder / "other.pt").read_bytes()


def test_two_runs_mixed(judge: Judge, trained: Path, tmp_path: Path, chance: random.Random) -> None:
    """The beginning of one file with the end of the other, and a block of one in the other."""
    other = another_run(trained, tmp_path)
    with zipfile.ZipFile(judge.path) as archive:
        held = max(archive.infolist(), key=lambda entry: entry.header_offset).header_offset
    for _ in range(20):
        start, end = sorted(chance.sample(range(held), 2))
        judge(judge.whole[:end] + other[end:], f"the other from {end}")
        judge(judge.whole[:start] + other[start:end] + judge.whole[end:], f"{start} to {end}")
    assert judge.refused > 40


def commands(damaged: Path, folder: Path) -> Iterator[tuple[Callable[[list[str]], int], list[str]]]:
    """Each command of ours that reads a checkpoint."""
    shutil.copy(damaged, folder / "checkpoint_1_10.pt")
    out = ["--out", str(folder / "out")]
    yield checkpoint_command, ["inspect", str(damaged)]
    yield checkpoint_command, ["merge", str(damaged), *out]
    yield checkpoint_command, ["split", str(damaged), "--parts", "2", *out]
    yield checkpoint_command, ["average", str(damaged), str(damaged), *out]
    yield checkpoint_command, ["average", str(folder), "--last", "1", *out]
    yield translate_command, [str(damaged), "--device", "cpu"]
    yield report_command, [str(damaged), str(folder), "--device", "cpu", *out]


def tensor_bytes(path: Path) -> int:
    """A place in the numbers of the largest tensor."""
    with zipfile.ZipFile(path) as archive:
        tensors = [entry for entry in archive.infolist() if "/data/" in entry.filename]
    entry = max(tensors, key=lambda entry: entry.file_size)
    return entry.header_offset + 256 + entry.file_size // 2


def test_every_command_refuses_another_number(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], tally: Tally
) -> None:
    """One bit of one weight: torch loads it as if nothing was wrong."""
    damaged = tmp_path / "run" / "checkpoint_best.pt"
    damaged.parent.mkdir()
    damaged.write_bytes(flipped(trained.read_bytes(), tensor_bytes(trained), random.Random(0)))
    assert torch.load(damaged, weights_only=True)["model"]
    for command, arguments in commands(damaged, damaged.parent):
        assert command(arguments) == 1, arguments
        error = capsys.readouterr().err
        assert error.startswith(f"error: {damaged.parent}/checkpoint_"), error
        assert "is no checkpoint, or is damaged or incomplete" in error
        assert error.count("\n") == 1, error
        tally(inputs=1)
    assert not list(damaged.parent.glob("out*"))


class Runs:
    """Unpickling it calls a function."""

    def __init__(self, function: Callable, *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple:
        return self.call


def test_every_command_refuses_a_foreign_class(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], tally: Tally
) -> None:
    """Wherever it is, and whichever: classes of torch and fairseq, too, if they are not data."""
    ran = tmp_path / "it ran"
    foreign = {
        "posix.mkdir": Runs(os.mkdir, str(ran)),
        "eval": Runs(eval, f"__import__('os').mkdir({str(ran)!r})"),
        "getattr": Runs(getattr, "", "upper"),
        "torch.hub.load": Runs(torch.hub.load, "nobody/nothing"),
        "fairseq.checkpoint_utils.torch_persistent_save": Runs(
            checkpoint_utils.torch_persistent_save, "", str(ran)
        ),
    }
    state = torch.load(trained, weights_only=True)
    folder = tmp_path / "run"
    folder.mkdir()
    path = folder / "checkpoint_best.pt"
    for where in (["model"], ["cfg"], ["last_optimizer_state", "state", 0]):
        for name, thing in foreign.items():
            changed: Any = pickle.loads(pickle.dumps(state))
            inner = changed
            for key in where:
                inner = inner[key]
            inner["more"] = thing
            torch.save(changed, path)
            for read in READERS:
                with pytest.raises(UserError) as refused:
                    read(str(path))
                message = str(refused.value)
                assert message.startswith(f"{path} holds an object of class {name}, "), message
                assert "\n" not in message
                tally(inputs=1)
    for command, arguments in commands(path, folder):
        assert command(arguments) == 1, arguments
        error = capsys.readouterr().err
        assert "holds an object of class " in error and error.count("\n") == 1, error
    assert not ran.exists()


@pytest.mark.slow
def test_fairseqs_commands_refuse_another_number(data: Path, trained: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "checkpoint_last.pt"
    damaged.write_bytes(flipped(trained.read_bytes(), tensor_bytes(trained), random.Random(0)))
    before = damaged.read_bytes()
    where = [data, "--user-dir", PLUGIN, "--path", damaged, "--cpu"]
    for finished in (
        run("fairseq-generate", *where, fails=True),
        train(data, tmp_path, "--max-update", 151, fails=True),  # one more, were it loaded
    ):
        assert finished.error().startswith(f"{damaged} is no checkpoint, or is damaged")
    assert damaged.read_bytes() == before
