"""The load of the experts in TensorBoard: as a histogram, and over time as a picture."""

import math
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from fairseq.logging import metrics, progress_bar
from torch import Tensor

from nmt_moe.common import logged
from nmt_moe.fairseq_fixes.fix import Fix

ROWS = 256
"""Of more experts than these, neighbours share a row."""
COLUMNS = 256
"""When a picture has so many columns, two become one."""


class TensorboardWithExperts(progress_bar.TensorboardProgressBarWrapper):
    """Fairseq's, which it makes on the first process if there is a ``--tensorboard-logdir``.

    With each line of the log it writes for each MoE layer the histogram of the assignments since
    the last one, and at some the picture of all so far: into fairseq's own files, of which there
    is one for each kind of line.
    """

    meters: metrics.MetersDict

    def __iter__(self) -> Iterator[Any]:
        # fairseq has just made them: those of this epoch or of this validation, without a name.
        self.meters = metrics.get_active_aggregators()[-1]
        return super().__iter__()

    def _log_to_tensorboard(self, stats: Any, tag: str, step: int) -> None:
        meters = metrics.get_meters(tag) or self.meters
        for key, meter in meters.items():
            if key.startswith("_moe_counts/"):
                layer = key.removeprefix("_moe_counts/")
                _write(self._writer(tag), tag, layer, meter.sum.cpu(), step)
        super()._log_to_tensorboard(stats, tag, step)  # flushes


def _write(writer: Any, tag: str, layer: str, counts_E: Tensor, step: int) -> None:
    name = logged.of_layer(layer, "load")
    experts = len(counts_E)
    edge_R = _edges(experts)
    load_R = _sums(counts_E)
    writer.add_histogram_raw(
        name,
        min=0,
        max=experts,
        num=counts_E.sum().item(),
        sum=(torch.arange(experts) @ counts_E.long()).item(),
        sum_squares=(torch.arange(experts).square() @ counts_E.long()).item(),
        bucket_limits=edge_R[1:],
        bucket_counts=load_R.tolist(),
        global_step=step,
    )
    mean_R = load_R / _sums(torch.ones_like(counts_E)) / counts_E.mean().clamp_min(1e-9)
    before, history_CX = remember(f"{tag}/{layer}", step, mean_R)
    if due(before, step):
        from nmt_moe.fairseq_fixes.load_map import load_map  # long to import, and not always needed

        figure = load_map(layer, history_CX[:, 0], history_CX[:, 1:], edge_R)
        writer.add_figure(f"{name}_over_time", figure, step)


def _group(experts: int) -> int:
    """How many neighbours share a row."""
    return -(-experts // ROWS)


def _edges(experts: int) -> list[int]:
    """The first expert of each row, and their number."""
    return [*range(0, experts, _group(experts)), experts]


def _sums(v_E: Tensor) -> Tensor:
    """The sum of each row."""
    group = _group(len(v_E))
    return F.pad(v_E, (0, -len(v_E) % group)).view(-1, group).sum(1)


def remember(name: str, step: int, load_R: Tensor) -> tuple[int, Tensor]:
    """Add a column to a picture, which is kept in checkpoints.

    Returns:
        The step of the column before, 0 if there is none; and all columns, ``[C, 1 + R]``: the
        last step of each, and the mean load of each row in it. The older ones are of more steps.
    """
    with metrics.aggregate("moe_load", new_root=True) as kept:
        column_1X = torch.cat([torch.tensor([step]), load_R]).float().unsqueeze(0)
        metrics.log_concat_tensor(name, column_1X)
        history_CX = kept[name].tensor[:-1]
        # None is later, unless the training has gone back behind a checkpoint's meters.
        history_CX = history_CX[history_CX[:, 0] < step]
        before = int(history_CX[-1, 0]) if len(history_CX) else 0
        history_CX = torch.cat([history_CX, column_1X])
        if len(history_CX) == COLUMNS:
            pairs_P2X = history_CX.unflatten(0, (-1, 2))
            history_CX = torch.cat([pairs_P2X[:, 1, :1], pairs_P2X[:, :, 1:].mean(1)], dim=1)
        kept[name].tensor = history_CX
    return before, history_CX


def due(before: int, step: int) -> bool:
    """Whether to draw, which takes a while: ten times while the steps get ten times as many."""
    return before == 0 or int(math.log(step, 1.25)) > int(math.log(before, 1.25))


FIXES = (
    Fix(
        "fairseq.logging.progress_bar:TensorboardProgressBarWrapper",
        lambda wrapper: TensorboardWithExperts,
        "TensorBoard gets the load of the experts as histograms and pictures; fairseq's writer "
        "takes scalars only.",
    ),
)
