"""What ``model.json`` says, for people: the model's card, and lines for a terminal."""

import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from nmt_moe.common.languages import english

_LIST = re.compile(r"^(\d*)([-+.)])(?=\s)")
_MARKUP = re.compile(r"([\\`*_{}\[\]<>#|~$])")


def card(name: str, about: Mapping[str, Any]) -> str:
    """The text of ``README.md``.

    Args:
        name: of the folder.
        about: the content of ``model.json``.
    """
    return "\n".join(_lines(name, about)) + "\n"


def score_lines(scores: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Scores by the names of their metrics, each with interval and signature."""
    for name, score in scores.items():
        interval = f"({score['low']:.2f} to {score['high']:.2f})"
        yield f"{name:5} {score['value']:6.2f}  {interval:18}  {score['signature']}"


def _lines(name: str, about: Mapping[str, Any]) -> Iterator[str]:
    directions = about["directions"]
    yield f"# {_text(name)}: {_text(', '.join(map(between, directions)))}"
    yield ""
    yield (
        f"A translation model, trained with nmt_moe {about['nmt_moe']} in {about['updates']:,} "
        f"updates. This folder of {about['created'][:10]} is all that it needs, and may be copied, "
        "renamed and packed."
    )
    yield from _use(name, directions)
    if about.get("scores"):
        yield from _scores(about["scores"])
    if any(found.get("worst") for found in about.get("scores") or ()):
        yield from _worst(about["scores"])
    if about.get("text"):
        yield from _heading("Training text")
        rows = [[f"{one['pairs']:,}", one["name"], one["sha256"]] for one in about["text"]]
        yield from _table(["pairs", "file", "SHA-256"], rows)
        if about.get("suspicions"):
            yield from ("", "What looked wrong with it:", "")
            yield from (f"- {_text(line)}" for line in about["suspicions"])
    if about.get("settings") or about.get("reasons"):
        yield from _heading("Settings")
        yield from (f"- {_text(reason)}" for reason in about.get("reasons") or ())
        yield ""
        rows = [[option, str(value)] for option, value in (about.get("settings") or {}).items()]
        yield from _table(["option", "value"], rows)
    yield from _heading("Versions")
    versions = {"nmt_moe": about["nmt_moe"], **about["versions"]}
    yield ", ".join(f"{_text(part)} {_text(version)}" for part, version in versions.items())


def _use(name: str, directions: Sequence[Sequence[str]]) -> Iterator[str]:
    folder, (source, target) = shlex.quote(name), directions[0]
    several = len(directions) > 1
    yield from _heading("Use")
    yield "With nmt_moe installed, in the folder that holds this one:"
    yield ""
    yield "```bash"
    chosen = f" --target-lang {target}" if several else ""
    yield f"nmt-moe translate {folder}{chosen} < text.{source} > text.{target}"
    yield f"nmt-moe model info {folder}    # checks it; names its fairseq-interactive"
    yield "```"
    yield ""
    yield "```python"
    yield "from nmt_moe import Translator"
    yield ""
    chosen = f', target_lang="{target}"' if several else ""
    yield f'Translator({json.dumps(name, ensure_ascii=False)}{chosen}).translate(["..."])'
    yield "```"


def _scores(scores: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield from _heading("Scores")
    yield "Of detokenised text, by sacrebleu; the interval holds 95% of a bootstrap's samples."
    yield ""
    rows = [
        [
            between(found["direction"]),
            f"{found['text']}, {found['sentences']:,} sentences",
            measure,
            f"{score['value']:.2f}",
            f"{score['low']:.2f} to {score['high']:.2f}",
            score["signature"],
        ]
        for found in scores
        for measure, score in found["scores"].items()
    ]
    yield from _table(["direction", "text", "measure", "score", "interval", "signature"], rows)


def _worst(scores: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield from _heading("What it is bad at")
    yield "The sentences with the lowest scores, which are chrF2 of the sentence."
    for found in scores:
        yield ""
        yield f"{between(found['direction'])}, {_text(found['text'])}:"
        yield ""
        for one in found.get("worst") or ():
            yield f"- {_text(one['source'])}"
            yield f"  - translated: {_text(one['hypothesis']) or '(nothing)'}"
            yield f"  - reference: {_text(one['reference'])}"
            yield f"  - score: {one['score']:.1f}"


def between(direction: Sequence[str]) -> str:
    """The two languages of a direction, in words."""
    return " to ".join(map(english, direction))


def _heading(text: str) -> Iterator[str]:
    yield from ("", f"## {text}", "")


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    if rows:
        yield f"| {' | '.join(head)} |"
        yield f"|{' --- |' * len(head)}"
        yield from (f"| {' | '.join(map(_text, row))} |" for row in rows)


def _text(text: str) -> str:
    """Text that Markdown shows as it is, in one line."""
    return _LIST.sub(r"\1\\\2", _MARKUP.sub(r"\\\1", " ".join(text.split())))
