"""Write the parts of README.md and docs/ that are made from code and from committed figures.

Such a part stands between ``<!-- generated: NAME ARGUMENTS -->`` and ``<!-- end -->``; NAME is a
function of ``PARTS``. With ``--check`` nothing is written, and stale files are named.

    python docs/generate.py [--check]
"""

import argparse
import ast
import json
import re
import statistics
import sys
import tomllib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import MISSING, fields
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

from nmt_moe.common.table import markdown
from nmt_moe.runs.claims.statements.check import Statements
from nmt_moe.runs.claims.statements.wording import Wording

ROOT = Path(__file__).resolve().parents[1]
RESULTS, BENCHMARKS = ROOT / "results", ROOT / "benchmarks" / "results"
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
ROOMS = ROOT / "docs" / "pictures" / "rooms.svg"
PART = re.compile(
    r"^(<!-- generated: (\S+)((?: [^\n]+)?) -->\n).*?^(<!-- end -->)$", re.DOTALL | re.MULTILINE
)

Table = tuple[list[str], list[list[str]]]


def read_table(path: Path) -> Table:
    """The heads and rows of the first Markdown table of a file."""
    lines = [line for line in path.read_text().splitlines() if line.startswith("|")]
    heads, _, *rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    return heads, rows


def chosen(found: Table, columns: str) -> str:
    """The first column of a table and those that are named, in this order; all without names."""
    heads, rows = found
    places = list(range(len(heads)))
    if columns:
        places = [0, *(heads.index(name.strip()) for name in columns.split(";"))]
    shown = [[row[place] for place in places] for row in rows]
    return "\n".join(markdown([heads[place] for place in places], shown))


def table(arguments: str) -> str:
    """``PATH [COLUMN; COLUMN ...]``: a table of figures of a Markdown file."""
    path, _, columns = arguments.partition(" ")
    return chosen(read_table(ROOT / path), columns)


def figures(arguments: str) -> str:
    """``PATH[#KEY] [COLUMN; COLUMN ...]``: the heads and rows of a file in JSON."""
    name, _, columns = arguments.partition(" ")
    path, _, key = name.partition("#")
    found = json.loads((ROOT / path).read_text())
    found = found[key] if key else found
    return chosen((found["heads"], found["rows"]), columns)


def measured(arguments: str) -> str:
    """``FILE [COLUMN; COLUMN ...]``: a benchmark's table, what it was measured on, and its limits.

    FILE is one of benchmarks/results, without its ending.
    """
    name, _, columns = arguments.partition(" ")
    found = results_of(name)
    if found is None:
        return "Not measured."
    return chosen((found["heads"], found["rows"]), columns) + "\n\n" + circumstances(found)


def results_of(name: str) -> dict[str, Any] | None:
    """A benchmark's figures, None where it has none; other processors lack bfloat16."""
    path = BENCHMARKS / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else None


def circumstances(found: dict[str, Any]) -> str:
    """What a benchmark was measured on, whether that was idle, and the limits found meanwhile."""
    about = found["machine"]
    cores = f"{about['cores']} cores, " if about.get("cores") else ""
    rounds = f", {found['rounds']} rounds" if "rounds" in found else ""
    idle = {True: "idle", False: "not idle", None: "whether it was idle is unknown"}[
        found.get("idle")
    ]
    why = found.get("watch", {}).get("why")
    text = (
        f"{found['title']}: {about['device']}, {cores}{about['threads']} threads, "
        f"Python {about['python']}, torch {about['torch']}, {about['date']}{rounds}; "
        f"{idle}{f' ({why})' if why else ''}."
    )
    lines = [note for note in found.get("notes", []) if note.startswith("limits: ")]
    return " ".join([text, *(f"L{line[1:]}." for line in lines)])


def passes(_: str) -> str:
    """What the growth of an update with the experts takes the time of."""
    found = results_of("scaling") or {"notes": []}
    rows = []
    for line in found["notes"]:
        if " experts: " in line:
            experts, _, parts = line.strip().partition(" experts: ")
            rows.append([experts, *(part.rpartition(" ")[2] for part in parts.split(", "))])
            heads = ["experts", *(part.rpartition(" ")[0] for part in parts.split(", "))]
    return "\n".join(markdown(heads, rows)) if rows else "Not measured."


def note(arguments: str) -> str:
    """``FOLDER``: what a claim's table was measured on, and the commands."""
    text = (RESULTS / arguments / "table.md").read_text()
    [sizes] = re.findall(r"Training text: .*?one more\.", text)
    [line, remark] = re.findall(r"^Commands: (.*`\.)(.*)$", text, re.MULTILINE)[0]
    [machine] = re.findall(r"Machine: (.*?)\. Commit", text)
    [trees] = re.findall(r"Commit: .*?\. (.*)$", text, re.MULTILINE)
    commands = "\n".join(re.findall(r"`(.*?)`\.", line))
    blocks = f"```text\n{commands}\n```\n\n```text\n{options_of(arguments)}\n```"
    return f"{sizes} Machine: {machine}. {trees}{remark}\n\n{blocks}"


def runs(arguments: str) -> str:
    """``FOLDER SCORE...``: a recipe's runs that differ by seed, TARGET-SEED.json, a row for all
    into a target, beside what published.toml has of others."""
    name, *scores = arguments.split()
    folder = ROOT / name
    others = tomllib.loads((folder / "published.toml").read_text())
    found: dict[str, list[dict[str, Any]]] = {}
    for path in sorted(folder.glob("*.json")):
        found.setdefault(path.stem.rpartition("-")[0], []).append(json.loads(path.read_text()))
    rows = []
    for target, seeds in found.items():
        spent = max(sum(seed["seconds"].values()) for seed in seeds)
        last = [seed["validation"] for seed in seeds]
        passed = [float(one["epoch"]) for one in last]
        row = [target, f"{spent / 60:.0f}", f"{min(passed):.0f}-{max(passed):.0f}"]
        row.append(spread([float(one["valid_ppl"]) for one in last]))
        row += [spread([seed["scores"][score]["score"] for seed in seeds]) for score in scores]
        rows.append([*row, f"{others['figures'][target]:.1f}"])
    shown = [score.replace("_", ", ") for score in scores]
    heads = ["into", "minutes", "passes", "validation perplexity", *shown, "published"]
    about = [
        [seed["machine"][name] for seeds in found.values() for seed in seeds]
        for name in ("device", "commit")
    ]
    devices, commits = (", ".join(dict.fromkeys(each)) for each in about)
    return "\n".join(
        [
            *markdown(heads, rows),
            "",
            f"Published: {others['system']}, {others['score'].replace('_', ', ')}. "
            f"Machine: {devices}. Commit: {commits}.",
        ]
    )


def spread(values: Sequence[float]) -> str:
    """Mean, standard deviation and each value."""
    each = ", ".join(f"{value:.2f}" for value in values)
    return f"{statistics.mean(values):.2f} ± {statistics.stdev(values):.2f} ({each})"


def options_of(folder: str) -> str:
    """The options of all trainings of a claim, and of each cell."""
    run, cells = statements().results.folder(folder)
    lines = [f"all: {run['settings']['common']}"]
    lines += [f"{name}: {' '.join(logs[0].about['options'])}" for name, logs in cells.items()]
    return "\n".join(lines)


@cache
def statements() -> Statements:
    """What is said of the results."""
    return Statements(ROOT)


def claim(name: str) -> str:
    """``NAME``: a claim of results/claims.toml, its tests and its sentences."""
    return statements().part("claim", name)


def paper(_: str) -> str:
    """The claims of the paper beside ours, results/paper.toml."""
    return statements().part("paper")


def layers(name: str) -> str:
    """``FILE``: a row for each size, a column for each layer: times a dense one, and of ours the
    shares of the limits."""
    found = results_of(name)
    if found is None:
        return "Not measured."
    sizes = layer_times(found)
    names = dict.fromkeys(name for _, times in sizes for name in times if name != "dense")
    rows = [[size, *(times.get(name, "") for name in names)] for size, times in sizes]
    return "\n".join([*markdown(["size", *names], rows), "", circumstances(found)])


def layer_times(found: dict[str, Any]) -> list[tuple[str, dict[str, str]]]:
    """For each size the time of each layer, as a multiple of that of a dense one."""
    place = {name: number for number, name in enumerate(found["heads"])}
    sizes: dict[tuple[str, str], dict[str, str]] = {}
    for row in found["rows"]:
        size = sizes.setdefault((row[place["tokens"]], row[place["experts"]]), {})
        size[row[0]] = row[place["with backward, times dense"]].partition(" ")[0]
        if row[0] == "ours":
            shares = [name for name in found["heads"] if name.startswith("of ")]
            size |= {name: row[place[name]] for name in shares}
    return [
        (f"{tokens} tokens, {experts} experts", size) for (tokens, experts), size in sizes.items()
    ]


def searched() -> str:
    """Sentences a second in batches, of ours and of what else people take."""
    found = results_of("generate")
    if found is None:
        return "not measured"
    [place, *_] = [n for n, head in enumerate(found["heads"]) if head.startswith("sentences/s")]
    speeds = {row[0]: row[place] for row in found["rows"]}
    return "; ".join(f"{name} {speeds[name]}" for name in _SEARCHED if name in speeds)


_LAYERS = ("ours", "transformers", "fairscale")
_SEARCHED = [
    *("lstm_moe", "lstm_moe int8", "fairseq lstm"),
    *("fairseq transformer", "ctranslate2 float32", "ctranslate2 int8"),
]


def glance(_: str) -> str:
    """One line for each claim, for the README."""
    claims = {
        (one.claim.name, one.cell): (Wording(one.claim, comparisons, said.results), one)
        for said in [statements()]
        for comparisons in [said.comparisons]
        for one in comparisons
    }
    rows = []
    for question, name, cell, link in _GLANCE:
        wording, one = claims[name, cell]
        base, mean = (wording.fill(f"{{{what}}}") for what in ("base", f"mean|{cell}"))
        here = f"{cell_name(one.claim.base)} {base}; {cell_name(cell)} {mean}"
        chosen = "; settings chosen on the test text" if one.claim.tried else ""
        rows.append([question, f"[{here}](docs/results.md#{link})", f"{one.verdict}{chosen}"])
    speed = results_of("moe_layer")
    (_size, layer), *_others = layer_times(speed) if speed else [("", {})]
    times = "; ".join(f"{name} {layer[name]}" for name in _LAYERS if name in layer)
    rows += [
        [
            "How fast is the layer? (time of a dense one, 32 experts, CPU)",
            f"[{times or 'not measured'}](docs/speed.md)",
            "-",
        ],
        [
            "How fast is a search? (sentences per second in batches, beam 4, CPU)",
            f"[{searched()}](docs/speed.md#whole-models)",
            "-",
        ],
    ]
    return "\n".join(left(["question", "measured", "verdict"], rows))


def cell_name(cell: str) -> str:
    """A cell of a grid in words."""
    name = cell.removesuffix("-h").removesuffix("-timed")
    return f"{name} experts" if name.isdecimal() else _CELLS.get(name, name)


_CELLS = {
    "0_0": "without",
    "0.1_0.1": "with them",
    "top_k": "top-k",
    "noisy_top_k": "noisy top-k with losses",
    "dense-tuned": "dense",
}
_GLANCE = [
    ("More experts, equal operations: a lower perplexity?", "capacity-en-de", "256", "capacity"),
    (
        "Losses: a balanced load in training (CV, with noise)?",
        *("balance-training", "0.1_0.1", "balance"),
    ),
    ("And on the test text (without noise)?", "balance-test", "0.1_0.1", "balance"),
    ("And better than plain top-k without either?", "gating-test", "noisy_top_k", "gates"),
    (
        "Losses: a lower perplexity?",
        *("balance-long", "0.1_0.1", "after-five-times-as-many-updates"),
    ),
    ("Does an update take longer (ms)?", "cost", "256-h", "cost"),
    (
        "Do experts translate news better (perplexity)?",
        "translation-perplexity",
        "32",
        "translation",
    ),
    ("And in BLEU?", "translation-bleu-gnmt", "32", "translation"),
    (
        "Do experts translate better at equal time (perplexity)?",
        *("equal-time-experts", "4-timed", "translation-at-equal-time"),
    ),
    ("And in BLEU?", "equal-time-experts-bleu", "4-timed", "translation-at-equal-time"),
    (
        "And better than fairseq's `lstm` (BLEU)?",
        *("equal-time-lstm-bleu", "4-timed", "translation-at-equal-time"),
    ),
]
"""Questions of the README, with the claim, the cell and the heading that answer them."""


def left(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterable[str]:
    """A table of text, whose columns are not aligned."""
    yield f"| {' | '.join(heads)} |"
    yield f"|{' --- |' * len(heads)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def options(arguments: str) -> str:
    """``PART``: the options that a part of the package adds to fairseq's commands."""
    from nmt_moe.cli.options import sections
    from nmt_moe.models.config import LSTMMoEConfig, LSTMMoELanguageModelConfig, StackConfig

    parts: dict[str, Any] = {
        "both": StackConfig,
        "translation": LSTMMoEConfig,
        "language": LSTMMoELanguageModelConfig,
    }
    parts |= {title.partition(" ")[0]: part for title, part in sections().items()}
    both = {one.name: one.default for one in fields(StackConfig)} if arguments != "both" else {}
    rows = []
    for one in fields(parts[arguments]):
        if one.name.startswith("_") or one.metadata.get("help") in (None, argparse.SUPPRESS):
            continue  # fairseq's own, such as --lr
        if one.name not in both or both[one.name] != one.default:
            rows.append([f"`--{one.name.replace('_', '-')}`", shown(one), meaning(one)])
    return "\n".join(left(["option", "default", "meaning"], rows))


def familiar(_: str) -> str:
    """Options of fairseq's ``lstm`` and ``transformer``, and what is done with them."""
    from nmt_moe.models.fairseq_options import OPTIONS

    rows = []
    for (done, why, model), same in groupby(
        OPTIONS, lambda one: (one.action(), one.why, one.model)
    ):
        fields = " ".join(one.names for one in same).replace("_", "-").split()
        kind = f" ({model} models)" if model else ""
        rows.append([", ".join(f"`--{name}`" for name in fields) + kind, done, why])
    return "\n".join(left(["option of fairseq", "here", "why"], rows))


def shown(option: Any) -> str:
    """The default of an option as a user writes it."""
    value = option.default if option.default not in (MISSING, None) else ""
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"`{getattr(value, 'value', value)}`" if value != "" else "none"


def meaning(option: Any) -> str:
    """The help of an option, with its choices; its range is in the help already."""
    text = str(option.metadata.get("help", "")).replace("|", "\\|")
    choices = [choice.value for choice in getattr(option.type, "__members__", {}).values()]
    if choices:
        text += f" (`{'`, `'.join(choices)}`)"
    return text


def models(_: str) -> str:
    """Each named architecture: what it changes, its operations and its parameters."""
    from nmt_moe.models.architectures import LANGUAGE, TRANSLATION

    rows = []
    for arch, changes in (TRANSLATION | LANGUAGE).items():
        operations, _without, parameters = size(arch)
        changed = ", ".join(f"{name}={value}" for name, value in changes.items())
        rows.append(
            [f"`{arch}`", changed, f"{operations / 1e6:,.1f} M", f"{parameters / 1e6:,.1f} M"]
        )
    heads = ["`--arch`", "changes to the defaults", "ops/timestep", "parameters"]
    return "\n".join(left(heads, rows))


def sizes(_: str) -> str:
    """The figures that the paper prints, and what ``nmt_moe.plan`` counts."""
    printed = json.loads((ROOT / "docs" / "paper.json").read_text())["sizes"]
    rows = []
    for arch, (operations, millions) in printed.items():
        ours, without, everything = size(arch)
        parameters = without if "_lm_" in arch else everything
        rows.append([f"`{arch}`", f"{operations:,.1f} M", f"{ours / 1e6:,.1f} M"])
        rows[-1] += [f"{millions:,.1f} M", f"{parameters / 1e6:,.1f} M"]
    heads = ["model", "ops/timestep, paper", "here", "parameters, paper", "here"]
    return "\n".join(markdown(heads, rows))


@cache
def size(arch: str) -> tuple[int, int, int]:
    """Operations, parameters without embedding and softmax, and all parameters."""
    import torch

    from nmt_moe.models.architectures import build, config
    from nmt_moe.plan import counts

    with torch.device("meta"):
        model = build(config(arch), 32_000)
    without = counts.parameters_without_embedding_and_softmax(model)
    return sum(counts.operations(model).values()), without, counts.parameters(model)


def fixes(_: str) -> str:
    """The changes to fairseq, torch, logging and the interpreter."""
    from nmt_moe.fairseq_fixes.table import FIXES

    rows = []
    for (why, when, module), same in groupby(
        FIXES, lambda fix: (fix.why, fix.when, fix.wrap.__module__)
    ):
        targets = ", ".join(f"`{fix.target}`" for fix in same)
        place = module.removeprefix("nmt_moe.").replace(".", "/")
        rows.append([targets, why, when, f"`{place}.py`"])
    return "\n".join(left(["what is changed", "why", "when", "where"], rows))


def habits(_: str) -> str:
    """What users of fairseq are used to, with our models and with fairseq's own."""
    folder = ROOT / "tests" / "fairseq"
    groups = tomllib.loads((folder / "habits.toml").read_text())
    lstm = json.loads((folder / "lstm.json").read_text())
    commands = groups.pop("commands")
    del groups["models"], groups["prepare"]
    versions = " and ".join(f"{name} {number}" for name, number in lstm["versions"].items())
    short = [f'{name}() {{ {command} "$@"; }}' for name, command in commands.items()]
    lines = [
        f"fairseq's own were tried with {versions}, and with `TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD=1`:",
        "they cannot open their checkpoints without. These names stand for commands:",
        "",
        *("```text", *short, "```"),
    ]
    for group, rows in groups.items():
        shown = []
        for habit, row in rows.items():
            ours = f"refused: {row['refused']}" if "refused" in row else "works"
            cells = [habit, f"`{row['run']}`", ours, lstm["verdicts"][row["run"]]]
            shown.append([cell.replace("|", "\\|") for cell in cells])
        lines += ["", f"## {group}", "", *left(["habit", "command", "ours", "`lstm`"], shown)]
    return "\n".join(lines)


def rooms(_: str) -> str:
    """The packages of ``nmt_moe``, each with the first sentence of its docstring."""
    rows = []
    for path in sorted((ROOT / "nmt_moe").glob("*/__init__.py")):
        docstring = ast.get_docstring(ast.parse(path.read_text())) or ""
        first = " ".join(docstring.partition("\n\n")[0].split())
        rows.append([f"`nmt_moe/{path.parent.name}/`", first.replace("``", "`")])
    return "\n".join(left(["package", "what belongs in it"], rows))


def choices(part: str) -> str:
    """``rows``, ``sizes``, ``short`` or ``sources``: what ``nmt-moe train`` chooses."""
    known = tomllib.loads((ROOT / "nmt_moe" / "own_text" / "choices.toml").read_text())
    if part == "sources":
        return "\n".join(f"1. {name}: {text}" for name, text in known["sources"].items())
    numbers = list(known["sources"])
    rows = known[part]
    if part == "sizes":
        rows = [{"size": f"`{name}`"} | size for name, size in known["sizes"].items()]
    names = _HEADS | (_OF_SHORT if part == "short" else {})
    shown = []
    for row in rows:
        row["from"] = ", ".join(f"[{numbers.index(name) + 1}]" for name in row.pop("sources"))
        shown.append([_cell(value) for value in row.values()])
    return "\n".join(left([names.get(name, name) for name in rows[0]], shown))


_HEADS = {
    "pairs": "pairs up to",
    "dim": "width",
    "lstm-cells": "cells",
    "moe-hidden-dim": "expert's width",
    "lr": "learning rate",
    "warmup": "warm-up",
    "batch_gpu": "batch on a GPU",
    "one_gpu": "on one GPU",
    "wordpieces": "sees at least",
    "most": "vocabulary up to",
}
_OF_SHORT = {"passes": "passes, fewer than", "dropout": "dropout, at most"}


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else f"{value}"


def picture() -> str:
    """The layers of the packages, as the contract in pyproject.toml has them, as SVG."""
    [contract] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"][
        "contracts"
    ]
    rows = [[name.strip() for name in layer.split("|")] for layer in contract["layers"]]
    width, height, gap = 360, 26, 8
    top = len(rows) * (height + gap) + gap
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width + 60} {top}" '
        f'width="{width + 60}" height="{top}" font-family="sans-serif" font-size="13">',
        "<title>The packages of nmt_moe: each imports those below it, never one above</title>",
        f'<rect width="{width + 60}" height="{top}" fill="white"/>',
        f'<path d="M{width + 30} {gap * 2}V{top - gap * 2}m-6 -10l6 10l6 -10" fill="none" '
        'stroke="#555" stroke-width="2"/>',
    ]
    for number, names in enumerate(rows):
        each = (width - gap * (len(names) - 1)) / len(names)
        for place, name in enumerate(names):
            x, y = gap + place * (each + gap), gap + number * (height + gap)
            lines.append(
                f'<rect x="{x:.0f}" y="{y}" width="{each:.0f}" height="{height}" rx="5" '
                'fill="#e8eef7" stroke="#48a"/>'
                f'<text x="{x + each / 2:.0f}" y="{y + 18}" text-anchor="middle">{name}</text>'
            )
    return "\n".join([*lines, "</svg>", ""])


_NAMES = "table figures measured note runs claim paper layers passes glance options familiar models"
PARTS: dict[str, Callable[[str], str]] = {
    name: globals()[name]
    for name in [*_NAMES.split(), "sizes", "fixes", "habits", "rooms", "choices"]
}


def generated() -> dict[Path, str]:
    """What each file has to hold."""
    found = {
        path: PART.sub(lambda part: f"{part[1]}{PARTS[part[2]](part[3].strip())}\n{part[4]}", text)
        for path in DOCUMENTS
        for text in [path.read_text()]
    }
    return found | {ROOMS: picture()}


def stale() -> dict[Path, str]:
    """The files that do not hold what they have to, with what that is."""
    return {
        path: text
        for path, text in generated().items()
        if not path.exists() or path.read_text() != text
    }


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; end with 1 if stale")
    args = parser.parse_args()
    found = stale()
    for path, text in found.items():
        print(f"{'stale' if args.check else 'written'}: {path.relative_to(ROOT)}")
        if not args.check:
            path.write_text(text)
    if found and args.check:
        print("error: run python docs/generate.py", file=sys.stderr)
    return int(args.check and bool(found))


if __name__ == "__main__":
    sys.exit(main())
