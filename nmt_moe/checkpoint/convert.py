"""Converting the parts of a checkpoint into a complete one, and back."""

import mmap
import os
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nmt_moe.checkpoint import dictionaries
from nmt_moe.checkpoint.files import write
from nmt_moe.checkpoint.parts import check_together, mark_in, new_mark
from nmt_moe.checkpoint.record import MARK, Checkpoint, part_file, part_files
from nmt_moe.common.errors import UserError
from nmt_moe.common.files import atomic_write, is_taken
from nmt_moe.moe.mesh import expert_parallel_size


def merge(files: list[str], out: str, force: bool = False) -> None:
    """Write the complete checkpoint of some parts.

    Tensors stay in memory-mapped files, so they need not fit into memory.

    Args:
        files: the parts, at least those that hold every expert once; or their common name without
            ``-rank-N``.
        out: the file to write.
        force: replace ``out`` if it exists.

    Raises:
        UserError: parts are missing or do not belong together, or ``out`` exists.
    """
    if len(files) == 1 and not os.path.isfile(files[0]):
        files, name = part_files(files[0]), files[0]
        if not files:
            raise UserError(f"there is no {name}, and no part {part_file(name, 0)}")
    _refuse([out], force)
    found = {file: Checkpoint.read(file) for file in files}
    marks = {file: mark_in(part) for file, part in found.items()}
    check_together(marks)
    for part in found.values():
        dictionaries.check_same(found[files[0]], part)
    by_place = {marks[file]["part"]: part.state for file, part in found.items()}
    team = marks[files[0]]["team"]
    missing = [str(place) for place in range(team) if place not in by_place]
    if missing:
        raise UserError(
            f"part {missing[0]} is missing beside {files[0]}: parts 0 to {team - 1} have every "
            "expert once"
        )
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    whole = by_place[0]
    del whole[MARK]
    _set_options(whole, team=1)
    stacks = [list(expert_tensors(by_place[place])) for place in range(team)]
    for slots in zip(*stacks, strict=True):
        container, key = slots[0]
        container[key] = _stacked([holder[key] for holder, key in slots], Path(out).parent)
    with atomic_write([Path(out)], "wb") as [file]:
        write(whole, file, remove=False)


def split(file: str, parts: int, out: str, team: int = 0, force: bool = False) -> list[str]:
    """Write the parts from which a training on a number of processes can resume.

    Args:
        file: a complete checkpoint.
        parts: the number of processes.
        out: the names of the parts without ``-rank-N.pt``.
        team: processes that share the experts, 0: as many as divide them and the processes.
        force: replace parts that exist.

    Returns:
        The files.

    Raises:
        UserError: the checkpoint cannot be split in this way, or parts exist.
    """
    before = part_files(out)
    _refuse(before, force)
    whole = Checkpoint.read(file)
    if whole.part is not None:
        raise UserError(f"{file} is a part of a checkpoint already: merge the parts first")
    experts = {len(weight) for name, weight in whole.model.items() if is_expert(name)}
    optimizer = whole.state.get("last_optimizer_state")
    if not experts:
        raise UserError(f"{file}: the model has no experts to spread over processes")
    if optimizer is not None and "plain" not in optimizer["param_groups"][0]:
        raise UserError(
            f"{file} is of a training without --optimizer moe_adam, which spread experts need"
        )
    size = expert_parallel_size(min(experts), team, parts)
    if size < 2:
        raise UserError(
            f"{min(experts)} experts cannot be spread over {parts} processes: choose --parts "
            "with a common divisor"
        )
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    run, names = uuid.uuid4().hex, [part_file(out, place) for place in range(parts)]

    def part(place: int) -> dict[str, Any]:
        own = Checkpoint.read(file, checked=True).state
        own[MARK] = new_mark(place, parts, size, run, whole.updates)
        _set_options(own, size, f"-rank-{place}")
        for container, key in list(expert_tensors(own)):
            # A copy: of a view, all that it is a view of would be saved.
            container[key] = container[key].chunk(size)[place % size].clone()
        return own

    with atomic_write([*map(Path, names)], "wb") as written:
        for place, one in enumerate(written):
            write(part(place), one, remove=False)
    for name in set(before) - set(names):
        os.remove(name)
    return names


def is_expert(name: str) -> bool:
    """Whether a parameter of this name is a stack of expert matrices."""
    name = name.removesuffix(".panels")  # in int8
    return name.endswith((".experts.w_in", ".experts.w_out"))


def expert_tensors(state: dict[str, Any]) -> Iterator[tuple[dict, Any]]:
    """The places (dict and key) of all tensors whose first dimension counts experts."""
    shapes = set()
    for name, weight in state["model"].items():
        if is_expert(name):
            shapes.add(weight.shape)
            yield state["model"], name
    # Optimizers know parameters by number only; plain Adam's state has their shape.
    for own in state.get("last_optimizer_state", {}).get("state", {}).values():
        if "row" in own or own["exp_avg"].shape in shapes:
            yield from ((own, name) for name, value in own.items() if value.dim())


def _set_options(state: dict[str, Any], team: int, suffix: str = "") -> None:
    """Set the options by which fairseq and this package tell a part from a whole."""
    state["cfg"]["model"] |= {
        "moe_expert_parallel_size": team,
        "moe_sharded_checkpoint": team > 1,
        "base_layers": int(team > 1),
    }
    state["cfg"]["checkpoint"]["checkpoint_suffix"] = suffix


def _stacked(tensors: list[Tensor], folder: Path) -> Tensor:
    """Concatenate tensors in a file instead of in memory. The file has no name, so nothing is left
    of it, even after a kill."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            for tensor in tensors:
                file.write(tensor.reshape(-1).view(torch.uint8).numpy().data)
            file.flush()
            held = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        whole = torch.frombuffer(held, dtype=tensors[0].dtype)
    except OSError as error:
        error.filename = str(folder)
        raise
    return whole.view(-1, *tensors[0].shape[1:])


def _refuse(files: list[str], force: bool) -> None:
    there = [file for file in files if is_taken(Path(file))]
    if there and not force:
        raise UserError(f"there is {there[0]} already: give --force to replace it")
