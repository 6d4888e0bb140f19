"""What ``nmt-moe train`` was asked for, and what each of its stages works with."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nmt_moe.common.files import atomic_write
from nmt_moe.own_text.programs import Programs
from nmt_moe.own_text.screen import Screen
from nmt_moe.own_text.stages import Stages

STAGES = (
    *("text", "clean", "split", "choices", "wordpieces", "binary", "measure", "training"),
    *("average", "scores", "report", "model"),
)
PLUGIN = ["--user-dir", str(Path(__file__).resolve().parents[1])]


@dataclass(frozen=True, kw_only=True)
class Request:
    """The arguments of ``nmt-moe train``."""

    source: str
    target: str
    files: Sequence[Path]
    out: Path
    valid: Sequence[Path] = ()
    test: Sequence[Path] = ()
    columns: tuple[int, int] | None = None
    upsample: Sequence[str] = ()
    both: bool = False
    size: str | None = None
    seconds: float | None = None
    measure: float = 60
    settings: Mapping[str, str] = field(default_factory=dict)
    seed: int = 1
    commands: bool = False
    start: Path | None = None
    """The folder of a model to go on from."""

    @property
    def languages(self) -> tuple[str, str]:
        """Source and target."""
        return self.source, self.target

    @property
    def directions(self) -> list[tuple[str, str]]:
        """Source and target of each direction that the model translates."""
        pair = (self.source, self.target)
        return [pair, (self.target, self.source)] if self.both else [pair]

    @property
    def sides(self) -> tuple[str, str]:
        """The languages as fairseq's files are named: in one model of both directions a side has
        text in two."""
        return ("src", "tgt") if self.both else self.languages

    @property
    def work(self) -> Path:
        """The folder of the stages, beside the model's."""
        return self.out.with_name(f"{self.out.name}-work")


class Work:
    """A request that is being done."""

    def __init__(self, request: Request) -> None:
        self.begun = time.monotonic()
        self.request = request
        self.screen = Screen([name for name in STAGES if name != "measure" or request.measure])
        self.stages = Stages(request.work, self.screen)
        self.programs = Programs(self.screen, request.commands)

    def path(self, stage: str, *names: str) -> Path:
        """A stage's folder, or a file in it."""
        return self.request.work.joinpath(stage, *names)


def read(path: Path) -> Any:
    """The content of a JSON file."""
    return json.loads(path.read_text("utf-8"))


def write(path: Path, content: Any) -> None:
    """Write a JSON file."""
    with atomic_write([path]) as [file]:
        file.write(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
