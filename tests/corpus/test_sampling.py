"""Sampled wordpieces: sentencepiece's own distribution, by seed."""

import math
import pickle
from collections import Counter
from pathlib import Path
from random import Random

import pytest
import sentencepiece

from nmt_moe.common.errors import UserError
from nmt_moe.corpus.wordpieces import model as wordpieces
from nmt_moe.corpus.wordpieces.sampling import Sampler
from tests.corpus.test_wordpieces import SENTENCES

DRAWS = 3000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A unigram model of ours, a BPE model and one of characters, and their text."""
    folder = tmp_path_factory.mktemp("models")
    (folder / "text").write_text("\n".join(SENTENCES), encoding="utf-8")
    wordpieces.train([folder / "text"], folder / "unigram", 90)
    for kind in ("bpe", "char"):
        sentencepiece.SentencePieceTrainer.train(
            input=str(folder / "text"),
            model_prefix=str(folder / kind),
            model_type=kind,
            vocab_size=80 if kind == "bpe" else 40,
            hard_vocab_limit=False,
            minloglevel=2,
        )
    return folder


def close(found: Counter, right: dict) -> None:
    """Counts are those expected, but for five standard errors and three of what is rare."""
    assert {*found} <= {*right}
    for cut, p in right.items():
        assert abs(found[cut] - DRAWS * p) < 5 * (DRAWS * p * (1 - p)) ** 0.5 + 3, cut


def all_cuts(text: str, scores: dict[str, float]) -> dict[tuple[str, ...], float]:
    """The score of each way to cut a text."""
    found = {(): 0.0} if not text else {}
    for end in range(1, len(text) + 1):
        if text[:end] in scores:
            rest = all_cuts(text[end:], scores)
            found |= {(text[:end], *cut): scores[text[:end]] + score for cut, score in rest.items()}
    return found


@pytest.mark.parametrize("alpha", [0.1, 0.5, 1.0])
def test_cuts_of_a_unigram_model_have_their_probability_to_the_power_of_alpha(folder, alpha):
    sampler = Sampler(folder / "unigram.model", alpha)
    model = wordpieces.load(folder / "unigram.model")
    scores = {
        model.id_to_piece(i): model.get_score(i)
        for i in range(model.get_piece_size())
        if not (model.is_control(i) or model.is_unknown(i) or model.is_byte(i))
    }
    weights = {cut: math.exp(alpha * x) for cut, x in all_cuts("▁singernd", scores).items()}
    assert len(weights) > 10
    right = {cut: weight / sum(weights.values()) for cut, weight in weights.items()}
    drawn = [sampler.cut("▁singernd", Random(seed)) for seed in range(DRAWS)]
    close(Counter(map(tuple, drawn)), right)
    how = {"enable_sampling": True, "alpha": alpha, "nbest_size": -1}
    theirs = (model.encode("singernd", out_type=str, **how) for _ in range(DRAWS))
    close(Counter(map(tuple, theirs)), right)


def test_a_bpe_model_leaves_out_merges_as_sentencepiece_does(folder):
    sampler = Sampler(folder / "bpe.model", 0.2)
    model = wordpieces.load(folder / "bpe.model")
    how = {"enable_sampling": True, "alpha": 0.2, "nbest_size": -1}
    theirs = (model.encode("children Mann", out_type=str, **how) for _ in range(20 * DRAWS))
    right = {cut: times / (20 * DRAWS) for cut, times in Counter(map(tuple, theirs)).items()}
    ours = Counter(tuple(sampler.cut("▁children▁Mann", Random(seed))) for seed in range(DRAWS))
    assert len(right) > 10
    often = {cut: p for cut, p in right.items() if p > 0.002}
    close(Counter({cut: times for cut, times in ours.items() if cut in often}), often)
    assert sum(ours[cut] for cut in often) > 0.9 * sum(often.values()) * DRAWS


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_nothing_left_out_is_the_model_s_own_cut(folder, kind):
    """Of a unigram model the best cut has all the weight for a high power."""
    sampler = Sampler(folder / f"{kind}.model", 200.0 if kind == "unigram" else 0.0)
    model = wordpieces.load(folder / f"{kind}.model")
    for text in SENTENCES[:4]:
        right = model.encode(text, out_type=str)
        assert sampler.cut("".join(right), Random(0)) == right


def test_a_seed_is_a_cut_in_copies_too(folder):
    sampler = Sampler(folder / "unigram.model", 0.1)
    text = "▁The▁dog▁runs▁through▁the▁park"
    cuts = [sampler.cut(text, Random(seed)) for seed in range(9)]
    assert cuts == [pickle.loads(pickle.dumps(sampler)).cut(text, Random(x)) for x in range(9)]
    assert len({*map(tuple, cuts)}) > 5 and {"".join(cut) for cut in cuts} == {text}


def test_models_that_cannot_sample_are_refused(folder):
    with pytest.raises(UserError, match="it cannot sample others"):
        Sampler(folder / "char.model", 0.1)
    with pytest.raises(UserError, match="left out with probability 1.5: give"):
        Sampler(folder / "bpe.model", 1.5)
    with pytest.raises(UserError, match="no sentencepiece model"):
        Sampler(folder / "other.model", 0.1)
