"""What belongs to a checkpoint: found where recipes put it, or named with what is missing."""

from pathlib import Path
from typing import Any

import pytest
import torch

from nmt_moe.checkpoint.parts import MARK, new_mark, part_file
from nmt_moe.common.errors import UserError
from nmt_moe.runs.testset import WORDPIECES, Found, find, main


def checkpoint(path: Path, task: dict[str, Any], **more: Any) -> Path:
    """A file with no more than is asked of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {"model": {}, "optimizer_history": [{"num_updates": 1}], "cfg": {"task": task}}
    torch.save(state | more, path)
    return path


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """A checkpoint and what lies beside it, trained on a corpus that is not there yet."""
    data = str(tmp_path / "prepared" / "binary")
    task = {"_name": "translation", "data": data, "source_lang": "en", "target_lang": "de"}
    path = checkpoint(tmp_path / "run" / "training" / "checkpoint_best.pt", task)
    for name in ("dict.en.txt", "dict.de.txt", WORDPIECES):
        (path.parent / name).touch()
    return path


def text(prefix: Path, *languages: str) -> Path:
    prefix.parent.mkdir(parents=True, exist_ok=True)
    for language in languages or ("en", "de"):
        prefix.with_name(f"{prefix.name}.{language}").touch()
    return prefix


def test_the_test_set_of_the_corpus(trained, tmp_path):
    pair = text(tmp_path / "prepared" / "corpus" / "en-de" / "test")  # as quickstart.sh has it
    assert find(trained) == Found("en", "de", pair, "test")
    plain = text(tmp_path / "prepared" / "corpus" / "test")
    assert find(trained) == Found("en", "de", plain, "test")


def test_the_sets_of_wmt14_are_named(trained, tmp_path):
    corpus, settings = tmp_path / "prepared" / "corpus", tmp_path / "prepared" / "settings"
    first, second = text(corpus / "test"), text(corpus / "test-filtered")
    settings.write_text("pair=en-de\ntest=full filtered\nextra=\n")
    assert find(trained) == find(trained, "full") == Found("en", "de", first, "newstest2014-full")
    assert find(trained, "filtered") == Found("en", "de", second, "newstest2014-filtered")
    settings.write_text("pair=en-de\ntest=filtered\nextra=\n")
    assert find(trained, "filtered") == Found("en", "de", first, "newstest2014-filtered")
    with pytest.raises(UserError, match=r"no test set 'full': .* has filtered"):
        find(trained, "full")


def test_any_text_by_its_path(trained, tmp_path):
    prefix = text(tmp_path / "my texts" / "news.2024")
    assert find(trained, str(prefix)) == Found("en", "de", prefix, "news.2024")


def test_text_that_is_missing_is_named(trained, tmp_path):
    corpus = tmp_path / "prepared" / "corpus"
    with pytest.raises(UserError, match=rf"no test set {corpus}/test.en .* PREFIX.en and PREFIX.d"):
        find(trained)
    text(corpus / "test", "en")
    with pytest.raises(UserError, match=rf"lacks a side: there is no {corpus}/test.de"):
        find(trained)
    other = text(tmp_path / "other", "de")
    with pytest.raises(UserError, match=rf"lacks a side: there is no {other}.en"):
        find(trained, str(other))
    with pytest.raises(UserError, match="no files nowhere.en and nowhere.de, and .* has none"):
        find(trained, "nowhere")


@pytest.mark.parametrize("name", ["dict.en.txt", "dict.de.txt", WORDPIECES])
def test_what_lies_beside_the_checkpoint_is_named(trained, tmp_path, name):
    text(tmp_path / "prepared" / "corpus" / "test")
    (trained.parent / name).unlink()
    with pytest.raises(UserError, match=rf"{trained.parent / name} is missing: copy it there"):
        find(trained)


def test_checkpoints_that_cannot_be_scored(tmp_path):
    with pytest.raises(UserError, match="there is no checkpoint .*nothing.pt"):
        find(tmp_path / "nothing.pt")
    language_model = {"_name": "language_modeling", "data": "d"}
    with pytest.raises(UserError, match="its task is language_modeling"):
        find(checkpoint(tmp_path / "lm.pt", language_model))
    part = checkpoint(Path(part_file(str(tmp_path / "last.pt"), 0)), {}, **{
        MARK: new_mark(0, 2, 2, "a", 1)
    })  # fmt: skip
    with pytest.raises(UserError, match="last-rank-0.pt is a part .*nmt-moe checkpoint merge"):
        find(part)
    with pytest.raises(UserError, match=r"last.pt is there in parts: make the parts one"):
        find(tmp_path / "last.pt")
    with pytest.raises(UserError, match="of an older fairseq"):
        find(checkpoint(tmp_path / "old.pt", {}, cfg=None))


def test_the_command_prints_lines(trained, tmp_path, capsys):
    prefix = text(tmp_path / "prepared" / "corpus" / "test")
    assert main([str(trained)]) == 0
    assert capsys.readouterr().out == f"en\nde\n{prefix}\ntest\n"
    assert main([str(tmp_path / "nothing.pt")]) == 1
    assert capsys.readouterr().err.startswith("error: there is no checkpoint")
