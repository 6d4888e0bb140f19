"""The fast search gives what fairseq's does; other options and models are left to fairseq's."""

import math
from argparse import Namespace
from typing import Any

import numpy as np
import pytest
import torch
from fairseq.sequence_generator import SequenceGenerator
from fairseq.tasks.translation import TranslationConfig, TranslationTask
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from nmt_moe.common.errors import UserError
from nmt_moe.corpus.shortlist import Shortlist
from nmt_moe.models.architectures import build, config
from nmt_moe.tasks.fast_search import FastSearch
from nmt_moe.tasks.gnmt_translation import GNMTTranslationConfig, GNMTTranslationTask
from tests.models.build import SMALL, dictionary, pad_batch
from tests.reliability.searches import MODELS, make_model, make_task
from tests.tasks.test_gnmt_score import lstm, lstm_moe, opinionated, transformer

PAD, EOS = 1, 2
Found = list[list[dict[str, Tensor]]]


def sample_of(sources: list[list[int]], left: bool = True) -> dict[str, Any]:
    """The longest first, as fairseq's LSTM needs them."""
    ordered = sorted(([*source, EOS] for source in sources), key=len, reverse=True)
    tokens = pad_batch(ordered, PAD, left)
    return {"net_input": {"src_tokens": tokens, "src_lengths": tokens.ne(PAD).sum(1)}}


def generator(model: nn.Module, words: Any = None, extra: Any = None, **options: Any) -> FastSearch:
    words = words or dictionary()
    task = TranslationTask(TranslationConfig(), words, words)
    return task.build_generator(
        [model], Namespace(**options), seq_gen_cls=FastSearch, extra_gen_cls_kwargs=extra
    )


def both(search: FastSearch, sample: dict[str, Any], **more: Any) -> tuple[Found, Found]:
    """What the fast way finds, and fairseq's."""
    with torch.no_grad():
        assert search.covers(sample["net_input"])
        ours = search._generate(sample, **more)
        theirs = SequenceGenerator._generate(search, sample, **more)
    return ours, theirs


def same(ours: Found, theirs: Found) -> None:
    assert len(ours) == len(theirs)
    for group, other in zip(ours, theirs, strict=True):
        assert [one["tokens"].tolist() for one in group] == [x["tokens"].tolist() for x in other]
        for one, x in zip(group, other, strict=True):
            assert one.keys() == x.keys()
            for name in one:
                assert one[name].shape == x[name].shape and one[name].dtype == x[name].dtype
                torch.testing.assert_close(one[name], x[name], rtol=1e-4, atol=1e-5)


SOURCES = st.lists(st.lists(st.integers(4, 23), max_size=8), min_size=1, max_size=6)
OPTIONS = st.fixed_dictionaries(
    dict(max_len_b=st.integers(1, 12)),
    optional=dict(
        beam=st.sampled_from([1, 2, 4, 5, 23, 40]),
        max_len_a=st.sampled_from([0, 0.5, 1]),
        min_len=st.integers(0, 1),
        lenpen=st.sampled_from([0.0, 0.6, 1.0, 2.0]),
        unkpen=st.sampled_from([-3.0, 0.5, math.inf]),
        unnormalized=st.booleans(),
        temperature=st.sampled_from([0.5, 2.0]),
    ),
)


@settings(max_examples=40, derandomize=True)
@given(kind=st.sampled_from(sorted(MODELS)), sources=SOURCES, options=OPTIONS, left=st.booleans())
def test_our_models_in_float64(kind, sources, options, left) -> None:
    model = make_model(kind, make_task())
    same(*both(generator(model, **options), sample_of(sources, left)))


@settings(max_examples=30, derandomize=True)
@given(make=st.sampled_from([lstm_moe, lstm, transformer]), sources=SOURCES, options=OPTIONS)
def test_models_in_float32(make, sources, options) -> None:
    same(*both(generator(make(), **options), sample_of(sources)))


def test_suppressed_words_and_another_start_and_a_least_length() -> None:
    model, sources = lstm_moe(seed=2), [[4, 5, 6, 7], [8, 9], []]
    extra = {"tokens_to_suppress": ("w3", "w8")}
    for least in (2, 6):
        search = generator(model, extra=extra, beam=4, min_len=least, max_len_b=6)
        ours, theirs = both(search, sample_of(sources), bos_token=5)
        same(ours, theirs)
        assert min(len(one["tokens"]) for group in ours for one in group) > least
        assert not {7, 12} & {t for group in ours for one in group for t in one["tokens"].tolist()}


def test_many_words_and_many_steps() -> None:
    torch.manual_seed(3)
    words = dictionary(1500)
    model = opinionated(build(config("lstm_moe", SMALL | dict(lstm_cells=16)), len(words)))
    with torch.no_grad():
        model.decoder.output.weight *= 0.2
    search = generator(model, words, beam=6, max_len_b=60)
    sources = [[5, 900, 1200, 77], [1403, 6, 6], [300]]
    ours, theirs = both(search, sample_of(sources))
    same(ours, theirs)
    assert max(len(one["tokens"]) for group in ours for one in group) > 20


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_begins_as_fairseq_does(dtype) -> None:
    """Longer translations differ in what the precision leaves open."""
    search = generator(lstm_moe().to(dtype), beam=3, max_len_b=1)
    ours, theirs = both(search, sample_of([[4, 5, 6], [9]]))
    for group, other in zip(ours, theirs, strict=True):
        assert [float(x["score"]) for x in group] == pytest.approx(
            [float(x["score"]) for x in other], abs=0.05
        )


class Counted(FastSearch):
    """Counts the searches that fairseq's way does."""

    left = 0

    def covers(self, net_input: dict[str, Tensor]) -> bool:
        covered = super().covers(net_input)
        self.left += not covered
        return covered


LEFT = {
    "sampling": dict(sampling=True),
    "sampling_topk": dict(sampling=True, sampling_topk=5),
    "diverse_beam_groups": dict(diverse_beam_groups=2),
    "diversity_rate": dict(diversity_rate=0.5),
    "match_source_len": dict(match_source_len=True),
    "no_repeat_ngram_size": dict(no_repeat_ngram_size=2),
}


@pytest.mark.parametrize("options", LEFT.values(), ids=LEFT)
def test_options_that_are_left_to_fairseq(options) -> None:
    words = dictionary()
    task = TranslationTask(TranslationConfig(), words, words)
    found = []
    for kind in (Counted, SequenceGenerator):
        args = Namespace(beam=4, max_len_b=8, **options)
        search = task.build_generator([lstm_moe()], args, seq_gen_cls=kind)
        torch.manual_seed(5)
        found.append(search.generate([], sample_of([[4, 5, 6], [7, 8]])))
        assert kind is SequenceGenerator or search.left == 1
    same(*found)


def test_ensembles_prefixes_language_models_and_dropout_are_left_to_fairseq() -> None:
    words = dictionary()
    task = TranslationTask(TranslationConfig(), words, words)
    sample = sample_of([[4, 5, 6], [7, 8]])
    args = Namespace(beam=4, max_len_b=8)

    def fairseqs(models: list[nn.Module], **how: Any) -> None:
        extra = how.pop("extra", None)
        found = []
        for kind in (FastSearch, SequenceGenerator):
            torch.manual_seed(5)
            search = task.build_generator(
                models, args, seq_gen_cls=kind, extra_gen_cls_kwargs=extra
            )
            for model in models:
                model.make_generation_fast_(retain_dropout=how.get("dropout", False))
            more = {name: value for name, value in how.items() if name != "dropout"}
            found.append(search.generate(models, sample, **more))
        for group, other in zip(*found, strict=True):
            for one, x in zip(group, other, strict=True):
                assert torch.equal(one["positional_scores"], x["positional_scores"])

    fairseqs([lstm_moe(1), lstm_moe(2)])
    fairseqs([lstm_moe()], prefix_tokens=torch.tensor([[9, 10], [11, 1]]))
    torch.manual_seed(6)
    lm = opinionated(build(config("lstm_moe_lm", SMALL), len(words)))
    fairseqs([lstm_moe()], extra=dict(lm_model=lm, lm_weight=0.3))
    torch.manual_seed(7)
    dropping = opinionated(build(config("lstm_moe", SMALL | dict(dropout=0.3)), len(words)))
    fairseqs([dropping], dropout=True)


def test_an_adaptive_softmax_is_left_to_fairseq() -> None:
    torch.manual_seed(8)
    cfg = config("lstm_moe", SMALL | dict(adaptive_softmax_cutoff="8"))
    search = generator(opinionated(build(cfg, len(dictionary()))), beam=3, max_len_b=6)
    assert not search.covers(sample_of([[4, 5]])["net_input"])
    assert search.generate([], sample_of([[4, 5]]))


@pytest.mark.parametrize("of", ["model", "decoder"])
def test_probabilities_of_another_kind_are_left_to_fairseq(of) -> None:
    model = lstm_moe()
    part = model if of == "model" else model.decoder
    probabilities = part.get_normalized_probs
    part.get_normalized_probs = lambda *a, **k: probabilities(*a, **k).index_fill(
        -1, torch.tensor([EOS]), -50.0
    )
    [[best, *_]] = generator(model, beam=2, max_len_b=7).generate([], sample_of([[4, 5]]))
    assert len(best["tokens"]) == 8


def test_what_it_returns_can_be_changed_and_trained_on() -> None:
    """fairseq-generate divides the scores in place, and a training goes on after a search."""
    model = lstm_moe()
    [[best, *_]] = generator(model, beam=2, max_len_b=5).generate([], sample_of([[4, 5]]))
    before = best["positional_scores"].clone()
    assert torch.equal(best["positional_scores"].div_(2), before / 2)
    logits, _ = model.train()(torch.tensor([[4, 5, EOS]]), None, torch.tensor([[EOS, 6]]))
    logits.sum().backward()
    assert all(p.grad is not None for p in model.decoder.layers.parameters())


def test_the_source_is_kept_once_for_each_sentence() -> None:
    task = GNMTTranslationTask(GNMTTranslationConfig(), dictionary(), dictionary())
    model, rows = lstm_moe(), set()
    model.decoder.attention.source.register_forward_hook(lambda *_: rows.add("keys"))

    def look(module: nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
        encoder_out = kwargs["encoder_out"]
        rows.add((len(args[0]), len(encoder_out["encoder_padding_mask"][0])))

    model.decoder.register_forward_pre_hook(look, with_kwargs=True)
    search = task.build_generator([model], Namespace(beam=4, max_len_b=6, min_len=6))
    task.inference_step(search, [model], sample_of([[4, 5, 6], [7]]))
    assert rows == {"keys", (2, 2), (8, 2)}


def test_numbers_that_are_not_finite_are_one_line() -> None:
    model = lstm_moe()
    with torch.no_grad():
        model.decoder.output.weight[:] = math.nan
    search = generator(model, beam=2, max_len_b=5)
    with pytest.raises(UserError, match="finds no translation.*finite"):
        search.generate([], sample_of([[4, 5]]))
    with pytest.raises(UserError, match="--min-len 9 is above"):
        generator(lstm_moe(), min_len=9, max_len_b=5).generate([], sample_of([[4]]))


class Only(nn.Module):
    """An output layer that makes all other words impossible."""

    def __init__(self, output: nn.Module, words: list[int]) -> None:
        super().__init__()
        self.output, self.words = output, words

    def forward(self, x: Tensor) -> Tensor:
        logits = self.output(x)
        others = torch.ones(logits.shape[-1], dtype=torch.bool)
        others[self.words] = False
        return logits.masked_fill(others, -math.inf)


def table(words: dict[int, list[int]], common: list[int]) -> Shortlist:
    sizes = [len(words.get(word, [])) for word in range(24)]
    pieces = [piece for word in range(24) for piece in words.get(word, [])]
    first = np.cumsum([0, *sizes])
    return Shortlist(*(np.array(x, np.int64) for x in (common, first, pieces)))


@pytest.mark.parametrize("tied", [False, True])
def test_a_shortlist_is_a_softmax_of_its_words(tied) -> None:
    options = dict(share_decoder_input_output_embed=tied)
    torch.manual_seed(9)
    model = opinionated(build(config("lstm_moe", SMALL | options), len(dictionary())))
    allowed = table({4: [7, 9, 12], 5: [13, 20], 6: [9], 8: [22, 23]}, [0, 1, 2, 3, 11])
    sample = sample_of([[4, 5, 6], [5]])
    options = dict(beam=4, max_len_b=8, unkpen=0.5, lenpen=0.7)
    search = generator(model, extra=dict(shortlist=allowed), **options)
    found, [alone] = (search.generate([], one) for one in (sample, sample_of([[5]])))
    assert {t for one in alone for t in one["tokens"].tolist()} <= {0, 2, 3, 11, 13, 20}
    model.decoder.output = Only(model.decoder.output, [0, 1, 2, 3, 7, 9, 11, 12, 13, 20])
    plain = generator(model, **options)
    same(found, SequenceGenerator._generate(plain, sample))


def test_a_shortlist_of_all_words_changes_nothing() -> None:
    model, sample = lstm_moe(), sample_of([[4, 5, 6], [7]])
    every = table({}, list(range(24)))
    found = generator(model, extra=dict(shortlist=every), beam=5, max_len_b=8).generate([], sample)
    same(found, generator(model, beam=5, max_len_b=8).generate([], sample))


def test_a_shortlist_of_fewer_words_than_the_beam_is_wide() -> None:
    search = generator(lstm_moe(), extra=dict(shortlist=table({}, [9])), beam=8, max_len_b=5)
    [found] = search.generate([], sample_of([[4, 5]]))
    assert 1 <= len(found) <= 8 and {t for x in found for t in x["tokens"].tolist()} <= {2, 3, 9}


def test_searches_that_have_no_shortlist() -> None:
    words = dictionary()
    task = TranslationTask(TranslationConfig(), words, words)
    extra = dict(shortlist=table({}, list(range(24))))

    def search(models: list[nn.Module], **options: Any) -> None:
        args = Namespace(beam=2, max_len_b=5, **options)
        made = task.build_generator(models, args, FastSearch, dict(extra))
        made.generate(models, sample_of([[4, 5]]))

    for models, options in (
        ([lstm_moe()], dict(sampling=True)),
        ([lstm_moe(1), lstm_moe(2)], {}),
        ([lstm_moe()], dict(no_repeat_ngram_size=2)),
    ):
        with pytest.raises(UserError, match="--shortlist is for a plain beam search of one model"):
            search(models, **options)
    with pytest.raises(UserError, match="--shortlist is for --arch lstm_moe"):
        search([transformer()])
