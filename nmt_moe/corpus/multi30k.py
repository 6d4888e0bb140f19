"""Multi30k: image captions in English, German, French and Czech, from a folder into its splits.

The folder is a clone of https://github.com/multi30k/dataset or any folder with its files
``train``, ``val`` and ``test_2016_flickr``, gzipped or plain; and those of 2017, where it has them.
"""

from collections.abc import Callable
from pathlib import Path

from nmt_moe.common import moses
from nmt_moe.common.door import door
from nmt_moe.common.errors import UserError
from nmt_moe.common.files import atomic_write
from nmt_moe.common.lines import read_pairs

LANGUAGES = ("en", "de", "fr", "cs")
SPLITS = {"train": "train", "valid": "val", "test": "test_2016_flickr"}
MORE = ("test_2017_flickr", "test_2017_mscoco")
"""Test sets that are not in all languages."""
_IN_CLONE = Path("data/task1/raw")


def find(folder: Path, name: str) -> Path:
    """The file ``name`` or ``name.gz``, in the folder or where a clone keeps it.

    Raises:
        UserError: neither is there.
    """
    if not folder.is_dir():
        raise UserError(f"no folder {folder}: MULTI30K must name one with train.en.gz and so on")
    found = _places(folder, name)
    if not found:
        raise UserError(f"{folder} holds neither {name}.gz nor {name}, nor does its {_IN_CLONE}")
    return found[0]


def _places(folder: Path, name: str) -> list[Path]:
    places = (folder, folder / _IN_CLONE)
    return [path for at in places for path in (at / f"{name}.gz", at / name) if path.is_file()]


def as_papers(language: str) -> Callable[[str], str]:
    """What the text of published systems has gone through: lower case, Moses' plain punctuation and
    Moses' tokens."""
    tokenise = moses.tokeniser(language, normalise=True)
    return lambda line: tokenise(line.lower())


def prepare(
    folder: Path, source: str, target: str, out: Path, *, papers: bool = False
) -> dict[str, int]:
    """Write ``out/{train,valid,test}.{source,target}``, and the test sets of 2017.

    Args:
        folder: with the files.
        source: one of the languages.
        target: another one.
        out: is made.
        papers: write the text as :func:`as_papers` has it.

    Returns:
        The pairs of each split.

    Raises:
        UserError: a file is missing, or its two sides have different numbers of lines.
    """
    languages = (source, target)
    if source == target:
        raise UserError(f"source and target are both {source}: name two languages")
    more = [name for name in MORE if all(_places(folder, f"{name}.{side}") for side in languages)]
    sets = SPLITS | dict(zip(more, more, strict=True))
    found = {
        split: [find(folder, f"{name}.{language}") for language in languages]
        for split, name in sets.items()
    }
    change = [as_papers(language) if papers else str for language in languages]
    out.mkdir(parents=True, exist_ok=True)
    pairs = dict.fromkeys(sets, 0)
    for split, (source_path, target_path) in found.items():
        with atomic_write([out / f"{split}.{language}" for language in languages]) as files:
            for pair in read_pairs(source_path, target_path):
                pairs[split] += 1
                for file, line, changed in zip(files, pair, change, strict=True):
                    file.write(changed(line) + "\n")
    return pairs


main = door(__name__, "corpus", "multi30k")
