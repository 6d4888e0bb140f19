"""From a user's files to what fairseq reads: the stages text, clean, split, wordpieces, binary."""

import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nmt_moe.common.errors import UserError
from nmt_moe.common.files import atomic_write
from nmt_moe.common.lines import read_lines
from nmt_moe.corpus.clean.report import counted
from nmt_moe.corpus.sources import SPLITS, Source, check_columns, find
from nmt_moe.corpus.sources.pair import Pair
from nmt_moe.corpus.sources.source import Split
from nmt_moe.corpus.split import repeats
from nmt_moe.corpus.split import split as divide
from nmt_moe.corpus.suspicions import look
from nmt_moe.corpus.workers import cores
from nmt_moe.own_text.request import PLUGIN, Request, Work, read, write

if TYPE_CHECKING:
    from nmt_moe.own_text.choices import Choices

ABOUT = "about.json"
MAX_PIECES = 250
"""Of a sentence that is trained with."""
_SAMPLE = 500_000  # lines to learn wordpieces from, which need 20 bytes of memory a character
_USES = {"train": "train", "valid": "validate", "test": "test"}


def prepare(work: Work) -> dict[str, int]:
    """The stages until there is text to train, validate and test with.

    Returns:
        The number of ``pairs`` of the training text, and of ``words`` of its target side.
    """
    request = work.request
    sources = _sources(request)
    upsample = repeats(request.upsample, [one for one in sources if one.split == "train"])
    files = [[one.name, one.split, one.checksum()] for one in sources]
    made: dict[str, Any] = {
        "files": files,
        "languages": request.languages,
        "columns": request.columns,
    }
    work.stages.do("text", made, partial(_text, work, sources))
    about = read(work.path("text", ABOUT))
    for one in about["files"]:
        work.screen.say(f"  {one['name']}: {one['pairs']:,} pairs, for {one['split']}")
    say_suspicions(work)
    work.stages.do("clean", {}, partial(_clean, work), ["text"])
    made = {"seed": request.seed, "upsample": upsample, **its_start(work)}
    work.stages.do("split", made, partial(_split, work, upsample), ["text", "clean"])
    found: dict[str, int] = read(work.path("split", ABOUT))
    sizes = ", ".join(f"{found[name]:,} for {name}" for name in SPLITS)
    work.screen.say(f"  {sizes}; no sentence is in two of these")
    return found


def say_suspicions(work: Work) -> None:
    """What looks wrong with the text."""
    for line in read(work.path("text", ABOUT))["suspicions"]:
        work.screen.say(f"  warning: {line}")


def _sources(request: Request) -> list[Source]:
    """All files; those of ``--valid`` and ``--test`` are of that split, whatever their names."""
    found = find(request.files, *request.languages, columns=request.columns)
    given: dict[Split, Sequence[Path]] = {"valid": request.valid, "test": request.test}
    for split, paths in given.items():
        if paths:
            found = [one for one in found if one.split != split]
            found += find(paths, *request.languages, columns=request.columns, split=split)
    check_columns(request.columns, found)
    again = Counter(one.name for one in found)
    found = [replace(one, name=str(one.files[0])) if again[one.name] > 1 else one for one in found]
    if not any(one.split == "train" for one in found):
        raise UserError("there is no text to train with: name its files")
    return found


def _text(work: Work, sources: Sequence[Source], folder: Path) -> None:
    """Write what the files hold as aligned lines, and look at it."""
    languages = work.request.languages
    files: list[dict[str, Any]] = []
    suspicions: list[str] = []
    for number, source in enumerate(sources):
        suspicions += [f"{source.name}: {one.message}" for one in look(source.pairs(), *languages)]
        prefix, pairs = f"{source.split}{number}", 0
        with atomic_write([folder / f"{prefix}.{language}" for language in languages]) as sides:
            for pair in source.pairs():
                for side, text in zip(sides, (pair.source, pair.target), strict=True):
                    side.write(f"{text}\n")
                pairs += 1
                if pairs % 1000 == 0:
                    work.screen.progress(f"text: {source.name}, {pairs:,} pairs")
        if not pairs:
            raise UserError(
                f"{source.name} is empty: there is nothing to {_USES[source.split]} with"
            )
        one = {"name": source.name, "split": source.split, "prefix": prefix, "pairs": pairs}
        files.append(one | {"sha256": source.checksum()})
    write(folder / ABOUT, {"files": files, "suspicions": suspicions})


def files_of(work: Work, split: str) -> list[dict[str, Any]]:
    """What is known of the files of a split."""
    return [one for one in read(work.path("text", ABOUT))["files"] if one["split"] == split]


def _clean(work: Work, folder: Path) -> None:
    """Clean the text for training; what is given to validate and test with stays as it is."""
    for one in files_of(work, "train"):
        report = folder / f"{one['prefix']}.json"
        work.programs.run(
            folder / "output.log",
            *("nmt-moe", "corpus", "clean", work.path("text", one["prefix"])),
            *("--langs", *work.request.languages),
            *("--out", folder / one["prefix"], "--report", report),
        )
        found = read(report)
        reasons = counted((rule["pairs"], rule["what"]) for rule in found["removed"].values())
        work.screen.say(
            f"  {one['name']}: {found['kept']:,} of {found['read']:,} pairs are kept"
            + (f"; removed: {reasons}" if reasons else "")
        )


def _split(work: Work, upsample: Mapping[str, int], folder: Path) -> None:
    source, target = work.request.languages
    sources = []
    for name in SPLITS:
        for one in files_of(work, name):
            prefix = work.path("clean" if name == "train" else "text", one["prefix"])
            files = tuple(Path(f"{prefix}.{language}") for language in (source, target))
            sources.append(Source(one["name"], name, files))
    tested = [Pair(one["source"], one["reference"], 0) for one in old_test(work.request.start)]
    how: dict[str, Any] = {"seed": work.request.seed, "repeat": upsample, "tested": tested}
    counts = divide(sources, folder, source, target, **how)
    total = sum(counts.values(), Counter[str]())
    pairs = words = 0  # of the text with what is repeated
    for line in read_lines(folder / f"train.{target}"):
        pairs, words = pairs + 1, words + len(line.split())
    about = {name: total[name] for name in SPLITS}
    write(folder / ABOUT, about | {"pairs": pairs, "words": words})


def its_start(work: Work) -> dict[str, str]:
    """What a stage is made with that reads the model which the training goes on from."""
    path = work.request.start
    return {"start": str(read(path / "model.json")["sha256"])} if path else {}


def old_test(model: Path | None) -> list[dict[str, str]]:
    """The sentences that a model was scored with, with ``source`` and ``reference``."""
    path = model and model / "translations.json"
    return read(path)["sentences"] if path and path.is_file() else []


def cut(work: Work, choices: "Choices") -> None:
    """The stages wordpieces and binary."""
    made: dict[str, Any] = {
        "vocabulary": choices.vocabulary,
        "longest": MAX_PIECES,
        "both": work.request.both,
    }
    made |= its_start(work)
    work.stages.do("wordpieces", made, partial(_wordpieces, work, choices.vocabulary), ["split"])
    work.stages.do("binary", {}, partial(_binary, work), ["wordpieces"])


def _wordpieces(work: Work, vocabulary: int, folder: Path) -> None:
    request, texts, log = work.request, work.path("split"), folder / "output.log"
    model = folder / "model"
    learned = ["--vocabulary", vocabulary, "--out", model, "--sample", _SAMPLE]
    going_on = request.start
    if going_on:
        shutil.copyfile(going_on / "sentencepiece.model", f"{model}.model")
        shutil.copyfile(going_on / f"dict.{request.sides[0]}.txt", f"{model}.dict.txt")
    if request.both:
        pairs = ["-".join(pair) + f"={texts}" for pair in request.directions]
        tool = ("nmt-moe", "corpus", "multilingual")
        if not going_on:
            work.programs.run(log, *tool, "learn", *learned, *pairs)
        cutting = ["--model", f"{model}.model", "--max-pieces", MAX_PIECES, "--out", folder]
        work.programs.run(log, *tool, "mix", *cutting, *pairs)
        return
    tool = ("nmt-moe", "corpus", "wordpieces")
    train = [texts / f"train.{language}" for language in request.languages]
    if not going_on:
        work.programs.run(log, *tool, "train", *learned, *train)
    for split in ("train", "valid", "test"):
        given: list[object] = ["--model", f"{model}.model", "--langs", *request.languages]
        given += ["--max-pieces", MAX_PIECES, "--workers", cores()]
        given += ["--keep-all"] if split == "test" else []
        work.programs.run(log, *tool, "encode", *given, texts / split, folder / split)


def _binary(work: Work, folder: Path) -> None:
    pieces, (source, target) = work.path("wordpieces"), work.request.sides
    for left in folder.glob("dict.*"):
        left.unlink()  # fairseq-preprocess refuses to replace what an interrupted try left
    work.programs.run(
        folder / "output.log",
        *("fairseq-preprocess", *PLUGIN, "--source-lang", source, "--target-lang", target),
        *("--joined-dictionary", "--srcdict", pieces / "model.dict.txt"),
        *("--trainpref", pieces / "train", "--validpref", pieces / "valid"),
        *("--testpref", pieces / "test", "--destdir", folder, "--workers", cores()),
    )
