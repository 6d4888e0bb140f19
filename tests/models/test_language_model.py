"""The language model: padding, incremental decoding, the paper's sizes."""

from types import SimpleNamespace

import pytest
import torch
from fairseq.data import TruncatedDictionary

from nmt_moe.common.errors import UserError
from nmt_moe.models.architectures import config
from nmt_moe.models.language_model import LSTMMoELanguageModel
from tests.models.build import SMALL, TARGET, build_model, dictionary, pad_batch

VARIANTS = [
    {},
    dict(lstm_cells=12, layers=3, moe_after="1,3"),
    dict(layers=1, feed_forward="none"),
    dict(feed_forward="dense"),
    dict(feed_forward="deep", no_moe_sigmoid=True),
    dict(moe_groups=2, moe_experts=8),
    dict(moe_gating="strictly_balanced"),
    dict(share_decoder_input_output_embed=True),
]
ADAPTIVE = dict(adaptive_softmax_cutoff="6,12", adaptive_softmax_factor=2.0)


def build(**options):
    return build_model("lstm_moe_lm", **options)


@pytest.mark.parametrize("options", VARIANTS)
def test_padding_and_the_rest_of_the_batch_change_nothing(options):
    torch.manual_seed(0)
    model = build(**options).double().eval()
    with torch.no_grad():
        right, extra = model(pad_batch(TARGET, 1, left=False))
        left, _ = model(pad_batch(TARGET, 1, left=True))
        for b, sentence in enumerate(TARGET):
            alone, _ = model(torch.tensor([sentence]), src_lengths=torch.tensor([len(sentence)]))
            torch.testing.assert_close(right[b, : len(sentence)], alone[0])
            torch.testing.assert_close(left[b, -len(sentence) :], alone[0])
    assert extra["attn"] == [None]
    if options == {}:
        assert extra["routing"]["decoder.1"].counts_E.sum() == 2 * sum(map(len, TARGET))


@pytest.mark.parametrize("options", [*VARIANTS, ADAPTIVE])
def test_incremental_decoding_with_reordering_equals_the_full_forward_pass(options):
    torch.manual_seed(1)
    model = build(**options).double().eval()
    tokens = torch.randint(4, 24, (3, 7))
    orders = [torch.tensor(order) for order in ([0, 1, 2], [2, 0, 0], [1, 2, 0], [0, 0, 1])]
    state: dict = {}
    with torch.no_grad():
        for step in range(7):
            if 0 < step <= len(orders):
                order = orders[step - 1]
                model.decoder.reorder_incremental_state_scripting(state, order)
                tokens = tokens[order]
            logits, _ = model.decoder(tokens[:, : step + 1], incremental_state=state)
            full, _ = model(tokens[:, : step + 1])
            torch.testing.assert_close(logits[:, 0], full[:, -1], rtol=1e-12, atol=1e-12)


def test_a_step_that_looks_ahead_would_be_seen():
    torch.manual_seed(0)
    model = build().eval()
    tokens = pad_batch(TARGET, 1, left=False)
    changed = tokens.clone()
    changed[1, 4] = 20
    with torch.no_grad():
        before, after = model(tokens)[0], model(changed)[0]
    torch.testing.assert_close(before[1, :4], after[1, :4])
    assert not torch.allclose(before[1, 4], after[1, 4])


@pytest.mark.parametrize("options", VARIANTS)
def test_every_parameter_gets_a_gradient(options):
    torch.manual_seed(0)
    model = build(**options)
    logits, extra = model(pad_batch(TARGET, 1, left=False))
    routings = extra["routing"].values()
    load = sum(r.load_E.square().sum() for r in routings)
    thresholds = sum(r.threshold_loss for r in routings if r.threshold_loss is not None)
    (logits.square().sum() + load + thresholds).backward()
    assert not [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]


def test_recomputed_activations_give_the_same_gradients():
    gradients = []
    for recompute in (False, True):
        torch.manual_seed(0)
        model = build(moe_recompute=recompute).double()
        model(pad_batch(TARGET, 1, left=False))[0].square().sum().backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    for kept, computed_again in zip(*gradients, strict=True):
        torch.testing.assert_close(kept, computed_again)


def test_the_dictionary_of_what_is_predicted_may_be_shorter():
    words = dictionary()
    shorter = TruncatedDictionary(words, 10)
    task = SimpleNamespace(source_dictionary=words, target_dictionary=shorter)
    model = LSTMMoELanguageModel.build_model(config("lstm_moe_lm", SMALL), task)
    assert model(torch.tensor([[2, 23]]))[0].shape == (1, 2, 10)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(moe_k=5), "--moe-k 5 is more than --moe-experts 4: choose from 1 to 4"),
        (dict(layers=0), "--layers must be at least 1, not 0"),
        (dict(moe_after="3"), "--moe-after '3': there is no layer 3, the model has layers 1 to 2"),
        (dict(moe_after="top"), "--moe-after 'top' is not a list of layer numbers such as 1,2"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        build(**options)


def test_residual_connections_and_dropout_on_every_output():
    model = build(dropout=0.5, feed_forward="none", layers=3)
    dropped = []
    for module in (model.decoder.dropout_in, model.decoder.dropout):
        module.register_forward_hook(lambda *_: dropped.append(1))
    tokens = torch.randint(4, 20, (2, 5))
    model(tokens)
    assert len(dropped) == 1 + 3  # the embedding and each LSTM
    for parameter in model.decoder.layers.parameters():
        torch.nn.init.zeros_(parameter)
    logits, _ = model.eval()(tokens)
    decoder = model.decoder
    torch.testing.assert_close(logits, decoder.output(decoder.embedding(tokens) * 8**0.5))
