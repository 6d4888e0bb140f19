"""A model's folder with its weights in int8."""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nmt_moe.checkpoint import files
from nmt_moe.checkpoint.record import Checkpoint
from nmt_moe.common.errors import UserError
from nmt_moe.models import quantized
from nmt_moe.trained.folder import ABOUT, CARD, MODEL, ModelFolder
from nmt_moe.trained.loading import load

_NOTE = (
    "The weights of this copy are in int8, for translating on CPUs; it cannot be trained. Scores "
    "are those of the model in float32."
)


@contextmanager
def converted(model: ModelFolder, near: Path) -> Iterator[ModelFolder]:
    """A copy of a model's folder with weights in int8, which is named so and removed at the end.

    Args:
        model: the folder, which is checked.
        near: the folder in which the copy is made.

    Raises:
        UserError: the folder is damaged, is in int8 already, or holds another kind of model.
    """
    model.check()
    name = f"{model.path.resolve().name}-int8"
    near.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{name[:50]}.", suffix=".draft", dir=near) as draft:
        folder = Path(draft, name)
        hidden = shutil.ignore_patterns(".*", MODEL)
        shutil.copytree(model.path, folder, ignore=hidden)
        checkpoint = Checkpoint.complete(model.checkpoint, checked=True)
        if quantized.is_asked_for(checkpoint.options("model")):
            raise UserError(f"{model.path} is in int8 already: pack it without --int8")
        state = load(checkpoint, int8=True).model.state_dict()
        options = checkpoint.options("model") | {quantized.OPTION: True}
        cfg = checkpoint.cfg | {"model": options}
        files.write(checkpoint.state | {"model": state, "cfg": cfg}, str(folder / MODEL))
        with (folder / MODEL).open("rb") as opened:
            found = hashlib.file_digest(opened, "sha256").hexdigest()
        about = model.about | {"int8": True, "sha256": model.about["sha256"] | {MODEL: found}}
        if (folder / CARD).is_file():  # people may have added to it
            first, *others = (folder / CARD).read_text("utf-8").split("\n\n")
            (folder / CARD).write_text("\n\n".join([first, _NOTE, *others]), "utf-8")
        text = json.dumps(about, indent=2, ensure_ascii=False)
        (folder / ABOUT).write_bytes(f"{text}\n".encode("utf-8", "backslashreplace"))
        yield ModelFolder(folder, about)
