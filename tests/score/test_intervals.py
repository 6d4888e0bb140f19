"""Scores with intervals, against sacrebleu's own bootstrap and its scores of sentences."""

import pytest
from sacrebleu.metrics import BLEU, CHRF, TER

from nmt_moe.common.errors import UserError
from nmt_moe.score.intervals import scored
from tests.score.test_bleu import FRENCH, GERMAN

CHINESE = [("我们明天去车站。", "我们明天去火车站。"), ("他不在家", "他没在家。"), ("好", "好的。")]
THAI = [("ฉันไปตลาด", "ฉันไปตลาดแล้ว"), ("เขามา", "เขามาแล้ว")]


@pytest.mark.parametrize(
    ("code", "pairs", "tokenize", "edits"),
    [
        ("de", GERMAN, "13a", TER()),
        ("fr", FRENCH, "13a", TER()),
        ("zh", CHINESE, "zh", TER(normalized=True, asian_support=True)),
        ("th", THAI, "char", None),
        ("qqx", GERMAN, "13a", TER()),  # no language that is known
    ],
)
def test_they_are_those_of_sacrebleu(code, pairs, tokenize, edits) -> None:
    pairs = pairs * 5  # less skewed, so that no interval leaves the scale
    hypotheses, references = map(list, zip(*pairs, strict=True))
    metrics = [BLEU(tokenize=tokenize), CHRF(), *([edits] if edits else [])]
    found = scored(hypotheses, references, code, resamples=100)
    for own, metric in zip(found, metrics, strict=True):
        score = metric.corpus_score(hypotheses, [references], n_bootstrap=100)
        assert (own.name, own.value) == (score.name, score.score)
        assert (
            own.signature == str(metric.get_signature()) and "|bs:100|seed:12345" in own.signature
        )
        assert [own.low, own.high] == pytest.approx(
            [score._mean - score._ci, score._mean + score._ci], abs=1e-4
        )
        alone = BLEU(tokenize=tokenize, effective_order=True) if metric is metrics[0] else metric
        assert own.lines == [alone.sentence_score(h, [r]).score for h, r in pairs]


def test_equal_texts_and_single_lines_have_no_width() -> None:
    text = ["Where is the station?"]
    assert [(s.value, s.low, s.high) for s in scored(text, text, "en", 50)] == [
        (pytest.approx(value),) * 3 for value in (100, 100, 0)
    ]


def test_samples_of_empty_lines_alone_are_scored() -> None:
    """sacrebleu's own bootstrap fails on them."""
    bleu, chrf, ter = scored(["", "the station", ""], ["a", "the station", "b"], "en", 50)
    assert chrf.lines[::2] == [0, 0] and ter.lines == [100, 0, 100]
    assert bleu.value == 0 <= chrf.low < chrf.value < chrf.high <= 100


def test_texts_of_other_lengths_are_refused() -> None:
    with pytest.raises(UserError, match="2 translations cannot be scored with 1 references"):
        scored(["a", "b"], ["a"], "de")
    with pytest.raises(UserError, match="^0 translations"):
        scored([], [], "de")
