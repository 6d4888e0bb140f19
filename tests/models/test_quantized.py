"""Models with weights in int8 against those in float32 that they are made of."""

import copy

import pytest
import torch
from torch import nn

from nmt_moe.common.errors import UserError
from nmt_moe.kernels.cpu import int8
from nmt_moe.kernels.cpu.extension import library
from nmt_moe.kernels.cpu.int8_weights import Packed, Source, pack
from nmt_moe.models.architectures import build, config
from nmt_moe.models.quantized.lstm import Int8AttentionLSTM
from nmt_moe.models.quantized.model import quantize
from nmt_moe.models.quantized.weights import Int8Embedding, Int8Linear, Int8Mixture, Int8Weight
from tests.models.build import SMALL, SOURCE, TARGET, build_model, dictionary, pad_batch

SIZES = dict(dim=24, lstm_cells=40, moe_hidden_dim=36)
KINDS: dict[str, dict] = {
    "the paper's": {},
    "no projection": dict(lstm_cells=24),
    "additive attention, both directions": dict(
        attention="additive", attention_residual=True, encoder_bidirectional=True
    ),
    "dot product": dict(attention="dot"),
    "a second attention": dict(output_attention=True, decoder_residual_from=2),
    "strictly balanced": dict(moe_gating="strictly_balanced"),
    "a hierarchy": dict(moe_groups=2),
    "a shared expert": dict(moe_shared_expert=True),
    "dense": dict(feed_forward="dense", no_moe_sigmoid=True),
    "deep": dict(feed_forward="deep"),
    "one matrix": dict(share_all_embeddings=True),
    "the decoder's matrix": dict(share_decoder_input_output_embed=True),
    "adaptive softmax": dict(adaptive_softmax_cutoff="8,15"),
}


@pytest.fixture(params=["C", "torch"], autouse=True)
def computed_by(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "torch":
        monkeypatch.setattr(int8, "library", None)
    elif library is None:
        pytest.skip("was not compiled here")
    return request.param


def made(**options) -> nn.Module:
    torch.manual_seed(1)
    return build_model(**(SIZES | options)).eval()


def scores(model: nn.Module) -> torch.Tensor:
    pad = dictionary().pad()
    source, target = pad_batch(SOURCE, pad, left=True), pad_batch(TARGET, pad, left=False)
    with torch.no_grad():
        found = model(source, torch.tensor([5, 3, 2]), target)
        return found[0] if model.decoder.adaptive_softmax else found[0].log_softmax(-1)


def in_steps(model: nn.Module) -> torch.Tensor:
    """The same by the steps of a search."""
    pad = dictionary().pad()
    source, target = pad_batch(SOURCE, pad, left=True), pad_batch(TARGET, pad, left=False)
    state: dict = {}
    with torch.no_grad():
        encoded = model.encoder(source, torch.tensor([5, 3, 2]))
        found = [
            model.decoder(target[:, : t + 1], encoded, incremental_state=state)[0]
            for t in range(target.shape[1])
        ]
    return torch.cat(found, dim=1).log_softmax(-1)


@pytest.mark.parametrize("name", KINDS)
def test_scores_are_near_those_in_float32(name: str) -> None:
    model = made(**KINDS[name])
    right, small = scores(model), quantize(copy.deepcopy(model))
    found = scores(small)
    # Each number is wrong by up to 1/254 of the largest of its row: some per cent through layers.
    assert 0 < (found - right).abs().mean() < 0.05 * right.std()
    if small.decoder.adaptive_softmax is None:
        assert (in_steps(small) - found).abs().max() < 0.05 * right.std()


@pytest.mark.parametrize("name", KINDS)
def test_a_checkpoint_of_either_kind_loads(name: str) -> None:
    options = SMALL | SIZES | KINDS[name]
    model = made(**KINDS[name])
    small = quantize(copy.deepcopy(model))
    for state in (model.state_dict(), small.state_dict()):
        built = build(config("lstm_moe", options | {"int8_weights": True}), len(dictionary()))
        assert not built.training
        built.load_state_dict(state)
        assert torch.equal(scores(built), scores(small))
        assert not any(weight.is_meta for weight in built.state_dict().values())
    with pytest.raises(UserError, match="this model is in int8, for translating only"):
        model.load_state_dict(small.state_dict())


def test_no_weight_in_float32_is_left() -> None:
    model = build(config("lstm_moe", SMALL | dict(dim=64, lstm_cells=128, moe_hidden_dim=128)), 500)
    before = sum(weight.nbytes for weight in model.state_dict().values())
    quantize(model)
    state = model.state_dict()
    assert sum(weight.nbytes for weight in state.values()) < 0.3 * before
    floats = {name: weight for name, weight in state.items() if weight.is_floating_point()}
    assert all("gate" in name or weight.dim() == 1 or ("experts" in name and "scale" in name)
               for name, weight in floats.items())  # fmt: skip
    experts = model.decoder.feed_forwards["1"].moe.experts
    assert experts.w_in.panels.nbytes == 4 * 64 * 128


def test_one_matrix_stays_one() -> None:
    model = quantize(made(share_all_embeddings=True))
    assert isinstance(model.encoder.embedding, Int8Embedding)
    assert model.encoder.embedding is model.decoder.embedding
    words = model.decoder.output.words
    assert words.panels.data_ptr() == model.decoder.embedding.panels.data_ptr()
    assert words.scale.data_ptr() == model.decoder.embedding.scale.data_ptr()


def test_what_is_counted_stays() -> None:
    model = made()
    right = model.decoder.feed_forwards["1"].moe.ops_per_token
    layer = quantize(model).decoder.feed_forwards["1"].moe
    assert type(layer) is Int8Mixture and layer.ops_per_token == right


def test_what_cannot_be_is_one_line(computed_by: str) -> None:
    model = quantize(made())
    with pytest.raises(UserError, match="the model is in int8 already"):
        quantize(model)
    with pytest.raises(UserError, match="a model in int8 is for translating only"):
        model.train()
    with pytest.raises(UserError, match="int8 is for translation models of lstm_moe, not for"):
        quantize(build_model("lstm_moe_lm"))
    if computed_by == "C":
        with pytest.raises(UserError, match="computes in float32: leave out --fp16"):
            scores(copy.deepcopy(model).half())
    with pytest.raises(UserError, match="translates on CPUs: use --device cpu"):
        model.decoder.output(torch.empty(1, 24, device="meta"))


def test_some_words_have_the_logits_that_they_have_among_all():
    torch.manual_seed(1)
    layer = Int8Linear(150, 24)
    layer.load_state_dict({"weight": torch.randn(150, 24)})
    x = torch.randn(3, 2, 24)
    for words_N in (torch.tensor([5]), torch.randperm(150)[:70], torch.arange(150)):
        torch.testing.assert_close(layer.of_words(words_N)(x), layer(x)[..., words_N])


@pytest.mark.parametrize("additive", [False, True])
def test_rows_that_share_a_sentence_read_what_copies_of_it_say(additive):
    torch.manual_seed(1)
    layer = Int8AttentionLSTM(16, 32)
    for module in layer.modules():
        if isinstance(module, Int8Weight):
            module.panels, module.scale = pack(torch.randn(module.outputs, module.inputs))
    layer.bias.normal_()
    query = Packed(*pack(torch.randn(16, 16)), 16, 16)
    weights = layer._weights(query=query, context=layer.context.packed)
    pad_BS = torch.tensor([[False] * 5, [False] * 3 + [True] * 2])
    read = (torch.randn(2, 5, 16), torch.randn(2, 5, 16), pad_BS)
    state = (torch.randn(1, 6, 16), torch.randn(6, 16), torch.randn(6, 32))
    v_D = torch.randn(16) if additive else None
    shared = int8.recurrence(weights, *state, Source(*read, v_D))
    copies = Source(*(x.repeat_interleave(3, 0) for x in read), v_D)
    for a, b in zip(shared, int8.recurrence(weights, *state, copies), strict=True):
        torch.testing.assert_close(a, b)
