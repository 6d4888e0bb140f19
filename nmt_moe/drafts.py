"""Files that have their names only once they are complete."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any


@contextlib.contextmanager
def drafts(paths: Sequence[Path], mode: str = "w") -> Iterator[list[IO[Any]]]:
    """Files to write, in UTF-8 or with ``mode="wb"``; all get their names at the end.

    If something fails, what was there before stays, and nothing else is left.
    """
    made = [path.with_name(f"{path.name}.draft") for path in paths]
    text: dict[str, Any] = {} if "b" in mode else {"encoding": "utf-8", "newline": "\n"}
    try:
        with contextlib.ExitStack() as stack:
            yield [stack.enter_context(draft.open(mode, **text)) for draft in made]
        for draft, path in zip(made, paths, strict=True):
            draft.replace(path)
    except OSError as error:
        if error.filename is None:  # that of a write
            error.filename = str(paths[0])
        raise
    finally:
        for draft in made:
            draft.unlink(missing_ok=True)
