"""Multi30k: image captions in English, German and French, from a folder into three splits.

The folder is a clone of https://github.com/multi30k/dataset or any folder with its files
``train``, ``val`` and ``test_2016_flickr``, gzipped or plain.
"""

from pathlib import Path

from nmt_moe.common.door import door
from nmt_moe.common.errors import UserError
from nmt_moe.common.files import atomic_write
from nmt_moe.common.lines import read_pairs

SPLITS = {"train": "train", "valid": "val", "test": "test_2016_flickr"}
_IN_CLONE = Path("data/task1/raw")


def find(folder: Path, name: str) -> Path:
    """The file ``name`` or ``name.gz``, in the folder or where a clone keeps it.

    Raises:
        UserError: neither is there.
    """
    if not folder.is_dir():
        raise UserError(f"no folder {folder}: MULTI30K must name one with train.en.gz and so on")
    for place in (folder, folder / _IN_CLONE):
        for path in (place / f"{name}.gz", place / name):
            if path.is_file():
                return path
    raise UserError(f"{folder} holds neither {name}.gz nor {name}, nor does its {_IN_CLONE}")


def prepare(folder: Path, target: str, out: Path) -> dict[str, int]:
    """Write ``out/{train,valid,test}.{en,target}``; returns the pairs of each split."""
    languages = ("en", target)
    found = {
        split: [find(folder, f"{name}.{language}") for language in languages]
        for split, name in SPLITS.items()
    }
    out.mkdir(parents=True, exist_ok=True)
    pairs = dict.fromkeys(SPLITS, 0)
    for split, (source_path, target_path) in found.items():
        with atomic_write([out / f"{split}.{language}" for language in languages]) as files:
            for pair in read_pairs(source_path, target_path):
                pairs[split] += 1
                for file, line in zip(files, pair, strict=True):
                    file.write(line + "\n")
    return pairs


main = door(__name__, "corpus", "multi30k")
