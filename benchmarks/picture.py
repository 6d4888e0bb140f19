"""Draw benchmarks/results/*.json, as benchmarks/all.py writes them, as one picture.

Left: time of the layer with experts over that of a dense one of equal operations. Middle: tokens
per second of training. Right: where the time of an update goes as experts are added.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from matplotlib import pyplot as plt

from nmt_moe.common.files import atomic_write, beside

RESULTS = Path(__file__).parent / "results"


def layer(axes: Any, found: dict[str, Any]) -> None:
    """Forward + backward by number of experts, a line for each layer."""
    tokens = max(figure["tokens"] for figure in found["figures"])
    lines: dict[str, list[tuple[int, float]]] = {}
    for figure in found["figures"]:
        if figure["tokens"] == tokens:
            for name, value in figure["times_dense"].items():
                lines.setdefault(name, []).append((figure["experts"], value))
    for name, points in lines.items():
        axes.plot(*zip(*sorted(points), strict=True), marker="o", label=name)
    axes.axhline(1, color="grey", linewidth=1, linestyle=":")
    axes.set(title=f"MoE layer, {tokens:,} tokens", xlabel="experts", xscale="log", ylim=0)
    sizes = sorted({figure["experts"] for figure in found["figures"]})
    axes.set_xticks(sizes, list(map(str, sizes)))
    axes.set_xticks([], minor=True)
    axes.set_ylabel("forward + backward, times dense")
    axes.legend(fontsize=7)


def training(axes: Any, found: dict[str, Any]) -> None:
    """Tokens per second, a bar for each model."""
    models = found["figures"]["models"]
    bars = axes.barh(list(models), [model["tokens_per_second"] for model in models.values()])
    shares = [f"{model['of FMA peak']} of FMA peak" for model in models.values()]
    axes.bar_label(bars, shares, label_type="center", color="white", fontsize=8)
    axes.invert_yaxis()
    axes.set(title="Training", xlabel="target tokens per second")


def scaling(axes: Any, found: dict[str, Any]) -> None:
    """Milliseconds of an update, a bar for each number of experts."""
    parts = found["figures"]["parts"]
    below = [0.0 for _ in parts]
    for part in next(iter(parts.values())):
        heights = [1000 * split[part] for split in parts.values()]
        axes.bar(list(parts), heights, bottom=below, label=part)
        below = [a + b for a, b in zip(below, heights, strict=True)]
    axes.set(title="Update with moe_adam", xlabel="experts", ylabel="ms")
    axes.legend(fontsize=7)


PANELS = {"moe_layer": layer, "train_step": training, "scaling": scaling}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FOLDER")
    parser.add_argument("--out", type=Path, help=".svg or .png (default: FOLDER/benchmarks.svg)")
    args = parser.parse_args()
    plt.rcParams["svg.hashsalt"] = "benchmarks"  # the same file for the same figures
    figure, axes = plt.subplots(1, len(PANELS), figsize=(13, 4), layout="constrained")
    machines = set()
    for place, (name, draw) in zip(axes, PANELS.items(), strict=True):
        path = args.results / f"{name}.json"
        if not path.exists():
            raise SystemExit(f"error: no {path}: run make bench first")
        found = json.loads(path.read_text())
        about = found["machine"]
        machines.add(
            f"{about['device']}, {about['cores']} cores, {about['threads']} threads, "
            f"torch {about['torch']}, {about['date']}, {about['commit']}"
        )
        draw(place, found)
    figure.suptitle("; ".join(sorted(machines)), fontsize=8)
    out = args.out or args.results / "benchmarks.svg"
    kind = out.suffix.removeprefix(".") or "svg"
    about = {"Date": None} if kind == "svg" else None
    with atomic_write([out], "wb") as [file]:
        figure.savefig(file, format=kind, metadata=about, dpi=150)
    print(out, file=beside(out))


if __name__ == "__main__":
    main()
