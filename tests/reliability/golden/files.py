"""Golden runs as text."""

import platform
from pathlib import Path

import torch

from tests.reliability.golden.runs import Run

FOLDER = Path(__file__).parent


def write(path: Path, runs: dict[str, Run]) -> None:
    """Write the runs of one kind, each under the name of its precision."""
    capability = torch.backends.cpu.get_cpu_capability()
    lines = [
        f"# written by python -m tests.reliability.golden with torch {torch.__version__}, "
        f"Python {platform.python_version()}, {platform.machine()} {capability}",
    ]
    for precision, run in runs.items():
        lines.append(f"# {precision}: loss of each update, in bits per token")
        lines += map(repr, run.losses)
        lines.append(f"# {precision}: score and text of each translation")
        lines += [f"{score!r}\t{text}" for score, text in run.translations]
    path.write_text("\n".join(lines) + "\n")


def read(path: Path) -> dict[str, Run]:
    """What :func:`write` wrote."""
    runs: dict[str, Run] = {}
    for line in path.read_text().splitlines()[1:]:
        if line.startswith("# "):
            run = runs.setdefault(line[2:].partition(":")[0], Run([], []))
        elif "\t" in line:
            score, text = line.split("\t")
            run.translations.append((float(score), text))
        else:
            run.losses.append(float(line))
    return runs
