"""``--sample-wordpieces``: other pieces in each epoch, for the training set alone."""

from pathlib import Path

import pytest
import torch
from fairseq.data import Dictionary
from fairseq.data.language_pair_dataset import LanguagePairDataset

from nmt_moe.common.errors import UserError
from nmt_moe.corpus.wordpieces import model as wordpieces
from nmt_moe.corpus.wordpieces.sampling import Sampler
from nmt_moe.tasks.sampled_pairs import SampledPairs
from tests.commands import PLUGIN, run, train
from tests.corpus.test_wordpieces import SENTENCES
from tests.test_training import flat, load

LANGUAGES = ("en", "de")


@pytest.fixture(scope="module")
def pieces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, its dictionary, and a corpus in pieces, as text and binarised."""
    folder = tmp_path_factory.mktemp("pieces")
    (folder / "text").write_text("\n".join(SENTENCES), encoding="utf-8")
    wordpieces.train([folder / "text"], folder / "m", 90)
    model = wordpieces.load(folder / "m.model")
    for split, some in {"train": SENTENCES[:40], "valid": SENTENCES[:4]}.items():
        for start, language in enumerate(LANGUAGES):
            cut = (" ".join(model.encode(text, out_type=str)) for text in some[start::2])
            (folder / f"{split}.{language}").write_text("\n".join(cut) + "\n", encoding="utf-8")
    options = ["--source-lang", "en", "--target-lang", "de", "--srcdict", folder / "m.dict.txt"]
    options += ["--joined-dictionary", "--trainpref", folder / "train"]
    run(
        "fairseq-preprocess", *options, "--validpref", folder / "valid", "--destdir", folder / "bin"
    )
    return folder


def pairs_of(folder: Path, *sentences: str, words: Dictionary | None = None, limit=1000):
    """Sentences, each with itself as its translation."""
    words = words or Dictionary.load(str(folder / "m.dict.txt"))
    sampler = Sampler(folder / "m.model", 0.1)
    numbers = [words.encode_line(line, add_if_not_exist=False).long() for line in sentences]
    sizes = [len(x) for x in numbers]
    pairs = LanguagePairDataset(numbers, sizes, words, numbers, sizes, words)
    return SampledPairs(pairs, sampler, 1, (limit, limit)), words


def texts(pairs, words: Dictionary, side: str) -> list[str]:
    return [words.string(pairs[i][side]) for i in range(len(pairs))]


def test_epochs_differ_and_seeds_repeat(pieces):
    lines = (pieces / "train.en").read_text(encoding="utf-8").splitlines()
    pairs, words = pairs_of(pieces, *lines)
    first = texts(pairs, words, "source")
    assert first == texts(pairs, words, "source") != texts(pairs, words, "target")
    pairs.set_epoch(2)
    second = texts(pairs, words, "source")
    assert all(a != b for a, b in zip(first, second, strict=True))
    pairs.set_epoch(1)
    assert first == texts(pairs, words, "source")
    again, _ = pairs_of(pieces, *lines)
    again.seed = 2
    assert texts(again, words, "source") != first
    for cut, line in zip(first + second, lines * 2, strict=True):
        assert cut.replace(" ", "") == line.replace(" ", "")
    assert all(x["source"][-1] == x["target"][-1] == words.eos() for x in pairs)
    assert not pairs.can_reuse_epoch_itr_across_epochs


def test_what_is_no_piece_stays_and_long_ones_keep_their_cut(pieces):
    words = Dictionary.load(str(pieces / "m.dict.txt"))
    words.add_symbol("<2de>")
    line = "<2de> " + (pieces / "train.en").read_text(encoding="utf-8").splitlines()[0]
    for limit in (1000, len(line.split()) + 1):
        pairs, _ = pairs_of(pieces, *[line] * 30, words=words, limit=limit)
        found = texts(pairs, words, "source")
        assert all(cut.startswith("<2de> ▁") for cut in found)
        assert (len({*found}) > 15) == (limit == 1000)
        assert max(len(x["source"]) for x in pairs) <= limit
    assert line in found


def test_pieces_that_the_dictionary_lacks(pieces, caplog):
    words = Dictionary()
    lines = (pieces / "train.en").read_text(encoding="utf-8").splitlines()
    for line in lines:
        words.encode_line(line)
    pairs, _ = pairs_of(pieces, *lines, words=words)
    assert "the dictionary lacks" in caplog.text and "--srcdict" in caplog.text
    assert all(words.unk() not in x["source"] for x in pairs)
    others = Dictionary()
    others.encode_line("other words of another text")
    with pytest.raises(UserError, match="has 0 of the 5 pieces of the dictionary"):
        pairs_of(pieces, "other words", words=others)


SAMPLED = ["--task", "gnmt_translation", "--sample-wordpieces", 0.1, "--max-update", 7]
SAMPLED += ["--batch-size", 8, "--save-interval-updates", 5, "--log-interval", 1]


def test_a_training_with_sampled_pieces_goes_on_bit_by_bit_with_workers_too(pieces, tmp_path):
    """3 batches an epoch; the stop is within the second."""
    model = ["--sentencepiece-model", pieces / "m.model"]
    whole = train(pieces / "bin", tmp_path / "whole", *SAMPLED, *model)
    halves = tmp_path / "halves"
    train(pieces / "bin", halves, *SAMPLED, *model, "--max-update", 5, "--num-workers", 2)
    train(pieces / "bin", halves, *SAMPLED, *model)
    weights, found = (flat(load(x)["model"]) for x in (tmp_path / "whole", halves))
    assert all(torch.equal(weights[name], found[name]) for name in weights)
    plain = train(pieces / "bin", tmp_path / "plain", "--max-update", 3, "--batch-size", 8)
    lengths = [sum(float(log["wpb"]) for log in x.logs("train_inner")[:3]) for x in (whole, plain)]
    assert lengths[0] > 1.2 * lengths[1]  # rarer pieces are shorter
    [valid, *_] = whole.logs("valid")
    assert float(valid["valid_wpb"]) == float(plain.logs("valid")[0]["valid_wpb"])

    # Scoring the text of the training is no training.
    command = ["fairseq-validate", pieces / "bin", "--user-dir", PLUGIN, "--log-format", "json"]
    scored = ["--task", "gnmt_translation", "--path", halves / "checkpoint_last.pt"]
    scored += ["--valid-subset", "train", "--batch-size", 8]
    found = [
        run(*command, *scored, "--model-overrides", f"{{'sample_wordpieces': {alpha}}}")
        for alpha in (0.1, 0)
    ]
    assert found[0].logs("train") == found[1].logs("train") != []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "--sample-wordpieces needs the model that cut the text: give --sentencepiece-model"),
        (["--sentencepiece-model", "no.model"], "no sentencepiece model no.model"),
        (["--num-batch-buckets", 2], "--num-batch-buckets needs the pieces that the data has"),
        (["--sample-wordpieces", -1], "--sample-wordpieces must be at least 0, not -1.0"),
    ],
)
def test_what_does_not_fit_is_one_line(pieces, tmp_path, options, message):
    error = train(pieces / "bin", tmp_path, *SAMPLED, *options, fails=True).error()
    assert message in error
