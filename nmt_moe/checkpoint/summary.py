"""A summary of what a checkpoint holds: ``nmt-moe checkpoint inspect``."""

import os
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from torch import Tensor

from nmt_moe.checkpoint.convert import is_expert
from nmt_moe.checkpoint.files import own_options
from nmt_moe.checkpoint.record import Checkpoint


def summary(file: str) -> dict[str, Any]:
    """All figures, by the names of ``--json``.

    Raises:
        UserError: the file is no checkpoint, or was written by an older fairseq.
    """
    checkpoint = Checkpoint.read(file)
    arch, task = (checkpoint.options(of)["_name"] for of in ("model", "task"))
    options = own_options(checkpoint.cfg, "model")
    weights = _distinct(checkpoint.model, options)
    optimizer = checkpoint.state.get("last_optimizer_state")
    return {
        "file": file,
        "bytes": os.path.getsize(file),
        "part": checkpoint.part,
        "updates": checkpoint.updates,
        "epoch": _epoch(checkpoint.state["extra_state"]["train_iterator"]),
        "arch": arch,
        "task": task,
        "options": {
            name: value
            for name, value in options.items()
            if name[0] != "_" and name != "base_layers" and value is not None
        },
        "dtypes": sorted({str(weight.dtype).removeprefix("torch.") for weight in weights.values()}),
        "parameters": _numbers(weights.values()),
        "parameters_in_experts": _numbers(
            weight for name, weight in weights.items() if is_expert(name)
        ),
        "optimizer": None if optimizer is None else checkpoint.options("optimizer")["_name"],
        "optimizer_state_bytes": 0 if optimizer is None else _bytes(optimizer["state"]),
    }


def _epoch(batches: dict[str, Any]) -> int:
    """The epoch of the last update: at the end of one, fairseq notes the next epoch."""
    return int(batches["epoch"]) - (batches.get("iterations_in_epoch") == 0)


def _distinct(named: Mapping[str, Tensor], options: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors without those that are another tensor under a second name.

    fairseq writes both, where it copies each from a GPU or from half precision.
    """
    second = {"decoder.output.words.weight"}
    if options.get("share_all_embeddings"):
        second.add("decoder.embedding.weight")
    by_place = {
        (weight.data_ptr(), weight.shape): (name, weight)
        for name, weight in named.items()
        if name not in second and f"{name.removesuffix('.scale')}.panels" not in named
    }
    return dict(by_place.values())


def _numbers(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() for tensor in tensors)


def _bytes(state: Any) -> int:
    if isinstance(state, dict):
        return sum(map(_bytes, state.values()))
    return state.nbytes if isinstance(state, Tensor) else 0


def table(figures: dict[str, Any]) -> Iterator[str]:
    """The figures as lines of text."""
    part, experts = figures["part"], figures["parameters_in_experts"]
    yield figures["file"]
    if part is None:
        yield _row("complete", f"{figures['bytes']:,} bytes")
    else:
        yield _row(
            f"part {part['part']} of {part['of']}",
            f"{figures['bytes']:,} bytes; {part['team']} parts have all experts",
        )
    yield _row("training", f"{figures['updates']:,} updates, epoch {figures['epoch']}")
    yield _row("architecture", f"{figures['arch']}, task {figures['task']}")
    options = ", ".join(f"{name} {value}" for name, value in figures["options"].items())
    first, *more = textwrap.wrap(options, 80)
    yield _row("options", first)
    yield from (_row("", line) for line in more)
    yield _row(
        "parameters",
        f"{figures['parameters']:,}: {figures['parameters'] - experts:,} dense, {experts:,} in "
        f"experts{'' if part is None else ' of this part'}; {', '.join(figures['dtypes'])}",
    )
    if figures["optimizer"] is None:
        yield _row("optimizer", "no state saved")
    else:
        size = figures["optimizer_state_bytes"]
        yield _row("optimizer", f"{figures['optimizer']}, {size:,} bytes of state")


def _row(name: str, text: str) -> str:
    return f"  {name:14} {text}"
