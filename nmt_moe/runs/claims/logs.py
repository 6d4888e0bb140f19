"""The log of one training of a claim: all of its figures, and no path of the machine.

Its first line is a JSON object about the training. The others are those lines that fairseq's
commands and sacrebleu have printed which hold figures, unchanged.
"""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nmt_moe.common import logged
from nmt_moe.common.errors import UserError
from nmt_moe.runs.folder import log, seconds

_MEASURED = {
    **{
        search + text: f"{search}{text}/bleu.json"
        for search in ("fairseq", "gnmt", "packed")
        for text in ("", "1")
    },
    **{name: f"{name}.json" for name in ("pairs", "experts")},
}
"""Files of a training's folder, by the tags of their lines."""
_TAGS = "|".join(("about", "train_inner", "train", "valid", "test", "test1", *_MEASURED))
_LINE = re.compile(rf"(?:^|\| INFO \| )({_TAGS}) \| (\{{.*\}})$")
_PARAMETERS = re.compile(r"num\. shared model params: ([\d,]+)")


@dataclass(frozen=True)
class Record:
    """The figures of a line."""

    number: int
    """Of the line in its file, from 1."""
    tag: str
    """What the line is about: ``about``, ``train_inner``, ``train``, ``valid``, ``test``; or
    ``fairseq``, ``gnmt`` or ``packed``, the search whose translation sacrebleu has scored; with
    a 1, of a second test text; ``pairs``, the BLEU of each pair of languages; ``experts``, what
    they say of the target language."""
    figures: dict[str, Any]


@dataclass(frozen=True)
class Log:
    """A training's log."""

    path: Path
    records: list[Record]

    @property
    def about(self) -> dict[str, Any]:
        return self.records[0].figures

    @property
    def cell(self) -> str:
        return self.about["cell"]

    @property
    def seed(self) -> int:
        return self.about["seed"]

    def last(self, tag: str, key: str) -> Record | None:
        """The last line that has this figure."""
        found = [line for line in self.records if line.tag == tag and key in line.figures]
        return found[-1] if found else None

    def curve(self, key: str) -> dict[int, float]:
        """A figure of the validations by the number of updates."""
        return {
            int(line.figures[logged.of_split("valid", logged.UPDATES)]): float(line.figures[key])
            for line in self.records
            if line.tag == "valid" and key in line.figures
        }


def harvest(folder: Path, model: dict[str, int]) -> Iterator[str]:
    """The lines of the log to keep of a finished training.

    Args:
        folder: ``CELL-SEED`` in a run's folder.
        model: what there is to say of the model's size.

    Raises:
        UserError: something that the recipe writes there is missing.
    """
    cell, _, seed = folder.name.rpartition("-")
    try:
        about = {
            "cell": cell,
            "seed": int(seed),
            "options": (folder / "options").read_text("utf-8").split(),
            "seconds": seconds(folder),
            **json.loads((folder / "machine.json").read_text()),
        }
        if (folder / "peak").exists():
            about["peak_mib"] = int((folder / "peak").read_text())
        if "bandwidth_gb" in about:
            least = milliseconds_of_weights(model["parameters"], about["bandwidth_gb"])
            about["weights_ms"] = round(least, 1)
        trained = log(folder)
    except (OSError, ValueError) as error:
        raise UserError(f"{folder} is not complete ({error}): remove it, run again") from None
    sizes = [int(found[1].replace(",", "")) for found in map(_PARAMETERS.search, trained) if found]
    yield f"about | {json.dumps(about | {'all_parameters': sizes[-1]} | model)}"
    yield from (line for line in trained if _LINE.search(line))
    tested = folder / "test.log"
    if tested.exists():
        yield from filter(_LINE.search, tested.read_text("utf-8", "replace").splitlines())
    for tag, name in _MEASURED.items():
        measured = folder / name
        if measured.exists():
            yield f"{tag} | {json.dumps(json.loads(measured.read_text()))}"


def milliseconds_of_weights(parameters: int, gigabytes: float) -> float:
    """What an update takes at least, where all weights take part in it and no cache holds them.

    Each is read forward, backward and by the optimizer, which writes it; its gradient is written
    and read: 24 bytes in float32.

    Args:
        parameters: how many weights.
        gigabytes: that the memory moves in a second.
    """
    return 24 * parameters / (gigabytes * 1e9) * 1000


def parse(path: Path, lines: Iterable[str]) -> Log:
    """A log as :func:`harvest` has made it.

    Raises:
        UserError: it is none.
    """
    records = []
    for number, line in enumerate(lines, start=1):
        if (found := _LINE.search(line.rstrip("\n"))) is None:
            raise UserError(f"{path}, line {number}, holds no figures: collect the results again")
        records.append(Record(number, found[1], json.loads(found[2])))
    if not records or records[0].tag != "about":
        raise UserError(f"{path} does not begin with what it is about: collect the results again")
    return Log(path, records)


def read(path: Path) -> Log:
    """The log in a file."""
    with path.open(encoding="utf-8") as file:
        return parse(path, file)
