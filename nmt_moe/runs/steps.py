"""What the stages of the recipes have in common: steps, each of which is one word of a stage.

A stage of a recipe is a list of steps with ``--then`` between them. Any other
first word is that of a command, which is run as it is. Relative files are in the stage's folder.
"""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from nmt_moe.common import duration, logged
from nmt_moe.common.files import atomic_write
from nmt_moe.runs import commands
from nmt_moe.runs.folder import LOG, Run
from nmt_moe.runs.training_log import record

ROOT = Path(__file__).resolve().parents[2]
PLUGIN = ["--user-dir", str(ROOT / "nmt_moe")]
WORDPIECES = ["python", "-m", "nmt_moe.corpus.wordpieces"]
MODEL = "sentencepiece.model"
"""The wordpieces' model, beside the checkpoints of a training."""
_TRIED_SECONDS, _TRIED_SHARE = 60.0, 0.05  # of a training, to find out how long it takes
_UPDATING = 0.8  # of the time


class Stage(NamedTuple):
    """A stage in which steps are made."""

    run: Run
    folder: Path
    environment: Mapping[str, str]

    def do(self, steps: Sequence[Sequence[str]]) -> None:
        for step in steps:
            known = STEPS.get(step[0])
            if known:
                known(self, *step[1:])
            else:
                commands.call(step)


def stage(run: Run, environment: Mapping[str, str], name: str, words: Sequence[str]) -> None:
    """A stage as a recipe has it.

    Args:
        run: whose stage it is.
        environment: of the steps.
        name: that of the stage.
        words: ``[--after STAGE] STEP... [--then STEP...]...``
    """
    after = None
    if list(words[:1]) == ["--after"]:
        after, words = words[1] or None, words[2:]
    steps = [[*step] for then, step in groupby(words, "--then".__eq__) if not then]

    def work(folder: Path) -> None:
        Stage(run, folder, environment).do(steps)

    def join(folder: Path) -> None:
        Stage(run, folder, environment).do(trainings)

    trainings = [step for step in steps if step[0] == train.__name__]
    run.stage(name, work, after, join if trainings else None)


def table(run: Run, words: Sequence[str]) -> None:
    """What a command prints becomes the file ``table.md`` of the run, and is shown."""
    if run.node == 0:
        path = run.path / "table.md"
        commands.written(path, words)
        print(path.read_text("utf-8"), end="")


def log(stage: Stage, file: str, *words: str) -> None:
    """``log FILE COMMAND...``: its output goes to the file, the end of it is shown if it fails.

    ``log FILE into OUTPUT COMMAND...``: only its standard error.
    """
    path = stage.folder / file
    path.parent.mkdir(parents=True, exist_ok=True)
    if words[0] == into.__name__:
        with atomic_write([stage.folder / words[1]], "wb") as [out]:
            commands.logged(path, words[2:], stage.run.recipe, stdout=out)
    else:
        commands.logged(path, words, stage.run.recipe)


def into(stage: Stage, file: str, *words: str) -> None:
    """``into FILE COMMAND...``: what it prints becomes the file."""
    commands.written(stage.folder / file, words)


def clone(stage: Stage, url: str, advice: str) -> None:
    """``clone URL ADVICE``: Multi30k's repository, or what to do else."""
    dataset = stage.folder / "dataset"
    shutil.rmtree(dataset, ignore_errors=True)
    try:
        commands.call(["git", "clone", "--quiet", "--depth", "1", url, str(dataset)])
    except commands.Failed as error:
        raise commands.Failed(
            1,
            f"{stage.run.recipe}: cannot clone {url}: get the files of its folder data/task1/raw "
            f"in another way and {advice}",
        ) from error


def wordpieces(
    stage: Stage, vocabulary: str, max_pieces: str, corpus: str, *languages: str
) -> None:
    """``wordpieces SIZE MAX_PIECES CORPUS LANGUAGE...``: learn a model, and cut text with it.

    Of CORPUS/{train,valid,test}.LANGUAGE, for one language or two, and of further test texts, whose
    names begin with test. Nothing is dropped from a test text.
    """
    texts, model = Path(corpus), stage.folder / "model"
    train = [str(texts / f"train.{language}") for language in languages]
    commands.call([*WORDPIECES, "train", "--vocabulary", vocabulary, "--out", str(model), *train])
    options = ["--model", f"{model}.model", "--langs" if languages[1:] else "--lang", *languages]
    options += ["--max-pieces", max_pieces]
    for split in ("train", "valid", *tests(texts, languages[0])):
        keep = ["--keep-all"] if split.startswith("test") else []
        sides = [str(texts / split), str(stage.folder / split)]
        commands.call([*WORDPIECES, "encode", *options, *keep, *sides])


def tests(folder: Path, language: str) -> list[str]:
    """The names of the test texts: fairseq's test, test1 and so on."""
    found = {path.name.partition(".")[0] for path in folder.glob(f"test*.{language}")}
    return ["test", *sorted(found - {"test"})]


def binary(stage: Stage, *options: str) -> None:
    """``binary OPTION...``: what fairseq-train reads, of the stage wordpieces."""
    pieces = stage.run.path / "wordpieces"
    end = ".txt" if "--only-source" in options else ""
    texts = [str(pieces / f"{name}{end}") for name in tests(pieces, "*")]
    for left in stage.folder.glob("dict.*"):
        left.unlink()  # fairseq-preprocess refuses to replace what an interrupted try left
    log(
        stage, "output.log", "fairseq-preprocess", *PLUGIN,
        "--srcdict", str(pieces / "model.dict.txt"), "--trainpref", str(pieces / f"train{end}"),
        "--validpref", str(pieces / f"valid{end}"), "--testpref", ",".join(texts),
        "--destdir", str(stage.folder), "--workers", "2", *options,
    )  # fmt: skip


def train(stage: Stage, *options: str, command: Sequence[str] = ()) -> None:
    """``train OPTION...``: continues from the last checkpoint by itself.

    Of the data of ``PREPARED``, else of the run, with ``SEED``; the options of ``TRAIN_OPTIONS``,
    one in a line, come last. With as many processes as ``GPUS`` and ``NODES`` say
    (``recipes/launch.sh``), one without them. What a translation needs beside the checkpoint is
    copied there.
    """
    given, out = stage.environment, stage.folder
    extra = given["TRAIN_OPTIONS"].split("\n") if given.get("TRAIN_OPTIONS") else []
    data = Path(given.get("PREPARED") or stage.run.path)
    name = LOG
    if stage.run.node:
        name = f"train-{stage.run.node}.log"
    else:
        for dictionary in (data / "binary").glob("dict.*txt"):  # of a language model: dict.txt
            shutil.copyfile(dictionary, out / dictionary.name)
        shutil.copyfile(data / "wordpieces/model.model", out / MODEL)
    command = [*(command or ["fairseq-train"]), "--distributed-world-size", "1"]
    if given.get("GPUS") or given.get("NODES"):
        command = [str(ROOT / "recipes/launch.sh"), "fairseq-train"]
    words = [
        *command, str(data / "binary"), *PLUGIN, "--seed", given["SEED"], "--save-dir", str(out),
        "--no-epoch-checkpoints", "--tensorboard-logdir", str(out / "tensorboard"),
        "--log-format", "json", "--log-interval", "100", *options, *extra,
    ]  # fmt: skip
    commands.trained(out / name, words, stage.run.recipe)


def updates(stage: Stage, time: str, *options: str) -> None:
    """``updates TIME OPTION...``: how many updates of such a training this machine makes in a time.

    A minute of it is tried. Some of the time is left for what comes before, between and after the
    updates. The file ``updates`` has the number.
    """
    whole = duration.seconds(time, "TIME")
    tried = min(_TRIED_SECONDS, _TRIED_SHARE * whole) / 3600
    cut = ["--stop-time-hours", f"{tried:.9f}", "--max-update", "1000000"]
    train(stage, *options, *cut, "--no-save", "--disable-validation")
    name = logged.of_split("train", logged.UPDATES_PER_SECOND)
    with (stage.folder / LOG).open(encoding="utf-8", errors="replace") as lines:
        passes = [found for found in map(record, lines) if found and name in found]
    speed = float(passes[-1][name])
    number = max(int(_UPDATING * whole * speed), 1)
    with atomic_write([stage.folder / "updates"]) as [file]:
        file.write(f"{number}\n")
    print(f"{number:,} updates in {time}, at {speed:.3g} a second")


def hypotheses(stage: Stage, generated: str, file: str) -> None:
    """``hypotheses GENERATED FILE``: fairseq-generate's translations in the order of the text."""
    found = sorted(_translations(stage.folder / generated))
    text = b"".join(line + b"\n" for _, line in found)
    with atomic_write([stage.folder / file], "wb") as [out]:
        out.write(text)


def tokenised(stage: Stage, language: str, text: str, file: str) -> None:
    """``tokenised LANGUAGE TEXT FILE``: normalised and tokenised as Moses does."""
    with open(text, "rb") as lines:
        words = ["sacremoses", "-q", "-l", language, "normalize", "tokenize"]
        commands.written(stage.folder / file, words, stdin=lines)


def detokenised(stage: Stage, language: str, text: str, file: str) -> None:
    """``detokenised LANGUAGE TEXT FILE``: the reverse."""
    with (stage.folder / text).open("rb") as lines:
        words = ["sacremoses", "-q", "-l", language, "detokenize"]
        commands.written(stage.folder / file, words, stdin=lines)


def _translations(path: Path) -> Iterator[tuple[int, bytes]]:
    with path.open("rb") as lines:
        for line in lines:
            if line.startswith(b"D-"):
                number, _, text = line.rstrip(b"\n").split(b"\t", 2)
                yield int(number[2:]), text


STEPS: dict[str, Callable[..., None]] = {
    step.__name__: step
    for step in (
        log,
        into,
        clone,
        wordpieces,
        binary,
        updates,
        train,
        hypotheses,
        tokenised,
        detokenised,
    )
}
