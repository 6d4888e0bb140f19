"""``nmt-moe model``: a model's folder, and the file that it is packed into."""

import json
from dataclasses import dataclass
from pathlib import Path

from nmt_moe.cli.arguments import Command, option, positional, switch
from nmt_moe.common.errors import UserError
from nmt_moe.common.progress import bytes_text


@dataclass(kw_only=True)
class Info(Command):
    """Check the files of a model's folder by their checksums, and show what the model is: its
    languages, text, settings and scores, and how to use it.
    """

    folder: Path = positional("a model's folder", "MODEL")
    json: bool = switch("print its model.json")

    def run(self) -> None:
        from nmt_moe.trained import folder

        model = folder.read(self.folder)
        model.check()
        if self.json:
            print(json.dumps(model.about, indent=2, ensure_ascii=False))
        else:
            print("\n".join(folder.description(model)))


@dataclass(kw_only=True)
class Pack(Command):
    """Make one file of a model's folder, to send it or to store it. The same folder gives the same
    bytes.
    """

    folder: Path = positional("a model's folder", "MODEL")
    out: Path | None = option(
        None, "the file, .zip or .tar.gz (default: MODEL.zip, beside the folder)"
    )
    force: bool = switch("replace the file if it exists")
    int8: bool = switch(
        "pack weights in int8, a quarter of the size, for translating on CPUs: the folder in the "
        "file and the file by default are named MODEL-int8"
    )

    def run(self) -> None:
        from nmt_moe.trained import folder, packing

        model = folder.read(self.folder)
        path = model.path.resolve()
        out = self.out or path.with_name(f"{path.name}{'-int8' if self.int8 else ''}.zip")
        if out.exists() and not self.force:
            raise UserError(f"there is {out} already: give --force to replace it")
        packing.check(model, out)
        if self.int8:
            from nmt_moe.trained.int8 import converted

            with converted(model, out.absolute().parent) as smaller:
                packing.pack(smaller, out)
        else:
            packing.pack(model, out)
        print(f"{out}: {bytes_text(out.stat().st_size)}")


@dataclass(kw_only=True)
class Unpack(Command):
    """Make a model's folder of a packed model, and check its files by their checksums. Nothing is
    written outside the new folder.
    """

    file: Path = positional("a packed model, .zip or .tar.gz", "FILE")
    out: Path | None = option(
        None, "the new folder (default: the name in FILE, in the current folder)", metavar="FOLDER"
    )

    def run(self) -> None:
        from nmt_moe.trained import packing

        model = packing.unpack(self.file, self.out)
        print(f"{model.path}: {', '.join(' to '.join(pair) for pair in model.directions)}")
