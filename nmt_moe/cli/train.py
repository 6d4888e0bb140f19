"""``nmt-moe train``."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nmt_moe.cli.arguments import Command, option, positional, required, switch
from nmt_moe.common.duration import seconds
from nmt_moe.common.errors import UserError
from nmt_moe.common.ranges import integers, numbers


@dataclass(kw_only=True)
class Train(Command):
    """Train a translator of your own parallel text, from files to a folder that translates. The
    text is looked at, cleaned and split, the model's size follows from how much text there is, and
    all that is chosen is printed with its reason.

    FILE is one of two aligned files such as text.en and text.de (plain, .gz, .xz or .bz2), a TSV
    file, TMX, JSON lines, or a folder with {train,valid,test}.LANGUAGE. Several are put together.

    The work lies in OUT-work. The same command goes on where it was stopped; with another file or
    setting it does anew what follows from that, and nothing else.
    """

    files: list[Path] = positional("the text", "FILE")
    source: str | None = option(
        None,
        "the language to translate from, such as en (needed without --from)",
        metavar="LANGUAGE",
    )
    target: str | None = option(
        None, "the language to translate into (needed without --from)", metavar="LANGUAGE"
    )
    out: Path = required("the folder of the model", metavar="FOLDER")
    valid: list[Path] = option(
        [], "text to validate with (default: taken from FILE at random)", metavar="FILE", nargs="+"
    )
    test: list[Path] = option(
        [], "text to score with (default: taken from FILE at random)", metavar="FILE", nargs="+"
    )
    both: bool = switch("one model for both directions")
    start: Path | None = option(
        None,
        "a model's folder to go on from with the text, with its vocabulary and languages: its old "
        "test text is scored again, so that what it forgets is seen",
        metavar="MODEL",
        name="--from",
    )
    time: str | None = option(
        None, "end within this time, scores included, such as 2h, 90m or 1h30m", metavar="TIME"
    )
    size: str | None = option(
        None, "tiny, small, medium, base, large or huge (default: by the amount of text)"
    )
    settings: list[str] = option(
        [],
        "a choice of your own, such as vocabulary=8000, or an option of fairseq-train, such as "
        "lr=0.001; may be repeated",
        metavar="OPTION=VALUE",
        name="--set",
        action="append",
    )
    upsample: list[str] = option(
        [],
        "train N times with the text of a file; may be repeated",
        metavar="FILE=N",
        action="append",
    )
    columns: list[int] | None = option(
        None,
        "those of source and target in TSV files, from 1 (default: found)",
        integers(1),
        ("SOURCE", "TARGET"),
        nargs=2,
    )
    seed: int = option(1, "of the split and the training", integers(0))
    measure: float = option(
        60.0,
        "seconds to try the training for, before it begins, for the estimate of time and memory; "
        "0: none",
        numbers(0),
        "SECONDS",
    )
    commands: bool = switch("show each program that is started, as it would be typed")

    def run(self) -> int:
        from nmt_moe.own_text.request import Request
        from nmt_moe.own_text.train import train
        from nmt_moe.runs.commands import exit_code

        (source, target), both = self._directions()
        if not self.out.name:
            raise UserError(f"--out {self.out}: name a new folder")
        request = Request(
            source=source,
            target=target,
            start=self.start and self.start.absolute(),
            files=[path.absolute() for path in self.files],
            out=self.out.absolute(),
            valid=[path.absolute() for path in self.valid],
            test=[path.absolute() for path in self.test],
            columns=(self.columns[0], self.columns[1]) if self.columns else None,
            upsample=self.upsample,
            both=both,
            size=self.size,
            seconds=None if self.time is None else seconds(self.time, "--time"),
            measure=self.measure,
            settings=_named(self.settings),
            seed=self.seed,
            commands=self.commands,
        )
        return exit_code("nmt-moe train", lambda: train(request), apart=True)

    def _directions(self) -> tuple[tuple[str, str], bool]:
        """Source and target, and whether the model translates both ways."""
        if self.start is None:
            if not (self.source and self.target):
                raise UserError(
                    "--source and --target are needed: the languages, such as en and de"
                )
            if self.source == self.target:
                raise UserError(f"--source and --target are both {self.source}")
            from nmt_moe.common.languages import language

            for code in (self.source, self.target):
                language(code)  # refuses what is none
            return (self.source, self.target), self.both
        from nmt_moe.trained.folder import read

        kept = {"--size": self.size, "--both": self.both}
        kept |= {"--set vocabulary": "vocabulary" in _named(self.settings)}
        refused = [name for name, given in kept.items() if given]
        if refused:
            raise UserError(
                f"{refused[0]}: with --from all that is as in {self.start}: leave it out"
            )
        if self.out.absolute() == self.start.absolute():
            raise UserError(f"--out {self.out} is the model of --from: name a new folder")
        start = read(self.start)
        if start.about.get("int8"):
            raise UserError(
                f"--from {self.start} is in int8, for translating only: give the model in float32 "
                "that it was packed from"
            )
        directions = start.directions
        first = directions[0]
        if (self.source or first[0], self.target or first[1]) != first:
            raise UserError(
                f"--from {self.start} translates {' into '.join(first)}: leave out --source and "
                "--target"
            )
        return first, len(directions) > 1


def _named(given: Sequence[str]) -> dict[str, str]:
    """What was given as OPTION=VALUE."""
    found = {}
    for one in given:
        name, equals, value = one.partition("=")
        if not (name and equals):
            raise UserError(f"--set {one} is not OPTION=VALUE, such as dropout=0.2")
        found[name] = value
    return found
