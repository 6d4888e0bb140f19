"""The languages and the test set of a checkpoint, for scoring it.

Beside its checkpoints, the folder of a training holds ``dict.LANGUAGE.txt`` of both languages and
``sentencepiece.model``. The checkpoint names the folder of the binarised corpus,
``PREPARED/binary``; the text of the test sets is in ``PREPARED/corpus``.
"""

from dataclasses import dataclass
from pathlib import Path

from fairseq.utils import split_paths

from nmt_moe.checkpoint import dictionaries
from nmt_moe.checkpoint.record import Checkpoint
from nmt_moe.common.door import door
from nmt_moe.common.errors import UserError
from nmt_moe.runs import folder
from nmt_moe.trained.vocabulary import WORDPIECES, read_dictionary


@dataclass(frozen=True)
class Found:
    """The languages and the test set; ``nmt-moe`` prints them as lines in this order."""

    source: str
    """The language that is translated."""
    target: str
    """The language it is translated into."""
    prefix: Path
    """The texts are ``prefix.LANGUAGE``."""
    name: str
    """Of the test set, for people and for a folder."""


def find(checkpoint: Path, testset: str | None = None) -> Found:
    """Find the test set of a checkpoint, and check the files that scoring needs.

    Args:
        checkpoint: a complete checkpoint of a translation model for one pair of languages.
        testset: ``full`` or ``filtered``, where WMT'14 was prepared with it, or the path of any
            text without ``.LANGUAGE``; None is the test set of the prepared corpus.

    Raises:
        UserError: a file is missing; says which one and where it should be.
    """
    trained = Checkpoint.complete(checkpoint)
    task = trained.options("task")
    source, target = task.get("source_lang"), task.get("target_lang")
    if not (source and target):
        raise UserError(
            f"{checkpoint} has no source and target language (its task is {task.get('_name')}): "
            "only translation models have a BLEU score"
        )
    for name in (f"dict.{source}.txt", f"dict.{target}.txt", WORDPIECES):
        if not (checkpoint.parent / name).is_file():
            raise UserError(
                f"{checkpoint.parent / name} is missing: copy it there, the dictionaries from the "
                f"folder that was trained on ({task.get('data')}), {WORDPIECES} from where the "
                "wordpieces were learned (model.model)"
            )
    sides = {"source": source, "target": target}
    files = {side: checkpoint.parent / f"dict.{lang}.txt" for side, lang in sides.items()}
    symbols = {side: read_dictionary(file).symbols for side, file in files.items()}
    dictionaries.check(
        str(checkpoint), trained.state, symbols, {side: str(file) for side, file in files.items()}
    )
    data = Path(split_paths(task.get("data") or ".")[0])
    prefix, name = _testset(data.parent, source, target, testset)
    return Found(source, target, prefix, name)


def _testset(prepared: Path, source: str, target: str, wanted: str | None) -> tuple[Path, str]:
    """The texts without ``.LANGUAGE``, and their name."""
    corpus = prepared / "corpus"
    names = {corpus / "test": "test", corpus / f"{source}-{target}" / "test": "test"}
    for number, name in enumerate(_newstests(prepared)):
        names[corpus / (f"test-{name}" if number else "test")] = f"newstest2014-{name}"
    if wanted is None:
        choices = list(names)
    else:
        named = [prefix for prefix, name in names.items() if name == f"newstest2014-{wanted}"]
        choices = [Path(wanted), *named]
    for prefix in choices:
        sides = [prefix.with_name(f"{prefix.name}.{language}") for language in (source, target)]
        missing = [side for side in sides if not side.is_file()]
        if not missing:
            return prefix, names.get(prefix, prefix.name)
        if len(missing) == 1:
            raise UserError(f"the test set {prefix} lacks a side: there is no {missing[0]}")
    if wanted is None:
        raise UserError(
            f"there is no test set {choices[0]}.{source} beside the corpus that was trained on: "
            f"name one, PREFIX of PREFIX.{source} and PREFIX.{target}"
        )
    raise UserError(
        f"there is no test set '{wanted}': no files {wanted}.{source} and {wanted}.{target}, and "
        f"{corpus} has {', '.join(_newstests(prepared)) or 'none that has a name'}"
    )


def _newstests(prepared: Path) -> list[str]:
    """The test sets that ``wmt14_prepare.sh`` was asked for, ``full`` and ``filtered``."""
    if not (prepared / folder.SETTINGS).is_file():
        return []
    return folder.settings(prepared).get("test", "").split()


main = door(__name__, "runs", "testset")
