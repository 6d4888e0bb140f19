"""The score of GNMT: known values, the best of all translations, and fairseq's search as it was."""

import itertools
import math
from argparse import Namespace

import pytest
import torch
from fairseq.models.lstm import LSTMModel
from fairseq.models.lstm import base_architecture as lstm_base
from fairseq.models.transformer import TransformerModel
from fairseq.models.transformer import base_architecture as transformer_base
from fairseq.tasks.translation import TranslationConfig, TranslationTask
from torch import Tensor, nn

from nmt_moe.common.errors import UserError
from nmt_moe.models.architectures import build, config
from nmt_moe.tasks.gnmt_score import coverage_penalty, length_penalty
from nmt_moe.tasks.gnmt_translation import GNMTTranslationConfig, GNMTTranslationTask
from tests.models.build import SMALL, WORDS, dictionary, pad_batch

EOS, PAD = 2, 1


def gnmt_task(alpha: float, beta: float, words: int = WORDS) -> GNMTTranslationTask:
    cfg = GNMTTranslationConfig(gnmt_alpha=alpha, gnmt_beta=beta)
    return GNMTTranslationTask(cfg, dictionary(words), dictionary(words))


def opinionated(model: nn.Module) -> nn.Module:
    """The model with larger weights than those that training starts from."""
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.7)
    return model.eval()


def lstm_moe(seed: int = 0, words: int = WORDS) -> nn.Module:
    torch.manual_seed(seed)
    return opinionated(build(config("lstm_moe", SMALL | dict(attention="additive")), words + 4))


def lstm(seed: int = 0, attention: bool = True) -> nn.Module:
    torch.manual_seed(seed)
    args = Namespace(encoder_embed_dim=8, encoder_hidden_size=8, decoder_embed_dim=8)
    args.decoder_attention, args.criterion = str(int(attention)), ""
    args.decoder_out_embed_dim = args.decoder_hidden_size = 8
    lstm_base(args)
    model = opinionated(LSTMModel.build_model(args, gnmt_task(0, 0)))
    model.make_generation_fast_(need_attn=False)  # as fairseq-generate does
    return model


def transformer(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    sizes = dict(embed_dim=8, ffn_embed_dim=8, layers=2, attention_heads=2)
    args = Namespace(**{f"{s}_{k}": v for s in ("encoder", "decoder") for k, v in sizes.items()})
    transformer_base(args)
    return opinionated(TransformerModel.build_model(args, gnmt_task(0, 0)))


def sentences(number: int, seed: int = 0) -> list[list[int]]:
    """The longest first, as fairseq's LSTM needs them in a batch."""
    chance = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, 9, (number,), generator=chance).sort(descending=True)[0].tolist()
    return [[*torch.randint(4, 24, (n,), generator=chance).tolist(), EOS] for n in lengths]


def search(
    task: TranslationTask, model: nn.Module, sources: list[list[int]], batch: int, **options
):
    """All translations of each source, best first."""
    extra = options.pop("extra", None)
    generator = task.build_generator([model], Namespace(**options), extra_gen_cls_kwargs=extra)
    found = []
    for start in range(0, len(sources), batch):
        tokens = pad_batch(sources[start : start + batch], PAD, left=True)
        sample = {"net_input": {"src_tokens": tokens, "src_lengths": tokens.ne(PAD).sum(1)}}
        found += task.inference_step(generator, [model], sample)
    return found


def formula(log_probability: float, attention: list[list[float]], alpha: float, beta: float):
    """The score in plain float64 arithmetic; attention by real source position and target step."""
    lp = (5 + len(attention[0])) ** alpha / 6**alpha
    cp = beta * sum(math.log(min(math.fsum(steps), 1)) for steps in attention)
    return log_probability / lp + cp


def test_length_penalty() -> None:
    lengths = torch.tensor([1, 7])
    assert length_penalty(lengths, 0).tolist() == [1, 1]
    assert length_penalty(lengths, 1).tolist() == [1, 2]
    assert length_penalty(lengths, 0.2).tolist() == pytest.approx([1, 1.148698355])


def test_coverage_penalty_leaves_out_padding_and_survives_an_unread_word() -> None:
    coverage = torch.tensor([[0.0, 0.5, 1.7], [0.0, 1.0, 1.0], [0.25, 0.5, 0.0]])
    found = coverage_penalty(coverage, torch.tensor([2, 2, 2]), 0.2).tolist()
    assert found == pytest.approx([0.2 * math.log(0.5), 0, 0.2 * math.log(0.125)], abs=1e-12)
    [unread] = coverage_penalty(coverage[:1], torch.tensor([3]), 0.2).tolist()
    assert unread == pytest.approx(0.2 * (math.log(0.5) - 126 * math.log(2)))  # 2^-126, not -inf


@pytest.mark.parametrize("make", [lstm_moe, lstm, transformer])
def test_scores_equal_the_formula_on_the_attention_that_is_returned(make) -> None:
    sources = sentences(12)
    penalties = []
    for alpha, beta in ((0, 0.2), (0.6, 1.5)):
        found = search(gnmt_task(alpha, beta), make(), sources, 12, beam=4, max_len_b=12)
        for source, translations in zip(sources, found, strict=True):
            assert len(translations) == 4
            places = slice(len(source)) if make is lstm else slice(-len(source), None)
            for translation in translations:
                real = translation["attention"][places].double()
                assert real.sum(0).tolist() == pytest.approx([1] * len(translation["tokens"]))
                log_probability = float(translation["log_probability"])
                steps = translation["positional_scores"].sum().item()
                assert log_probability == pytest.approx(steps, abs=1e-4)
                expected = formula(log_probability, real.tolist(), alpha, beta)
                assert float(translation["score"]) == pytest.approx(expected, rel=1e-6, abs=1e-6)
                if alpha == 0:
                    penalties.append(float(translation["score"]) - log_probability)
            scores = [float(translation["score"]) for translation in translations]
            assert scores == sorted(scores, reverse=True)
    assert min(penalties) < -0.05 and max(penalties) < 1e-5  # it is at work


def exhaustive(model: nn.Module, source: list[int], words: list[int], longest: int):
    """Every translation of at most so many words with its log probability and attention."""
    for length in range(1, longest + 1):
        chosen = torch.tensor(list(itertools.product(words, repeat=length)))
        ends = torch.full((len(chosen), 1), EOS)
        with torch.no_grad():
            logits, extra = model(
                torch.tensor([source]).repeat(len(chosen), 1), None, torch.cat([ends, chosen], 1)
            )
        target = torch.cat([chosen, ends], 1)
        log_probability = logits.log_softmax(-1).gather(2, target[:, :, None]).sum((1, 2))
        yield from zip(
            target.tolist(), log_probability.tolist(), extra["attn"][0].mT.tolist(), strict=True
        )


def test_a_wide_beam_finds_the_best_of_all_translations() -> None:
    """Three words, up to four of them: 120 translations, and a beam that holds them all."""
    words = [4, 5, 6]
    sources = [source for source in sentences(30) if len(source) > 3][::8]
    options = dict(beam=120, max_len_b=4, unkpen=math.inf)
    others = [f"w{number}" for number in range(3, 140)]
    winners = set()
    for alpha, beta in itertools.product((0, 0.2, 2), (0, 0.2, 3)):
        model = lstm_moe(words=140)
        extra = {"tokens_to_suppress": ("<s>", *others)}
        found = search(gnmt_task(alpha, beta, 140), model, sources, 4, extra=extra, **options)
        for source, translations in zip(sources, found, strict=True):
            ranked = sorted(
                (formula(log_probability, attention, alpha, beta), target)
                for target, log_probability, attention in exhaustive(model, source, words, 4)
            )[::-1]
            assert len(translations) == len(ranked) == 120
            assert translations[0]["tokens"].tolist() == ranked[0][1]
            scores = [float(translation["score"]) for translation in translations]
            assert scores == pytest.approx([score for score, _ in ranked], rel=1e-5, abs=1e-5)
            winners.add((tuple(source), tuple(ranked[0][1])))
    assert len(winners) > len(sources)  # the weights decide


def same(one: list[list[dict[str, Tensor]]], other: list[list[dict[str, Tensor]]]) -> None:
    assert len(one) == len(other)
    for left, right in zip(one, other, strict=True):
        assert [t["tokens"].tolist() for t in left] == [t["tokens"].tolist() for t in right]
        for a, b in zip(left, right, strict=True):
            assert float(a["score"]) == pytest.approx(float(b["score"]), abs=1e-4)
            torch.testing.assert_close(
                a["positional_scores"], b["positional_scores"], rtol=1e-4, atol=1e-4
            )


@pytest.mark.parametrize("make", [lstm_moe, lstm, transformer])
def test_with_both_weights_0_it_is_the_plain_search_of_fairseq(make) -> None:
    plain = TranslationTask(TranslationConfig(), dictionary(), dictionary())
    model, sources = make(seed=3), sentences(12, seed=1)
    different = 0
    for beam, batch in ((1, 12), (2, 7), (5, 1), (8, 12)):
        options = dict(beam=beam, max_len_b=12)
        ours = search(gnmt_task(0, 0), model, sources, batch, **options)
        same(ours, search(plain, model, sources, batch, **options, lenpen=0))
        same(ours, search(plain, model, sources, batch, **options, unnormalized=True))
        scored = search(gnmt_task(0.6, 0.8), model, sources, batch, **options)
        different += sum(
            a[0]["tokens"].tolist() != b[0]["tokens"].tolist()
            for a, b in zip(ours, scored, strict=True)
        )
    assert different > 0  # else the score would decide nothing and equality say little


def test_the_batch_changes_nothing() -> None:
    model, sources = lstm_moe(), sentences(30, seed=2)
    one_by_one = search(gnmt_task(0.2, 0.2), model, sources, 1, beam=4, max_len_b=12)
    for batch in (7, 30):
        together = search(gnmt_task(0.2, 0.2), model, sources, batch, beam=4, max_len_b=12)
        for left, right in zip(one_by_one, together, strict=True):
            assert [t["tokens"].tolist() for t in left] == [t["tokens"].tolist() for t in right]
            scores = [[float(t["score"]) for t in translations] for translations in (left, right)]
            assert scores[0] == pytest.approx(scores[1], abs=1e-5)


def test_an_ensemble_averages_the_attention() -> None:
    task, models = gnmt_task(0.2, 1), [lstm_moe(seed=4), lstm_moe(seed=5)]
    source = sentences(1)[0]
    sample = {"net_input": {"src_tokens": torch.tensor([source]), "src_lengths": None}}
    generator = task.build_generator(models, Namespace(beam=3, max_len_b=6))
    for translation in task.inference_step(generator, models, sample)[0]:
        target = translation["tokens"]
        previous = torch.cat([torch.tensor([EOS]), target[:-1]])[None]
        with torch.no_grad():
            outputs = [model(torch.tensor([source]), None, previous) for model in models]
        probabilities = sum(logits[0].softmax(-1) for logits, _ in outputs) / 2
        log_probability = probabilities.gather(1, target[:, None]).log().sum().item()
        attention = sum(extra["attn"][0][0].mT for _, extra in outputs) / 2
        expected = formula(log_probability, attention.tolist(), 0.2, 1)
        assert float(translation["score"]) == pytest.approx(expected, abs=1e-4)


def test_what_the_task_refuses() -> None:
    for alpha, beta in ((-0.1, 0), (math.nan, 0), (math.inf, 0)):
        with pytest.raises(UserError, match="--gnmt-alpha must be (finite and )?at least 0"):
            gnmt_task(alpha, beta)
    with pytest.raises(UserError, match="--gnmt-beta must be at least 0, not -1"):
        gnmt_task(0.2, -1)
    model = lstm_moe()
    with pytest.raises(UserError, match="--lenpen 0.6 is fairseq's own"):
        search(gnmt_task(0.2, 0.2), model, sentences(1), 1, lenpen=0.6)
    with pytest.raises(UserError, match="--unnormalized is fairseq's own"):
        search(gnmt_task(0.2, 0.2), model, sentences(1), 1, unnormalized=True)


def test_a_model_without_attention_needs_beta_0() -> None:
    model = lstm(attention=False)
    assert search(gnmt_task(0.2, 0), model, sentences(2), 2, beam=2, max_len_b=5)
    with pytest.raises(UserError, match="shows no attention.*--gnmt-beta 0"):
        search(gnmt_task(0.2, 0.2), model, sentences(2), 2, beam=2, max_len_b=5)
