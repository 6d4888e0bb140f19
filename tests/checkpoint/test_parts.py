"""Parts of checkpoints without a training: merged, split, inspected, and refused by name."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from fairseq.checkpoint_utils import torch_persistent_save

import nmt_moe.plugin  # noqa: F401 (applies the fixes)
from nmt_moe.checkpoint.__main__ import main
from nmt_moe.checkpoint.convert import merge, split
from nmt_moe.checkpoint.parts import MARK, _replaced, check, judge, new_mark, part_file, part_files
from nmt_moe.checkpoint.summary import summary
from nmt_moe.common.errors import UserError
from nmt_moe.moe.mesh import mesh_for, set_training_mesh
from tests.parallel.processes import run_in
from tests.test_training import flat

E, D, H = 8, 3, 5


def whole_state(updates: int = 7, plain: bool = False) -> dict[str, Any]:
    """A complete checkpoint: two mixtures, and dense weights of the same number of dimensions."""
    torch.manual_seed(0)
    model = {"encoder.gate.w": torch.randn(E // 4, D, 4), "encoder.w": torch.randn(D, D)}
    model["encoder.same"] = model["encoder.w"]
    for layer in (1, 2):
        model[f"encoder.{layer}.moe.experts.w_in"] = torch.randn(E, D, H).bfloat16()
        model[f"encoder.{layer}.moe.experts.w_out"] = torch.randn(E, H, D).bfloat16()
    state: dict[int, dict] = {}
    for name, weight in model.items():
        if name == "encoder.same":
            continue
        shape, step = weight.shape, torch.tensor(7.0)
        factored = {"row": shape[:2], "column": (E, shape[-1]), "updates": (E,)}
        if ".experts." in name and not plain:
            state[len(state)] = {key: torch.randn(size) for key, size in factored.items()}
        else:
            moments = {key: torch.randn(shape) for key in ("exp_avg", "exp_avg_sq")}
            state[len(state)] = {"step": step, **moments}
        if weight.dtype == torch.bfloat16:  # as --memory-efficient-bf16 has it
            left = torch.randint(-(2**15), 2**15, shape, dtype=torch.int16)
            state[len(state) - 1]["remainder"] = left
    groups = [{"plain": plain, "lr": 0.1, "params": list(state)}]
    options = {"moe_experts": E, "moe_expert_parallel_size": 1, "_name": "lstm_moe_tiny"}
    return {
        "cfg": {
            "model": options | {"moe_sharded_checkpoint": False, "base_layers": 0},
            "task": {"_name": "translation"},
            "optimizer": {"_name": "moe_adam"},
            "checkpoint": {"checkpoint_suffix": ""},
        },
        "model": model,
        "optimizer_history": [{"num_updates": updates}],
        "extra_state": {"train_iterator": {"epoch": 2}},
        "last_optimizer_state": {"state": state, "param_groups": groups},
    }


@pytest.fixture
def whole(tmp_path: Path) -> str:
    path = tmp_path / "whole.pt"
    torch.save(whole_state(), path)
    return str(path)


def load(path: Path | str) -> dict[str, Any]:
    return torch.load(path, weights_only=True)


def refused(capsys, *arguments: object) -> str:
    """The one line of a command that fails."""
    assert main([str(argument) for argument in arguments]) == 1
    [line] = capsys.readouterr().err.splitlines()
    return line


@pytest.mark.parametrize(("parts", "team"), [(2, 0), (8, 0), (4, 2), (12, 0)])
@pytest.mark.parametrize("plain", [False, True])
def test_split_and_merged_again_it_is_the_same(parts, team, plain, tmp_path):
    original, out = tmp_path / "whole.pt", tmp_path / "merged.pt"
    torch.save(whole_state(plain=plain), original)
    names = split(str(original), parts, str(tmp_path / "part"), team)
    assert names == [str(tmp_path / f"part-rank-{place}.pt") for place in range(parts)]
    size = team or {2: 2, 8: 8, 12: 4}[parts]
    for place, name in enumerate(names):
        part = load(name)
        here = slice(place % size * E // size, (place % size + 1) * E // size)
        for key, weight in whole_state(plain=plain)["model"].items():
            assert torch.equal(part["model"][key], weight[here] if ".experts." in key else weight)
        assert part["cfg"]["model"]["moe_expert_parallel_size"] == size
        assert part["cfg"]["model"]["base_layers"] == 1
        assert part["cfg"]["checkpoint"]["checkpoint_suffix"] == f"-rank-{place}"
        assert part[MARK]["part"] == place and part[MARK]["of"] == parts
    merge(names[:size] if team else [str(tmp_path / "part.pt")], str(out))
    got, want = flat(load(out)), flat(whole_state(plain=plain))
    assert got.keys() == want.keys()
    for name, leaf in want.items():
        assert torch.equal(got[name], leaf) if torch.is_tensor(leaf) else got[name] == leaf, name
    assert abs(out.stat().st_size - original.stat().st_size) < 500  # what was shared still is
    assert {path.suffix for path in tmp_path.iterdir()} == {".pt"}


def test_merge_names_what_is_wrong(whole, tmp_path, capsys):
    out, one, other = tmp_path / "out.pt", str(tmp_path / "one"), str(tmp_path / "other")
    arguments = ["--out", out]
    assert "there is no " in refused(capsys, "merge", one, *arguments)
    first, second = split(whole, 2, one)
    stranger = split(whole, 2, other)[1]

    line = refused(capsys, "merge", first, stranger, *arguments)
    assert f"{first} and {stranger} are of different trainings" in line
    state = load(second)
    state[MARK]["num_updates"] = 8
    torch.save(state, second)
    line = refused(capsys, "merge", one, *arguments)
    assert f"{first} and {second} have 7 and 8 updates: they make no whole" in line
    assert f"part 1 is missing beside {first}" in refused(capsys, "merge", first, *arguments)
    assert "is a complete checkpoint, not a part" in refused(capsys, "merge", whole, *arguments)
    Path(second).write_bytes(b"no")
    assert f"{second} is no checkpoint" in refused(capsys, "merge", one, *arguments)
    out.write_text("precious")
    assert "give --force" in refused(capsys, "merge", first, *arguments)
    assert out.read_text() == "precious"
    assert main(["merge", other, *map(str, arguments), "--force"]) == 0
    assert MARK not in load(out)


def test_split_names_what_is_wrong(whole, tmp_path, capsys):
    arguments = ["--out", tmp_path / "part", "--parts"]
    assert "at least 2" in refused(capsys, "split", whole, *arguments, 1)
    assert "8 experts cannot be spread over 3" in refused(capsys, "split", whole, *arguments, 3)
    size = ["--moe-expert-parallel-size", 4]
    assert "does not divide the 6 processes" in refused(
        capsys, "split", whole, *arguments, 6, *size
    )
    assert not list(tmp_path.glob("part*"))

    split(whole, 4, str(tmp_path / "part"))
    part = tmp_path / "part-rank-3.pt"
    assert f"{part} is a part" in refused(
        capsys, "split", part, "--out", tmp_path / "x", "--parts", 2
    )
    assert "give --force" in refused(capsys, "split", whole, *arguments, 2)
    split(whole, 2, str(tmp_path / "part"), force=True)
    assert len(list(tmp_path.glob("part*"))) == 2  # those of the four are gone

    state = whole_state()
    state["last_optimizer_state"]["param_groups"] = [{"lr": 0.1}]
    torch.save(state, whole)
    assert "without --optimizer moe_adam" in refused(
        capsys, "split", whole, *arguments, 2, "--force"
    )
    state["model"] = {"w": torch.ones(2)}
    torch.save(state, whole)
    assert "has no experts" in refused(capsys, "split", whole, *arguments, 2, "--force")
    assert len(list(tmp_path.glob("part*"))) == 2


@pytest.mark.parametrize(("batches", "epoch"), [(7, 2), (0, 1)])
def test_inspect_names_the_epoch_of_the_last_update(batches: int, epoch: int, tmp_path) -> None:
    """At the end of an epoch fairseq saves the next one, and 0 batches of it."""
    state = whole_state()
    state["extra_state"]["train_iterator"]["iterations_in_epoch"] = batches
    torch.save(state, tmp_path / "whole.pt")
    assert summary(str(tmp_path / "whole.pt"))["epoch"] == epoch


def test_inspect_tells_complete_from_part(whole, tmp_path, capsys):
    assert main(["inspect", whole, "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    dense, experts = E // 4 * D * 4 + D * D, 2 * 2 * E * D * H
    assert figures["part"] is None and figures["updates"] == 7 and figures["epoch"] == 2
    assert figures["parameters"] == dense + experts
    assert figures["parameters_in_experts"] == experts
    assert figures["dtypes"] == ["bfloat16", "float32"]
    assert figures["optimizer"] == "moe_adam"
    rows = 4 * 2 * (2 * dense + 2) // 2 + 2 * 4 * E * 2 * (D + H + 1)
    rows += 2 * experts  # remainders
    assert figures["optimizer_state_bytes"] == rows
    assert figures["options"]["moe_experts"] == E

    part = split(whole, 4, str(tmp_path / "part"))[3]
    assert main(["inspect", part]) == 0
    shown = capsys.readouterr().out
    assert "part 3 of 4" in shown and "lstm_moe_tiny, task translation" in shown
    assert f"{dense:,} dense, {experts // 4:,} in experts of this part" in shown
    Path(part).write_bytes(b"no")
    assert "is no checkpoint" in refused(capsys, "inspect", part)
    assert "No such file" in refused(capsys, "inspect", tmp_path / "missing.pt")


def test_what_processes_find_must_be_one_checkpoint():
    def marks(*places: int, of: int = 2, run: str = "a", updates: int = 5) -> list[dict]:
        return [{"mark": new_mark(place, of, 2, run, updates)} for place in places]

    path, first, second = "d/last.pt", part_file("d/last.pt", 0), part_file("d/last.pt", 1)
    none = {"instead": None}
    judge(path, [none, none], 2)  # a new training
    judge(path, marks(0, 1), 2)
    refused = {
        f"{second} is missing beside {first}": [*marks(0), none],
        f"{first} is missing beside {second}": [none, *marks(1)],
        f"{first} is missing beside d/last-rank-7.pt": [none, {"instead": "d/last-rank-7.pt"}],
        "have 5 and 6 updates": [*marks(0), *marks(1, updates=6)],
        "are of different trainings": [*marks(0), *marks(1, run="b")],
        "one of 4 parts, and this training has 2 processes: start 4": marks(0, 1, of=4),
        f"{first} is part 1: give the file its old name": marks(1, 0),
        "d/last.pt is complete, and there are no parts of it": [none, {"instead": path}],
        "it is damaged": [*marks(0), {"error": "it is damaged"}],
    }
    for message, reports in refused.items():
        with pytest.raises(UserError) as caught:
            judge(path, reports, 2)
        assert message in str(caught.value)
    with pytest.raises(UserError, match="give --moe-expert-parallel-size 2, or"):
        judge(path, marks(0, 1, 2, 3, of=4), 4)


def found(*states: tuple[int, int | None]) -> list[dict]:
    """Of each process: the updates of its part, and of a new one that is not in place yet."""
    reports = []
    for part, (updates, draft) in enumerate(states):
        report = {"mark": new_mark(part, len(states), 3, "a", updates)}
        if draft is not None:
            report["draft"] = new_mark(part, len(states), 3, "a", draft)
        reports.append(report)
    return reports


def test_new_parts_take_their_place_only_where_all_of_them_are_there(tmp_path):
    """Of three processes killed as they put them in place, two had not done so."""
    path = str(tmp_path / "last.pt")
    for part in range(3):
        Path(f"{part_file(path, part)}.tmp").write_text("new")
    one_lacks_its_own = found((2, None), (1, 2), (1, None))
    one_is_of_another_update = found((2, None), (1, 2), (1, 1))
    for reports in (one_lacks_its_own, one_is_of_another_update, found((1, 2), (1, 2), (1, 2))):
        assert not any(_replaced(path, reports, part) for part in range(3))
        assert not list(tmp_path.glob("*.pt"))
    assert all(_replaced(path, found((2, None), (1, 2), (1, 2)), part) for part in range(3))
    assert [Path(file).name for file in part_files(path)] == ["last-rank-1.pt", "last-rank-2.pt"]


def test_processes_agree_and_replace_parts_only_together(tmp_path):
    path = str(tmp_path / "last.pt")
    for place, (missing, left) in enumerate(run_in(2, tmp_path / "run", two_saves, path)):
        assert f"{part_file(path, 1)} is missing beside {part_file(path, 0)}" in missing
        assert left["optimizer_history"] == [{"num_updates": 1}] and left[MARK]["part"] == place


def two_saves(path: str) -> tuple[str, dict[str, Any]]:
    """The second fails in one process: what both ranks have then, and before if one is gone."""
    mesh = mesh_for(4, 2, parts=True)
    set_training_mesh(mesh)
    own = part_file(path, mesh.rank)
    check(path)
    torch_persistent_save(whole_state(updates=1), own)
    check(path)
    away = Path(own + ".away")
    if mesh.rank == 1:
        Path(own).rename(away)
    with pytest.raises(UserError) as missing:
        check(path)
    if mesh.rank == 1:
        away.rename(own)
        torch.save = fails
    with pytest.raises((UserError, RuntimeError)):
        torch_persistent_save(whole_state(updates=2), own)
    return str(missing.value), load(own)


def fails(state: Any, file: Any) -> None:
    raise OSError("the disk is full")


def test_folders_for_the_files_are_made(tmp_path):
    original, merged = tmp_path / "whole.pt", tmp_path / "merged" / "whole.pt"
    torch.save(whole_state(), original)
    names = split(str(original), 2, str(tmp_path / "parts" / "part"))
    merge(names, str(merged))
    assert merged.is_file()
