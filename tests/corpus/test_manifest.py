"""The repository's manifests, and manifests that are wrong."""

import json
from pathlib import Path

import pytest
from sacrebleu.dataset import DATASETS

from nmt_moe.common.errors import UserError
from nmt_moe.corpus.manifest import PAIRS, archives_of, find, load


@pytest.mark.parametrize("pair", PAIRS)
def test_sacrebleu_knows_the_same_test_sets(pair: str) -> None:
    known = load(find(pair))
    for name, dataset in (("full", DATASETS["wmt14/full"]), ("filtered", DATASETS["wmt14"])):
        corpus = known.test[name]
        assert dataset.data == [f"https://statmt.org/{corpus.archive.path}"]
        assert dataset.md5 == [corpus.archive.md5]
        assert dataset.langpairs[pair] == list(corpus.members.values())


def test_archives_and_members() -> None:
    german, french = (load(find(pair)) for pair in PAIRS)
    assert german.pair == ("en", "de") and french.pair == ("en", "fr")
    assert [archive.path for archive in archives_of(french.training([]))] == [
        "wmt13/training-parallel-europarl-v7.tgz",
        "wmt13/training-parallel-commoncrawl.tgz",
        "wmt14/training-parallel-nc-v9.tgz",
        "wmt13/training-parallel-un.tgz",
        "wmt10/training-giga-fren.tar",
    ]
    assert french.train["giga-fren"].archive.bytes == 2_595_102_720
    assert french.train["giga-fren"].members["fr"] == "giga-fren.release2.fixed.fr.gz"
    assert [archive.path for archive in archives_of(german.training([]))] == [
        archive.path for archive in archives_of(french.training([]))[:3]
    ]
    assert german.train["europarl-v7"].members == {
        "en": "training/europarl-v7.de-en.en",
        "de": "training/europarl-v7.de-en.de",
    }
    assert len(archives_of(german.valid.values())) == 1
    assert [corpus.members["de"] for corpus in german.valid.values()] == [
        "dev/newstest2012-ref.de.sgm",
        "dev/newstest2013-ref.de.sgm",
    ]


def test_choices() -> None:
    known = load(find("en-de"))
    assert [corpus.name for corpus in known.training(["commoncrawl"])] == ["commoncrawl"]
    with pytest.raises(UserError, match="unknown training corpus 'un': choose from europarl-v7, "):
        known.training(["commoncrawl", "un"])
    with pytest.raises(UserError, match="unknown test set 'half': choose from full, filtered"):
        known.test_set("half")


def test_what_is_no_manifest(tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    with pytest.raises(UserError, match="no manifest .*m.json: No such file"):
        load(path)
    content = json.loads(find("en-de").read_text())
    for wrong, words in (
        ("{", "m.json is no manifest: "),
        ("[]", "m.json is no manifest: "),
        (json.dumps(content | {"pair": ["en"]}), "is no manifest: not enough values"),
        (json.dumps(content | {"archives": []}), "lacks 'training-parallel-europarl-v7.tgz'"),
        (json.dumps(content | {"archives": [{"url": "x"}]}), "is no manifest: .*'url'"),
        (json.dumps({"archives": []}), "the manifest lacks 'pair'"),
    ):
        path.write_text(wrong)
        with pytest.raises(UserError, match=words):
            load(path)
