"""Averaging the weights of several checkpoints, which often improves translations."""

import os
import re
from dataclasses import replace
from operator import attrgetter
from pathlib import Path

import torch
from torch import Tensor

from nmt_moe.checkpoint import dictionaries
from nmt_moe.checkpoint.files import write
from nmt_moe.checkpoint.record import Checkpoint
from nmt_moe.common.errors import UserError
from nmt_moe.common.files import atomic_write, is_taken

_OF_A_TRAINING = re.compile(r"checkpoint(\d+|_\d+_\d+|_last)(-rank-\d+)?\.pt")
_MOVING = ("ema_fp32_params", "ema")  # in fairseq's state of a training; the first in float32
_CHUNK = 1 << 22  # numbers that are summed at a time


def average(files: list[str], out: str, force: bool = False, moving: bool = False) -> None:
    """Write a checkpoint with the mean of the weights; everything else is that of the newest.

    Sums are computed in float64, the means have the type of the weights. Integer buffers are those
    of the newest checkpoint. The optimizer's state is left out, as it belongs to one of them.
    Tensors stay in their files until they are used, so memory holds only the result.

    Args:
        files: complete checkpoints of one model.
        out: the file to write.
        force: replace ``out`` if it exists.
        moving: take in place of the weights the exponential moving average of them that fairseq's
            ``--store-ema`` keeps in each file.

    Raises:
        UserError: parts of checkpoints, different models, files without a moving average, or
            ``out`` exists.
    """
    if is_taken(Path(out)) and not force:
        raise UserError(f"there is {out} already: give --force to replace it")
    found = [Checkpoint.complete(file) for file in dict.fromkeys(files)]
    if moving:
        found = [_moving(checkpoint) for checkpoint in found]
    newest = max(found, key=attrgetter("updates"))
    for checkpoint in found:
        if any(weight.dtype == torch.uint8 for weight in checkpoint.model.values()):
            raise UserError(f"{checkpoint.path} is in int8, which has no mean: take float32")
        _check_same(newest, checkpoint)
        dictionaries.check_same(newest, checkpoint)
    models = [newest.model, *(one.model for one in found if one is not newest)]
    whole = newest.state | {"model": _mean(models)}
    whole.pop("last_optimizer_state", None)
    kept = whole.get("extra_state", {}).items()  # but for moving averages, which are of one of them
    whole["extra_state"] = {name: value for name, value in kept if name not in _MOVING}
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    with atomic_write([Path(out)], "wb") as [written]:
        write(whole, written, remove=False)


def _moving(checkpoint: Checkpoint) -> Checkpoint:
    """The same checkpoint with the moving average in place of its weights."""
    extra = checkpoint.state.get("extra_state", {})
    weights = next((extra[name] for name in _MOVING if extra.get(name)), None)
    if weights is None:
        raise UserError(
            f"{checkpoint.path} has no moving average: train with --store-ema, or leave out --ema"
        )
    model = {name: weights[name] for name in checkpoint.model}
    return replace(checkpoint, model=model)


def last(folder: str, number: int) -> list[str]:
    """The newest checkpoints of a training by their number of updates, the newest first.

    Counts those that fairseq writes at the end of an epoch or every so many updates, and the last
    one. Of two with the same number of updates, one is taken.

    Returns:
        ``number`` files, or all if there are fewer.

    Raises:
        UserError: there are none, or they are parts.
    """
    if not os.path.isdir(folder):
        raise UserError(f"--last: {folder} is no folder")
    found = {
        Checkpoint.complete(path, checked=True).updates: str(path)
        for path in sorted(Path(folder).iterdir())
        if _OF_A_TRAINING.fullmatch(path.name)
    }
    if not found:
        raise UserError(
            f"--last: {folder} holds no checkpoint of a training, such as checkpoint_3_5000.pt, "
            "checkpoint3.pt or checkpoint_last.pt"
        )
    return [found[updates] for updates in sorted(found, reverse=True)[:number]]


def _check_same(first: Checkpoint, second: Checkpoint) -> None:
    """Raise a :class:`UserError` that names the first parameter in which two models differ."""
    for name in [*first.model, *second.model]:
        if name not in second.model or name not in first.model:
            has, lacks = (first, second) if name in first.model else (second, first)
            what = f"{has.path} has {name}, and {lacks.path} has not"
        elif (here := _kind(first.model[name])) != (there := _kind(second.model[name])):
            what = f"{name} is {here} in {first.path}, {there} in {second.path}"
        else:
            continue
        raise UserError(f"{what}: these are different models, which have no mean")


def _kind(weight: Tensor) -> str:
    return f"{list(weight.shape)} {str(weight.dtype).removeprefix('torch.')}"


def _mean(models: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of all floating-point tensors; a tensor that has two names stays one tensor."""
    first, means, done = models[0], {}, {}
    for name, weight in first.items():
        place = (weight.data_ptr(), weight.shape, weight.stride())
        if place not in done:
            done[place] = _mean_of([model[name] for model in models])
        means[name] = done[place]
    return means


def _mean_of(weights: list[Tensor]) -> Tensor:
    if not weights[0].is_floating_point():
        return weights[0]
    # A mean of half-precision weights lies between those that half precision has.
    dtype = torch.promote_types(weights[0].dtype, torch.float32)
    mean = torch.empty(weights[0].shape, dtype=dtype)
    pieces = [weight.reshape(-1).split(_CHUNK) for weight in weights]
    for out, *same in zip(mean.view(-1).split(_CHUNK), *pieces, strict=True):
        total = torch.zeros(out.shape, dtype=torch.float64)
        for piece in same:
            total += piece
        out.copy_(total / len(weights))
    return mean
