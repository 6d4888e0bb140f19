"""Beam search gives a sentence the same translation whatever is translated beside it.

In float64 the same words always. The scores that fairseq's search adds up are float32.
"""

import math
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.reliability.searches import (
    MAX_LENGTH,
    MODELS,
    Sentence,
    forced,
    make_model,
    make_task,
    search,
    sentences,
)

DRAWN = settings(
    max_examples=6,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
BEAM = 4
QUICK = "strictly_balanced"
KINDS = [pytest.param(kind, marks=() if kind == QUICK else pytest.mark.slow) for kind in MODELS]


@pytest.fixture(scope="module", params=KINDS)
def model(request: pytest.FixtureRequest) -> Any:
    return make_model(request.param, make_task())


def check_same(found: list[dict], expected: list[dict]) -> None:
    """The whole list, not the best translation only."""
    assert len(found) == len(expected) == BEAM
    for one, other in zip(found, expected, strict=True):
        assert one["tokens"].tolist() == other["tokens"].tolist()
        assert one["score"].item() == pytest.approx(other["score"].item(), abs=1e-5)
        got, want = one["positional_scores"], other["positional_scores"]
        assert torch.allclose(got, want, rtol=0, atol=1e-5)
        # On the padding of a batch it is 0; the source lies at either end.
        got, want = (x[x.sum(1) > 0] for x in (one["attention"], other["attention"]))
        assert torch.allclose(got, want, rtol=0, atol=1e-5)


@DRAWN
@given(
    group=st.lists(sentences(), min_size=2, max_size=6),
    longer=st.lists(sentences(shortest=15, longest=25), max_size=2),
    order=st.randoms(use_true_random=False),
)
def test_other_sentences_of_the_batch_change_nothing(model, tally, group, longer, order):
    task = make_task()
    alone = [search(task, model, [sentence], BEAM)[0] for sentence in group]
    shuffled = [*enumerate(group)]
    order.shuffle(shuffled)
    places = [number for number, _ in shuffled]
    mixed = [*(sentence for _, sentence in shuffled), *longer]
    for left_pad in (True, False):
        found = search(task, model, mixed, BEAM, left_pad)
        for number, translations in zip(places, found, strict=False):
            check_same(translations, alone[number])
    tally(inputs=len(group))


def greedy(task: Any, model: Any, source: Sentence) -> list[int]:
    """The likeliest next word, each time from a forward pass over all words so far."""
    words = task.target_dictionary
    tokens: list[int] = []
    while len(tokens) < MAX_LENGTH:
        scores, _ = forced(task, model, source, [*tokens, words.eos()])
        scores[:, words.pad()] = -math.inf
        if not tokens:
            scores[:, words.eos()] = -math.inf  # fairseq's --min-len 1
        tokens.append(int(scores[-1].argmax()))
        if tokens[-1] == words.eos():
            return tokens
    return [*tokens, words.eos()]


@DRAWN
@given(group=st.lists(sentences(), min_size=1, max_size=4))
def test_a_beam_of_one_is_greedy(model, tally, group):
    task = make_task()
    found = search(task, model, group, beam=1)
    expected = [greedy(task, model, sentence) for sentence in group]
    assert [translations[0]["tokens"].tolist() for translations in found] == expected
    tally(inputs=len(group))


@DRAWN
@given(
    group=st.lists(sentences(), min_size=1, max_size=4),
    alpha=st.sampled_from([0.0, 0.2, 1.0]),
    beta=st.sampled_from([0.0, 0.2, 3.0]),
)
def test_scores_are_those_of_the_forced_forward_pass(model, tally, group, alpha, beta):
    task = make_task(alpha, beta)
    found = search(task, model, group, BEAM)
    for source, translations in zip(group, found, strict=True):
        scores = []
        for translation in translations:
            tokens = translation["tokens"].tolist()
            log_LV, attention_LS = forced(task, model, source, tokens)
            steps = [log_LV[i, token].item() for i, token in enumerate(tokens)]
            assert translation["positional_scores"].tolist() == pytest.approx(steps, abs=1e-5)
            # Wu et al. 2016, equation 14
            lp = (5 + len(tokens)) ** alpha / 6**alpha
            covered = attention_LS.sum(0).tolist()
            cp = beta * sum(math.log(min(p, 1.0)) for p in covered) if beta else 0.0
            scores.append(sum(steps) / lp + cp)
            assert translation["score"].item() == pytest.approx(scores[-1], abs=1e-4)
        assert scores == pytest.approx(sorted(scores, reverse=True), abs=1e-4)
    tally(inputs=len(group))
