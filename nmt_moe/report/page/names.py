"""Short names for paths that are shown side by side."""

from collections.abc import Sequence
from pathlib import PurePath


def distinct(paths: Sequence[str]) -> list[str]:
    """Shorten paths to the parts in which they differ.

    A single path stays as it is; equal ones are numbered.
    """
    if len(paths) == 1:
        return list(paths)
    parts = [list(PurePath(path).parts) or [path] for path in paths]
    for end in (-1, 0):
        while min(map(len, parts)) > 1 and len({names[end] for names in parts}) == 1:
            for names in parts:
                names.pop(end)
    short = ["/".join(names) for names in parts]
    if len(set(short)) == len(short):
        return short
    return [f"{name} ({number})" for number, name in enumerate(short, start=1)]
