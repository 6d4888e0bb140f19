"""Each command that writes files, small and repeatable: to be killed, and to run out of room."""

import logging
import re
import sys
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch._dynamo  # torch imports it with the first optimizer
from fairseq_cli import generate as fairseq_generate
from fairseq_cli import interactive as fairseq_interactive
from fairseq_cli import preprocess as fairseq_preprocess
from fairseq_cli import train as fairseq_train

import nmt_moe.trained.loading  # noqa: F401  with the plugin: or each command would import it
from nmt_moe.checkpoint.__main__ import main as checkpoint
from nmt_moe.corpus.clean.__main__ import main as clean
from nmt_moe.corpus.monolingual import main as monolingual
from nmt_moe.corpus.multi30k import main as multi30k
from nmt_moe.corpus.phrasebook.__main__ import main as phrasebook
from nmt_moe.corpus.wordpieces.__main__ import main as wordpieces
from nmt_moe.fairseq_fixes import errors
from nmt_moe.report.__main__ import main as report
from nmt_moe.score.__main__ import main as score
from nmt_moe.translate.__main__ import main as translate
from tests.commands import PLUGIN, TINY, TRAINING, Finished
from tests.conftest import WORDS
from tests.reliability.children import in_a_child, nothing
from tests.test_training import flat

torch.set_num_threads(1)

PAIRS = 1500


def fairseq(name: str, main: Callable[[], None], arguments: list[str]) -> None:
    """A command of fairseq, which shows errors as when it is typed."""
    sys.argv = [name, *arguments]
    # fairseq does so when it is imported, but for fairseq-generate, which does it later.
    logging.root.handlers.clear()
    if name != "fairseq-generate":
        logging.basicConfig(level=logging.INFO, stream=sys.stdout)
    errors.apply()
    main()


def preprocess(arguments: list[str]) -> None:
    """``fairseq-preprocess`` as the recipes call it, with the folder last."""
    for left in Path(arguments[-1]).glob("dict.*"):
        left.unlink()
    fairseq("fairseq-preprocess", fairseq_preprocess.cli_main, arguments)


train = partial(fairseq, "fairseq-train", fairseq_train.cli_main)
generate = partial(fairseq, "fairseq-generate", fairseq_generate.cli_main)
interactive = partial(fairseq, "fairseq-interactive", fairseq_interactive.cli_main)


def split(arguments: list[str]) -> int:
    """Parts that are named alike each time."""
    uuid.uuid4 = lambda: uuid.UUID(int=1)  # type: ignore[assignment]
    return checkpoint(["split", *arguments])


@dataclass
class Stage:
    """A command and its arguments, with {t} for the text and {o} for the output folder."""

    main: Callable[[list[str]], Any]
    line: str
    stdin: str = "/dev/null"
    stdout: str = ""
    whole: bool = True
    """What has its name is complete, and stays where a later try fails."""
    again: bool = True
    """A later try writes all of it again."""

    def run(
        self,
        text: Path,
        out: Path,
        scratch: Path,
        prepare: Callable[[], None] = nothing,
        seconds: float | None = None,
    ) -> Finished:
        """In a child, see :func:`~tests.reliability.children.in_a_child`."""
        out.mkdir(exist_ok=True)
        words = [word.format(t=text, o=out) for word in self.line.split()]
        stdin = Path(self.stdin.format(t=text))
        stdout = out / self.stdout if self.stdout else None
        call = partial(self.main, words)
        return in_a_child(call, scratch, prepare, stdin, stdout, seconds)


BINARY = f"--joined-dictionary --source-lang en --target-lang de --user-dir {PLUGIN}"
TRAIN = f"{{t}}/pieces/bin --user-dir {PLUGIN} {' '.join([*TINY, *TRAINING])}"
_ENCODED = "{t}/pieces/bin --path {t}/run/checkpoint_last.pt --beam 2 --max-len-b 20 --cpu"

STAGES = {
    "phrasebook": Stage(
        phrasebook, "--target de --train 1000 --valid 20 --test 20 --seed 1 --out {o}"
    ),
    "multi30k": Stage(multi30k, "{t} --target de --out {o}"),
    "monolingual": Stage(monolingual, "{t}/book.txt --valid 9 --test 9 --out {o}"),
    "clean": Stage(
        clean, "--langs en de --workers 2 --report {o}/report.json --out {o}/train {t}/train"
    ),
    "wordpieces train": Stage(wordpieces, "train --vocabulary 300 --out {o}/model {t}/train.en"),
    "wordpieces encode": Stage(
        wordpieces, "encode --model {t}/wp.model --langs en de {t}/train {o}/train"
    ),
    "preprocess": Stage(
        preprocess,
        f"--srcdict {{t}}/wp.dict.txt --trainpref {{t}}/train --workers 2 {BINARY} --destdir {{o}}",
        whole=False,
    ),
    "train": Stage(
        train,
        f"{TRAIN} --max-update 6 --save-interval-updates 2 --dropout 0.2 --save-dir {{o}}",
        again=False,
    ),
    "average": Stage(checkpoint, "average {t}/whole.pt {t}/whole.pt --out {o}/mean.pt --force"),
    "split": Stage(split, "{t}/whole.pt --parts 2 --out {o}/new --force"),
    "merge": Stage(checkpoint, "merge {t}/part --out {o}/merged.pt --force"),
    "generate": Stage(
        generate, f"{_ENCODED} --user-dir {PLUGIN} --results-path {{o}}", whole=False
    ),
    "translate": Stage(
        translate,
        "{t}/run/checkpoint_last.pt --device cpu --beam 1 --batch-size 100 --max-pieces 50",
        stdin="{t}/test.en",
        stdout="translated.txt",
        whole=False,
    ),
    "score": Stage(score, "{t}/valid.en {t}/valid.de --target-lang de --json {o}/score.json"),
    "report": Stage(
        report,
        "{t}/run/checkpoint_last.pt {t}/pieces/bin --limit 20 --device cpu --out {o}/report.html",
    ),
    "curves": Stage(report, "--curves {t} --out {o}/curves.html"),
}


def write_text(folder: Path) -> None:
    """A corpus with which each stage writes more than a page."""
    lines = [" ".join(WORDS[(n * k) % 20] for k in range(1, 9)) + f" {n}" for n in range(PAIRS)]
    sizes = {"train": PAIRS, "valid": 100, "test": 20, "val": 100, "test_2016_flickr": 100}
    for name, size in sizes.items():
        kept = lines[:size]
        for language, end in (("en", "."), ("de", " !")):
            (folder / f"{name}.{language}").write_text("".join(f"{x}{end}\n" for x in kept))
    (folder / "book.txt").write_text("".join(f"{line}\n" for line in lines))
    figures = '{"epoch": 1, "update": 0.5, "loss": "9.1", "ppl": "5.2", "num_updates": "10"}'
    (folder / "train.log").write_text(f"2026-01-01 00:00:00 | INFO | train_inner | {figures}\n")


def contents(folder: Path) -> dict[str, Any]:
    """What is in the files, but for what tells when and where it was written."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".log"]
    return {str(path.relative_to(folder)): _content(path) for path in files}


def _content(path: Path) -> Any:
    if path.name.startswith("checkpoint") and path.suffix == ".pt":
        return trained(path)
    if path.name.startswith("generate-"):
        return re.findall(r"^[A-Z]-\d+\t.*$", path.read_text(), re.MULTILINE)
    return path.read_bytes()


def trained(path: Path) -> dict[str, Any]:
    """Weights, the optimizer's state and the best loss of a checkpoint, bit by bit."""
    state = torch.load(path, weights_only=True)
    numbers = {key: state[key] for key in ("model", "last_optimizer_state")}
    leaves = flat(numbers | {"best": state["extra_state"]["best"]})
    return {
        name: leaf.numpy().tobytes() if torch.is_tensor(leaf) else leaf
        for name, leaf in leaves.items()
    }


def updates(path: Path) -> int:
    """Of a checkpoint."""
    return torch.load(path, weights_only=True)["optimizer_history"][-1]["num_updates"]
