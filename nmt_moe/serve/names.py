"""What models are called: by as much of their paths as tells them apart."""

from collections import Counter
from collections.abc import Sequence
from itertools import count
from pathlib import Path


def names_of(models: Sequence[str]) -> list[str]:
    """Names of models, each another one.

    A model's folder is called by its name, a checkpoint by that of the folder around it; both with
    as many of the folders above as are needed, and checkpoints of one folder by their own names.
    What is named twice is numbered.

    Args:
        models: their paths; of an ensemble with colons between.
    """
    paths = [Path(one.split(":")[0]).resolve() for one in models]
    together = Counter(path.parent for path in {*paths} if not path.is_dir())
    parts, lengths = [], []
    for path in paths:
        several = not path.is_dir() and together[path.parent] > 1
        named = path if path.is_dir() else path.parent / path.stem if several else path.parent
        parts.append(named.parts)
        lengths.append(1 + several)
    for _ in range(max(map(len, parts))):
        found = ["/".join(some[-length:]) for some, length in zip(parts, lengths, strict=True)]
        often = Counter({name: len({*same}) for name, same in _by_name(found, parts).items()})
        lengths = [length + (often[name] > 1) for length, name in zip(lengths, found, strict=True)]
    result: list[str] = []
    for name in found:
        numbered = (name if number == 1 else f"{name}-{number}" for number in count(1))
        result.append(next(one for one in numbered if one not in result))
    return result


def _by_name(
    names: Sequence[str], parts: Sequence[tuple[str, ...]]
) -> dict[str, list[tuple[str, ...]]]:
    found: dict[str, list[tuple[str, ...]]] = {}
    for name, some in zip(names, parts, strict=True):
        found.setdefault(name, []).append(some)
    return found
