"""Word dropout: what is missing is missing everywhere in its sentence, as often as asked for."""

import pytest
import torch
from fairseq.data import Dictionary

from nmt_moe.common.errors import UserError
from nmt_moe.models.dropout import WordDropout
from tests.models.build import SOURCE, TARGET, build_model, dictionary, pad_batch

PAD, EOS = 1, 2


def tokens(sentences: int = 400) -> torch.Tensor:
    """Each has its pieces twice, then the end and padding."""
    words = torch.stack([torch.randperm(16)[:5] + 4 for _ in range(sentences)])
    end = torch.tensor([[EOS, PAD]]).expand(sentences, 2)
    return torch.cat([words, words.flip(1), end], dim=1)


def test_a_piece_is_missing_everywhere_or_nowhere_in_a_sentence():
    torch.manual_seed(0)
    layer, tokens_BS = WordDropout(0.3, dictionary()).train(), tokens()
    x_SBD = torch.randn(12, 400, 3, dtype=torch.double)
    y_SBD = layer(x_SBD, tokens_BS)
    gone_BS = (y_SBD == 0).all(2).t()
    assert torch.equal(y_SBD[~gone_BS.t()], x_SBD[~gone_BS.t()])  # not made larger
    assert torch.equal(gone_BS[:, :5], gone_BS[:, 5:10].flip(1))
    assert not gone_BS[:, 10:].any()
    share = gone_BS[:, :5].double()
    error = 4 * (0.3 * 0.7 / share.numel()) ** 0.5
    assert abs(share.mean().item() - 0.3) < error
    # The pieces of a sentence are dropped independently: as many as a binomial has none left.
    everything = (gone_BS[:, :5].sum(1) == 0).double().mean().item()
    assert abs(everything - 0.7**5) < 4 * (0.7**5 / 400) ** 0.5


def test_the_gradient_of_what_is_missing_is_zero():
    torch.manual_seed(0)
    layer, tokens_BS = WordDropout(0.5, dictionary()).train(), tokens(30)
    x_SBD = torch.randn(12, 30, 3, requires_grad=True)
    y_SBD = layer(x_SBD, tokens_BS)
    y_SBD.sum().backward()
    assert torch.equal(x_SBD.grad != 0, y_SBD != 0)


def test_tags_of_languages_stay():
    words = Dictionary()
    for word in ("<2de>", "__fr__", "[cs_CZ]", "▁tree", "<0x41>"):
        words.add_symbol(word)
    tokens_BS = torch.arange(4, 9).repeat(50, 1)
    y_SBD = WordDropout(0.9, words).train()(torch.ones(5, 50, 1), tokens_BS)
    assert y_SBD[:3].all() and 0 < y_SBD[3:].sum() < 40


@pytest.mark.parametrize("arch", ["lstm_moe", "lstm_moe_lm"])
def test_models_drop_words_of_both_sides_in_training_alone(arch):
    torch.manual_seed(0)
    model = build_model(arch, word_dropout=0.9)
    plain = build_model(arch)
    plain.load_state_dict(model.state_dict())
    words = {"src_tokens": pad_batch(SOURCE, PAD, left=True), "src_lengths": None}
    if arch == "lstm_moe":
        words |= {"prev_output_tokens": pad_batch(TARGET, PAD, left=False)}
    assert torch.equal(model.eval()(**words)[0], plain.eval()(**words)[0])
    for side in ("encoder", "decoder") if arch == "lstm_moe" else ("decoder",):
        model.eval()
        getattr(model, side).word_dropout.train()
        assert not torch.equal(model(**words)[0], plain(**words)[0]), side


@pytest.mark.parametrize("value", [-0.1, 1.0])
def test_the_range(value):
    with pytest.raises(UserError, match="--word-dropout must be at least 0 and less than 1"):
        build_model(word_dropout=value)
