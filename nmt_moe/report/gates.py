"""Why experts that are balanced in training are not where the gates have no noise.

Of noisy top-k gates (section 2.1, appendix A) in checkpoints of a training, on one text: the clean
logits, the noise, and what each of both does to the load. Section 4's losses see the choices with
noise; a translation makes those without.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from nmt_moe.common.errors import UserError
from nmt_moe.common.files import atomic_write
from nmt_moe.common.table import markdown
from nmt_moe.moe.balance import cv_squared
from nmt_moe.moe.gating import NoisyTopKGate
from nmt_moe.plan.counts import mixtures
from nmt_moe.report.experts.analyse import open_model
from nmt_moe.report.experts.batches import Sentence, run
from nmt_moe.report.experts.data import find
from nmt_moe.runs.claims.pictures import saved
from nmt_moe.trained.model import TrainedModel

_TOKENS = 4000  # in a batch
_SEED = 1  # of the noise
SHARES = (1, 0.5, 0.2, 0.1, 0)
"""Of the noise, with which experts are chosen."""
FIGURES = {
    "clean": "spread of the clean logits",
    "experts": "of that between the experts' means",
    "noise": "noise",
    "kept": "choices without noise that are made with it",
    **{f"cv_{share}": f"CV(load) with {share:.0%} of the noise" for share in SHARES},
    "cv_without_means": "0%, without each expert's mean logit",
    "cv_equal_spreads": "0%, the same, and with spreads made equal",
    "cv_each_once": "0%, each wordpiece counted once",
}
"""What is measured, by its name in the JSON."""


def measure(checkpoint: Path, data: Path, split: str, limit: int) -> dict[str, Any]:
    """The figures of each layer of a checkpoint, on the first sentences of a split.

    Args:
        checkpoint: of a model with noisy top-k gates without groups.
        data: a folder of ``fairseq-preprocess``.
        split: of it.
        limit: how many sentences.

    Returns:
        ``updates`` of the checkpoint, and ``layers`` by name, each a dict as in ``FIGURES``.

    Raises:
        UserError: there are no such gates, or no such data.
    """
    trained = open_model(checkpoint, device="cpu")
    gates = {name: layer.gate for name, layer in mixtures(trained.model).items()}
    noisy = {name: gate for name, gate in gates.items() if isinstance(gate, NoisyTopKGate)}
    if not noisy:
        raise UserError(f"{checkpoint} has no noisy top-k gates without groups")
    rows: dict[str, list[Tensor]] = {name: [] for name in noisy}
    hooks = [
        gate.register_forward_pre_hook(lambda _, given, name=name: rows[name].append(given[0]))
        for name, gate in noisy.items()
    ]
    read: dict[str, list[Tensor]] = {"encoder": [], "decoder": []}
    for batch in run(trained, _sentences(trained, data, split, limit), _TOKENS):
        for stack, tokens in (("encoder", batch.source_BS), ("decoder", batch.read_BL)):
            if tokens is not None:  # the rows of a gate go step by step over all sentences
                steps = torch.from_numpy(tokens.T)
                read[stack].append(steps[steps != trained.pad])
    for hook in hooks:
        hook.remove()
    layers = {
        name: of_gate(gate, torch.cat(rows[name]), torch.cat(read[name.partition(".")[0]]))
        for name, gate in noisy.items()
    }
    return {"updates": trained.updates, "layers": layers}


def _sentences(trained: TrainedModel, data: Path, split: str, limit: int) -> Iterator[Sentence]:
    pairs = find([data], split, trained).pairs
    for number, pair in zip(range(limit), pairs, strict=False):
        yield Sentence(number, pair, None)


@torch.no_grad()
def of_gate(gate: NoisyTopKGate, x_TD: Tensor, wordpiece_T: Tensor) -> dict[str, float]:
    """The figures of one gate for tokens ``[T, D]`` and their wordpieces ``[T]``.

    Spreads are standard deviations of logits: of all but each token's mean, which a softmax does
    not see, of the means of the experts, and the mean of the noise's. ``kept`` is the share of a
    token's ``k`` experts without noise that it has with it. CVs are those of the number of tokens
    of an expert.
    """
    x_TD = x_TD.double()
    clean_TE = x_TD @ gate.w_gate.double()
    clean_TE -= clean_TE.mean(1, keepdim=True)
    stddev_TE = F.softplus(x_TD @ gate.w_noise.double()) * gate.noise_share
    generator = torch.Generator().manual_seed(_SEED)
    noise_TE = torch.randn(clean_TE.shape, generator=generator, dtype=x_TD.dtype) * stddev_TE
    mean_E, spread_E = clean_TE.mean(0), clean_TE.std(0, correction=0)

    def chosen(logits_TE: Tensor) -> Tensor:
        return logits_TE.topk(gate.k, dim=1).indices

    def cv(expert_TK: Tensor, weight_TK: Tensor | None = None) -> Tensor:
        weights = None if weight_TK is None else weight_TK.reshape(-1)
        load_E = torch.bincount(expert_TK.reshape(-1), weights, gate.num_experts)
        return cv_squared(load_E.double()).sqrt()

    clean_TK, noisy_TK = chosen(clean_TE), chosen(clean_TE + noise_TE)
    _, type_T, count_W = wordpiece_T.unique(return_inverse=True, return_counts=True)
    once_TK = (1 / count_W.double())[type_T, None].expand_as(clean_TK)
    figures = {
        "clean": clean_TE.std(correction=0),
        "experts": mean_E.std(correction=0),
        "noise": stddev_TE.mean(),
        "kept": (clean_TK[:, :, None] == noisy_TK[:, None, :]).any(2).double().mean(),
        **{f"cv_{share}": cv(chosen(clean_TE + share * noise_TE)) for share in SHARES},
        "cv_without_means": cv(chosen(clean_TE - mean_E)),
        "cv_equal_spreads": cv(chosen((clean_TE - mean_E) / spread_E)),
        "cv_each_once": cv(clean_TK, once_TK),
    }
    return {name: float(value) for name, value in figures.items()}


def write(found: Sequence[dict[str, Any]], about: dict[str, Any], out: Path) -> None:
    """Write ``gates.json``, ``gates.md`` and ``gates.svg`` of checkpoints, sorted by updates."""
    content = about | {"checkpoints": sorted(found, key=lambda one: one["updates"])}
    out.mkdir(parents=True, exist_ok=True)
    with atomic_write([out / "gates.json", out / "gates.md"]) as (file, page):
        file.write(json.dumps(content, indent=1) + "\n")
        page.writelines(f"{line}\n" for line in table(content["checkpoints"]))
    draw(content["checkpoints"], out / "gates.svg")


def table(checkpoints: Sequence[dict[str, Any]]) -> Iterator[str]:
    """A row for each layer and checkpoint."""
    rows = [
        [f"{layer}, {one['updates']:,}", *(f"{figures[name]:.2f}" for name in FIGURES)]
        for layer in checkpoints[0]["layers"]
        for one in checkpoints
        for figures in [one["layers"][layer]]
    ]
    return markdown(["layer, updates", *FIGURES.values()], rows)


def draw(checkpoints: Sequence[dict[str, Any]], path: Path) -> None:
    """A row for each layer: logits and noise, choices, and loads against the updates."""
    layers = [*checkpoints[0]["layers"]]
    panels = [["clean", "experts", "noise"], ["kept"], [name for name in FIGURES if "cv" in name]]
    updates = [one["updates"] for one in checkpoints]
    with saved(path, (15, 3.8 * len(layers))) as picture:
        axes = picture.subplots(len(layers), len(panels), squeeze=False)
        for row, layer in zip(axes, layers, strict=True):
            for axis, names in zip(row, panels, strict=True):
                for name in names:
                    values = [one["layers"][layer][name] for one in checkpoints]
                    axis.plot(updates, values, marker=".", label=FIGURES[name])
                axis.set(xlabel="updates", title=layer)
                axis.set_ylim(0)
                axis.legend(fontsize=8)
