"""A model's folder: all that translates, in one place that can be copied and packed.

=========================  ==================================================================
``model.pt``               the weights, a checkpoint of fairseq without the optimizer's state
``dict.LANGUAGE.txt``      the dictionaries
``sentencepiece.model``    cuts text into pieces
``model.json``             what the model is, with the checksums of the files above
``README.md``              the same for people, a model card
``report.html``            the report page, if there is one
=========================  ==================================================================
"""

import hashlib
import importlib
import json
import os
import platform
import shlex
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import nmt_moe
from nmt_moe.common.errors import UserError
from nmt_moe.common.files import atomic_write
from nmt_moe.common.languages import same
from nmt_moe.common.progress import bytes_text
from nmt_moe.trained.card import between, card, score_lines
from nmt_moe.trained.search import BEAM, MAX_PIECES, longest_translation

MODEL, WORDPIECES, ABOUT, CARD = "model.pt", "sentencepiece.model", "model.json", "README.md"
"""Names of its files."""
FORMAT = 1
"""Of ``model.json``, and the newest that can be read."""

_VERSIONS = ("torch", "fairseq", "sentencepiece", "sacrebleu")
_KEPT = ("args", "cfg", "model", "criterion", "task_state", "moe_dictionaries")


@dataclass(frozen=True)
class ModelFolder:
    """A folder that :func:`write` has written."""

    path: Path
    about: dict[str, Any]
    """The content of ``model.json``."""

    @property
    def checkpoint(self) -> Path:
        """The weights."""
        return self.path / MODEL

    @property
    def wordpieces(self) -> Path:
        """The sentencepiece model."""
        return self.path / WORDPIECES

    @property
    def dictionaries(self) -> list[Path]:
        """The dictionaries, the source's first."""
        return [self.path / name for name in self.about["sha256"] if name.startswith("dict.")]

    @property
    def directions(self) -> list[tuple[str, str]]:
        """Source and target languages."""
        return [(source, target) for source, target in self.about["directions"]]

    def source_of(self, target: str) -> str | None:
        """The language that it translates from into the target; None: there are several."""
        into = {direction[1] for direction in self.directions}
        meant = same(target, into)
        found = [source for source, other in self.directions if other == meant]
        return found[0] if len(found) == 1 else None

    def interactive(self) -> str | None:
        """The command of fairseq that translates with it; None where a tag before each sentence
        says into which language: fairseq would cut that into pieces."""
        if len(self.directions) > 1:
            return None
        source, target = (file.name.split(".")[1] for file in self.dictionaries)
        return shlex.join(
            ["fairseq-interactive", str(self.path), "--path", str(self.checkpoint)]
            + ["--user-dir", os.path.dirname(nmt_moe.__file__), "--task", "gnmt_translation"]
            + ["--source-lang", source, "--target-lang", target, "--bpe", "sentencepiece"]
            + ["--sentencepiece-model", str(self.wordpieces), "--beam", str(BEAM)]
            + ["--max-len-b", str(longest_translation(MAX_PIECES))]
        )

    def check(self) -> None:
        """Raise a :class:`UserError` that names the first file which is missing or changed."""
        for name, known in self.about["sha256"].items():
            file = self.path / name
            if not file.is_file():
                raise UserError(f"{self.path} lacks {name}: copy the whole folder again")
            with file.open("rb") as opened:
                found = hashlib.file_digest(opened, "sha256").hexdigest()
            if found != known:
                raise UserError(
                    f"{file} is not the file that {ABOUT} was written for: it was damaged or "
                    "replaced, so copy the whole folder again"
                )


def read(folder: str | Path) -> ModelFolder:
    """Read what a model's folder says of itself; the other files are left to :meth:`check`.

    Raises:
        UserError: it is no such folder, or of a later version.
    """
    path = Path(folder)
    file = path / ABOUT
    if not file.is_file():
        raise UserError(f"{path} is no model folder: it has no {ABOUT}")
    try:
        about = json.loads(file.read_text("utf-8"))
        number, names = int(about["format"]), list(about["sha256"])
        good = all(isinstance(pair, list) and len(pair) == 2 for pair in about["directions"])
        good &= all(name == os.path.basename(name) != ".." for name in names)
    except (ValueError, KeyError, TypeError):
        good = False
    if not good:
        raise UserError(f"{file} is damaged: copy the whole folder again")
    if number > FORMAT:
        raise UserError(
            f"{path} was written by nmt_moe {about.get('nmt_moe')}, of a later format than this "
            f"nmt_moe {nmt_moe.__version__} reads: install that version"
        )
    return ModelFolder(path, about)


def in_int8(given: str | Path) -> bool:
    """Whether that is a model's folder with weights in int8."""
    return (Path(given) / ABOUT).is_file() and bool(read(given).about.get("int8"))


def description(model: ModelFolder) -> Iterator[str]:
    """What ``nmt-moe model info`` prints of a folder that was checked."""
    about, directions = model.about, model.directions
    size = sum((model.path / file).stat().st_size for file in about["sha256"])
    spoken = ", ".join(map(between, directions))
    yield f"{model.path}: {spoken}; {bytes_text(size)}, all files as they were written"
    versions = ", ".join(f"{part} {version}" for part, version in about["versions"].items())
    if about.get("int8"):
        scored = "; the scores are those of its weights in float32" if about.get("scores") else ""
        yield f"weights in int8, for translating on CPUs{scored}"
    yield f"made {about['created']} by nmt_moe {about['nmt_moe']}: {versions}"
    for one in about.get("text") or ():
        yield f"text: {one['pairs']:,} pairs of {one['name']}"
    if about.get("settings"):
        yield f"settings: {', '.join(f'{k} {v}' for k, v in about['settings'].items())}"
    for found in about.get("scores") or ():
        yield ""
        yield f"{between(found['direction'])}, {found['text']}, {found['sentences']:,} sentences:"
        yield from score_lines(found["scores"])
    yield ""
    into = f" --target-lang {directions[0][1]}" if len(directions) > 1 else ""
    yield f"nmt-moe translate {shlex.quote(str(model.path))}{into} < text > translation"
    if command := model.interactive():
        yield command


def write(
    folder: str | Path,
    checkpoint: str | Path,
    dictionaries: Sequence[Path],
    wordpieces: Path,
    about: Mapping[str, Any],
) -> ModelFolder:
    """Write a model's folder; what it held of another model is replaced, all files together.

    Args:
        folder: where to; made if it is not there.
        checkpoint: a complete checkpoint of a translation model. Only its weights and options are
            taken, and of paths in these only the last part.
        dictionaries: ``dict.SOURCE.txt`` and ``dict.TARGET.txt`` of ``fairseq-preprocess``, whose
            names are the languages of the training.
        wordpieces: the sentencepiece model.
        about: what ``model.json`` and the card say:

            - ``directions``: ``[["en", "de"]]``; needed;
            - ``text``: ``[{"name", "pairs", "sha256"}]``, of each file of the training text;
            - ``settings``: option -> value;
            - ``reasons``: sentences that say why;
            - ``scores``: for each test text ``{"direction": ["en", "de"], "text": name,
              "sentences": number, "scores": {"BLEU": {"value", "low", "high", "signature"}, ...},
              "worst": [{"source", "reference", "hypothesis", "score"}]}``, from
              :func:`nmt_moe.score.evaluation.for_card`.

            ``created`` (ISO 8601) is now, if it is not given; other keys are kept as they are.

    Raises:
        UserError: the checkpoint is damaged or a part, or the dictionaries have other names.
    """
    from nmt_moe.checkpoint import files  # what only reads a folder needs no torch
    from nmt_moe.checkpoint.record import Checkpoint

    path = Path(folder)
    trained = Checkpoint.complete(checkpoint)
    sides = [*dict.fromkeys(file.name for file in dictionaries)]
    languages = [name.removeprefix("dict.").removesuffix(".txt") for name in sides]
    if [f"dict.{language}.txt" for language in languages] != sides or len(sides) != 2:
        raise UserError(f"dict.SOURCE.txt and dict.TARGET.txt are needed, not {', '.join(sides)}")
    copied = dict(zip([*sides, WORDPIECES], [*dictionaries, wordpieces], strict=True))
    contents = {name: file.read_bytes() for name, file in copied.items()}
    path.mkdir(parents=True, exist_ok=True)
    names = [MODEL, *contents, CARD, ABOUT]
    with atomic_write([path / name for name in names], "wb") as opened:
        outputs: dict[str, IO[bytes]] = dict(zip(names, opened, strict=True))
        weights = _Summed(outputs[MODEL])
        files.write(_weights_alone(trained.state, languages), weights, remove=False)
        sums = {MODEL: weights.sum.hexdigest()}
        for name, content in contents.items():
            outputs[name].write(content)
            sums[name] = hashlib.sha256(content).hexdigest()
        whole = {
            "format": FORMAT,
            "nmt_moe": nmt_moe.__version__,
            "created": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
            "versions": dict(_versions()),
            "updates": trained.updates,
            **about,
            "sha256": sums,
        }
        outputs[CARD].write(card(path.absolute().name, whole).encode())
        text = json.dumps(whole, indent=2, ensure_ascii=False)
        outputs[ABOUT].write(f"{text}\n".encode("utf-8", "backslashreplace"))
    return ModelFolder(path, json.loads(text))


class _Summed:
    """A file that is only written, with the checksum of what was."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self.name, self.sum = file, file.name, hashlib.sha256()

    def write(self, data: Any) -> int:
        self.sum.update(data)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()


def _weights_alone(state: Mapping[str, Any], languages: Sequence[str]) -> dict[str, Any]:
    """What fairseq and this package need of a checkpoint to build its model."""
    epochs = (state.get("extra_state") or {}).get("train_iterator")
    kept = {name: state[name] for name in _KEPT if name in state}
    kept["optimizer_history"] = [state["optimizer_history"][-1] | {"lr_scheduler_state": {}}]
    kept["extra_state"] = {"train_iterator": epochs or {"epoch": 1, "iterations_in_epoch": 0}}
    kept["cfg"] = {name: _nameless(part) for name, part in state["cfg"].items()}
    task = kept["cfg"]["task"]
    task = vars(task) if isinstance(task, Namespace) else task
    task.update(source_lang=languages[0], target_lang=languages[1])  # fairseq may infer them
    return kept


def _nameless(options: Any) -> Any:
    """Options without the folders of the machine that they were given on."""
    if isinstance(options, Namespace):
        return Namespace(**_nameless(vars(options)))
    if not isinstance(options, Mapping):
        return options
    return {
        name: os.path.basename(value) if isinstance(value, str) and os.path.isabs(value) else value
        for name, value in options.items()
    }


def _versions() -> Iterator[tuple[str, str]]:
    yield "python", platform.python_version()
    for name in _VERSIONS:
        yield name, importlib.import_module(name).__version__
