"""From a checkpoint to a model's folder: the stages scores, report and model."""

import shlex
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nmt_moe.common.files import atomic_write
from nmt_moe.common.lines import read_lines
from nmt_moe.own_text import translations
from nmt_moe.own_text.model import CHECKPOINT, WORDPIECES
from nmt_moe.own_text.request import Work, read
from nmt_moe.own_text.stages import by_name
from nmt_moe.own_text.text import ABOUT, files_of, old_test, say_suspicions
from nmt_moe.score.evaluation import for_card

if TYPE_CHECKING:
    from nmt_moe.own_text.choices import Choices

EXAMPLES = 10
LONGEST = 200  # characters that are shown of a sentence
REPORT, TRANSLATIONS, OLD = "report.html", "translations.json", "old.json"


def score(work: Work) -> None:
    """The stages scores and report."""
    work.stages.do("scores", {}, partial(_scores, work), ["average", "split"])
    for source, target in work.request.directions:
        _show(work, f"{source}-{target}")
    if work.request.start:
        _compare(work, work.request.start)
    work.stages.do("report", {}, partial(_report, work), ["average", "scores"])


def _scores(work: Work, folder: Path) -> None:
    """Translate the test text of each direction as the model's users do, and score it."""
    for source, target in work.request.directions:
        direction = f"{source}-{target}"
        texts = [work.path("split", f"test.{language}") for language in (source, target)]
        hypotheses = folder / f"{direction}.txt"
        work.programs.run(
            folder / "output.log",
            *("nmt-moe", "translate", work.path("average", CHECKPOINT), "--progress"),
            *("--source-lang", source, "--target-lang", target),
            reads=texts[0],
            writes=hypotheses,
        )
        sources, references, translated = ([*read_lines(path)] for path in (*texts, hypotheses))
        translations.write(folder / f"{direction}.json", sources, references, translated, target)
    if work.request.start:
        _score_old(work, work.request.start, folder / "output.log")


def _score_old(work: Work, model: Path, log: Path) -> None:
    """Score what the model that this one goes on from was scored with."""
    old, out = old_test(model), work.path("scores", OLD)
    if not old:
        return
    source, target = work.request.directions[0]
    sources, references = ([one[side] for one in old] for side in ("source", "reference"))
    text, hypotheses = work.path("scores", "old.txt"), work.path("scores", "old.translated.txt")
    with atomic_write([text]) as [file]:
        file.writelines(f"{line}\n" for line in sources)
    work.programs.run(
        log,
        *("nmt-moe", "translate", work.path("average", CHECKPOINT)),
        *("--source-lang", source, "--target-lang", target),
        reads=text,
        writes=hypotheses,
    )
    translations.write(out, sources, references, [*read_lines(hypotheses)], target)


def _compare(work: Work, model: Path) -> None:
    """The scores on the old test text, before and now: what was forgotten."""
    now, before = work.path("scores", OLD), model / TRANSLATIONS
    if not now.is_file():
        return
    work.screen.say(
        f"  on the {len(old_test(model)):,} sentences that {model.name} was scored with:"
    )
    for name, score in read(now)["scores"].items():
        was = read(before)["scores"][name]["value"]
        work.screen.say(f"  {name:5} {score['value']:6.2f}  ({was:.2f} before)")


def _show(work: Work, direction: str) -> None:
    """The scores, and some translations from all over the text."""
    found = read(work.path("scores", f"{direction}.json"))
    sentences = found["sentences"]
    work.screen.say(f"  {direction}, {len(sentences):,} sentences that were not trained with:")
    for name, one in found["scores"].items():
        work.screen.say(
            f"  {name:5} {one['value']:6.2f}  (95% from {one['low']:.2f} to {one['high']:.2f})  "
            f"{one['signature']}"
        )
    for one in sentences[:: max(len(sentences) // EXAMPLES, 1)][:EXAMPLES]:
        for indent, side in (("    ", "source"), ("      ", "hypothesis")):
            work.screen.say(indent + one[side][:LONGEST])


def _report(work: Work, folder: Path) -> None:
    """The page about the model; of both directions it shows the first."""
    source, target = work.request.directions[0]
    texts = [work.path("split", f"test.{language}") for language in (source, target)]
    work.programs.run(
        folder / "output.log",
        *("nmt-moe", "report", work.path("average", CHECKPOINT), *texts, "--out", folder / REPORT),
        *("--source-lang", source, "--target-lang", target),
        *("--translations", work.path("scores", f"{source}-{target}.json")),
    )


def finish(work: Work, choices: "Choices", options: Sequence[str]) -> None:
    """The stage model: the folder that is used."""
    out = work.request.out
    if not (out / "model.json").is_file():
        shutil.rmtree(work.path("model"), ignore_errors=True)
    made = {"out": str(out), "reasons": choices.reasons}
    made_of = ["average", "scores", "report", "split"]
    work.stages.do("model", made, partial(_model, work, choices, options), made_of)
    say_suspicions(work)
    source, target = work.request.directions[0]
    into = f" --target-lang {target}" if work.request.both else ""
    work.screen.say(f"\n{out} is the model, {out}/README.md says what it is. To translate:")
    words = f"nmt-moe translate {shlex.quote(str(out))}{into}"
    work.screen.say(f"  {words} < text.{source} > text.{target}")


def _model(work: Work, choices: "Choices", options: Sequence[str], folder: Path) -> None:
    from nmt_moe.trained.folder import write

    request, average = work.request, work.path("average")
    about: dict[str, Any] = {
        "directions": [list(pair) for pair in request.directions],
        "text": [
            {name: one[name] for name in ("name", "pairs", "sha256")}
            for one in files_of(work, "train")
        ],
        "suspicions": read(work.path("text", ABOUT))["suspicions"],
        "settings": _settings(options),
        "reasons": choices.reasons,
        "scores": [_of_card(work, pair) for pair in request.directions],
    }
    dictionaries = [average / f"dict.{side}.txt" for side in request.sides]
    write(request.out, average / CHECKPOINT, dictionaries, average / WORDPIECES, about)
    copies = {REPORT: work.path("report", REPORT)}
    copies[TRANSLATIONS] = work.path("scores", "-".join(request.directions[0]) + ".json")
    for name, path in copies.items():
        with atomic_write([request.out / name], "wb") as [file]:
            file.write(path.read_bytes())


def _of_card(work: Work, direction: tuple[str, str]) -> dict[str, Any]:
    """What the model's card says of a direction."""
    found = read(work.path("scores", "-".join(direction) + ".json"))
    return for_card(found, direction, "test")


def _settings(words: Sequence[str]) -> dict[str, str]:
    found = by_name(words)
    found.pop("finetune-from-model", None)  # a path of this machine
    return found
