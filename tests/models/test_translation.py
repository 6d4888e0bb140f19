"""The translation model: padding, incremental decoding, the dense twin, the paper's sizes."""

import pytest
import torch

from nmt_moe.common.errors import UserError
from nmt_moe.models.architectures import config
from nmt_moe.models.attention import OutputAttention
from nmt_moe.models.feed_forward import FeedForwards
from tests.models.build import SOURCE, TARGET, build_model, pad_batch

VARIANTS = [
    {},
    dict(lstm_cells=12),
    dict(encoder_bidirectional=True, lstm_cells=12),
    dict(attention="additive", no_moe_sigmoid=True),
    dict(attention_residual=True, lstm_cells=12),
    dict(encoder_layers=1, encoder_moe_after="1", decoder_layers=3, decoder_moe_after="1,3"),
    dict(feed_forward="dense"),
    dict(feed_forward="deep"),
    dict(feed_forward="none"),
    dict(moe_gating="top_k", moe_k=4),
    dict(moe_groups=3, moe_experts=9, moe_recompute=True),
    dict(moe_gating="strictly_balanced"),
    dict(moe_gating="strictly_balanced", moe_groups=2, moe_experts=8),
    dict(share_decoder_input_output_embed=True),
    dict(share_all_embeddings=True, lstm_cells=12),
    dict(output_attention=True, lstm_cells=12),
    dict(output_attention=True, attention_residual=True, decoder_residual_from=2),
    dict(encoder_residual_from=3, decoder_residual_from=2, encoder_bidirectional=True),
]
ADAPTIVE = dict(adaptive_softmax_cutoff="6,12", adaptive_softmax_factor=2.0)


def batch(left: bool = True):
    return pad_batch(SOURCE, 1, left), None, pad_batch(TARGET, 1, left=False)


@pytest.mark.parametrize("options", VARIANTS)
def test_padding_and_the_rest_of_the_batch_change_nothing(options):
    torch.manual_seed(0)
    model = build_model(**options).double().eval()
    with torch.no_grad():
        logits, extra = model(*batch())
        right, _ = model(*batch(left=False))
        for b, (source, target) in enumerate(zip(SOURCE, TARGET, strict=True)):
            alone, _ = model(torch.tensor([source]), None, torch.tensor([target]))
            torch.testing.assert_close(logits[b, : len(target)], alone[0])
            torch.testing.assert_close(right[b, : len(target)], alone[0])
    real = torch.tensor(SOURCE[1]).ne(1).sum()
    attention = extra["attn"][0][1]
    assert not attention[:, : 5 - real].any()  # none on the left padding
    torch.testing.assert_close(attention.sum(1), torch.ones(6, dtype=torch.double))


@pytest.mark.parametrize("options", [*VARIANTS, ADAPTIVE])
def test_incremental_decoding_with_reordering_equals_the_full_forward_pass(options):
    torch.manual_seed(1)
    model = build_model(**options).double().eval()
    source = pad_batch(SOURCE, 1, left=True)
    target = torch.randint(4, 24, (3, 7))
    target[:, 0] = 2
    orders = [torch.tensor(order) for order in ([0, 1, 2], [2, 0, 0], [1, 2, 0], [0, 0, 1])]
    with torch.no_grad():
        encoder_out = model.encoder(source)
        state: dict = {}
        for step in range(7):
            if 0 < step <= len(orders):
                order = orders[step - 1]
                model.decoder.reorder_incremental_state_scripting(state, order)
                encoder_out = model.encoder.reorder_encoder_out(encoder_out, order)
                source, target = source[order], target[order]
            logits, extra = model.decoder(target[:, : step + 1], encoder_out, state)
            full, full_extra = model(source, None, target[:, : step + 1])
            torch.testing.assert_close(logits[:, 0], full[:, -1], rtol=1e-12, atol=1e-12)
            torch.testing.assert_close(extra["attn"][0][:, 0], full_extra["attn"][0][:, -1])


def test_routings_name_their_layers_and_count_only_real_tokens():
    model = build_model(encoder_moe_after="1,2", decoder_moe_after="1,2")
    _, extra = model(*batch())
    assert list(extra["routing"]) == ["encoder.1", "encoder.2", "decoder.1", "decoder.2"]
    for name, routing in extra["routing"].items():
        tokens = sum(map(len, SOURCE if name.startswith("encoder") else TARGET))
        assert routing.counts_E.sum() == 2 * tokens
        assert routing.token_A.max() == tokens - 1


def test_a_step_that_looks_ahead_would_be_seen():
    torch.manual_seed(0)
    model = build_model().eval()
    source, _, target = batch()
    changed = target.clone()
    changed[1, 4] = 20
    with torch.no_grad():
        before, after = model(source, None, target)[0], model(source, None, changed)[0]
    torch.testing.assert_close(before[1, :4], after[1, :4])
    assert not torch.allclose(before[1, 4], after[1, 4])


def test_the_layers_above_read_the_attention_context():
    torch.manual_seed(0)
    model = build_model(attention_residual=True, decoder_layers=1, feed_forward="none").double()
    source, _, target = batch()
    encoder_out = model.encoder(source)
    logits, extra = model.decoder(target, encoder_out)
    residual = model.decoder.attention.residual
    weight, residual.weight.data = residual.weight.data, torch.zeros_like(residual.weight)
    without, _ = model.decoder(target, encoder_out)
    context = torch.einsum("bls,sbd->bld", extra["attn"][0], encoder_out["encoder_out"][0])
    torch.testing.assert_close(logits, without + model.decoder.output(context @ weight.t()))


def test_dropout_is_on_the_context_that_the_layers_above_read():
    torch.manual_seed(0)
    options = dict(attention_residual=True, decoder_layers=1, feed_forward="none", dropout=0.5)
    decoder = build_model(**options).decoder.train()
    for parameter in [decoder.embedding.weight, *decoder.layers.parameters()]:
        torch.nn.init.zeros_(parameter)  # then nothing but the context is left
    decoder.output = torch.nn.Identity()
    source_SBD = torch.randn(5, 3, 8)
    out = {"encoder_out": [source_SBD], "encoder_padding_mask": [torch.zeros(3, 5).bool()]}
    x_BLD, _ = decoder(torch.full((3, 40), 7), out | {"routing": {}})
    assert 0.45 < (x_BLD == 0).float().mean() < 0.55


@pytest.mark.parametrize("attention", ["multiplicative", "additive", "dot"])
def test_attention_follows_the_formula(attention):
    torch.manual_seed(0)
    module = build_model(attention=attention).double().decoder.attention
    if attention != "dot":
        torch.nn.init.normal_(module.v)
    source, query = torch.randn(1, 3, 8).double(), torch.randn(1, 8).double()
    pad = torch.tensor([[False, False, True]])
    context, weights = module(query, module.keys(source), source, pad)
    u, w = module.source.weight.t(), module.query.weight.t()
    scores = []
    for s in range(2):
        xu, yw = source[0, s] @ u, query[0] @ w
        if attention == "dot":
            scores.append(xu @ yw / 8**0.5)
            continue
        multiplicative = attention == "multiplicative"
        term = xu.tanh() * yw.tanh() if multiplicative else (xu + yw).tanh()
        scores.append((module.v * term).sum())
    expected = torch.softmax(torch.stack(scores), 0)
    torch.testing.assert_close(weights[0, :2], expected)
    assert weights[0, 2] == 0
    torch.testing.assert_close(context[0], expected @ source[0, :2])


def test_the_output_attention_follows_the_formula():
    torch.manual_seed(0)
    module = OutputAttention(8).double()
    x, source = torch.randn(4, 3, 8).double(), torch.randn(2, 5, 8).double()
    pad = torch.tensor([[False] * 5, [True, True, False, False, False]])
    inputs = [x.requires_grad_(), source.requires_grad_(), *module.parameters()]

    def by_hand(x, source, query, residual):
        rows = []
        for row in range(4):
            positions = source[row // 2][~pad[row // 2]]  # two rows read each sentence
            for step in range(3):
                scores = [torch.dot(query @ x[row, step], y) / 8**0.5 for y in positions]
                weights = torch.stack(scores).softmax(0)
                rows.append(residual @ sum(w * y for w, y in zip(weights, positions, strict=True)))
        return torch.stack(rows).view(4, 3, 8)

    found, right = module(x, source, pad), by_hand(*inputs)
    torch.testing.assert_close(found, right)
    above = torch.randn_like(found)
    for pair in zip(
        torch.autograd.grad(found, inputs, above),
        torch.autograd.grad(right, inputs, above),
        strict=True,
    ):
        torch.testing.assert_close(*pair)


def test_the_softmax_reads_the_last_layer_and_its_attention():
    torch.manual_seed(0)
    model = build_model(output_attention=True, dropout=0.5).double().eval()
    source, _, target = batch()
    encoder_out = model.encoder(source)
    x_BLD, _ = model.decoder.extract_features(target, encoder_out)
    attention, model.decoder.output_attention = model.decoder.output_attention, None
    without_BLD, _ = model.decoder.extract_features(target, encoder_out)
    [source_SBD], [pad_BS] = encoder_out["encoder_out"], encoder_out["encoder_padding_mask"]
    read_BLD = attention(without_BLD, source_SBD.transpose(0, 1), pad_BS)
    torch.testing.assert_close(x_BLD, without_BLD + read_BLD)
    model.decoder.output_attention = attention
    torch.nn.init.zeros_(attention.query.weight)
    torch.nn.init.eye_(attention.residual.weight)
    model.decoder.train()
    for parameter in [model.decoder.embedding.weight, *model.decoder.layers.parameters()]:
        torch.nn.init.zeros_(parameter)  # then nothing but the context is left
    model.decoder.feed_forwards = FeedForwards(config("lstm_moe", {}), [], "decoder")
    x_BLD, _ = model.decoder.extract_features(target.new_full((3, 40), 7), encoder_out)
    assert 0.45 < (x_BLD == 0).double().mean() < 0.55


@pytest.mark.parametrize("first", [1, 2, 3, 4])
def test_residual_connections_begin_where_they_are_told(first):
    """LSTMs of zeros put out zeros: what is left went around all of them."""
    options = dict(encoder_layers=3, decoder_layers=3, feed_forward="none")
    model = build_model(encoder_residual_from=first, decoder_residual_from=first, **options)
    for stack in (model.encoder, model.decoder):
        for parameter in stack.layers.parameters():
            torch.nn.init.zeros_(parameter)
    source, _, target = batch()
    encoder_out = model.encoder(source)
    x_BLD, _ = model.decoder.extract_features(target, encoder_out)
    found = [x_BLD, encoder_out["encoder_out"][0].transpose(0, 1)]
    words = [(model.decoder, target), (model.encoder, source)]
    right = [8**0.5 * stack.embedding(tokens) for stack, tokens in words]
    for got, embedded in zip(found, right, strict=True):
        torch.testing.assert_close(got, embedded if first == 1 else torch.zeros_like(embedded))
        assert embedded.any()
    # The second layer's output, a constant, reaches the end around the third where there is a way.
    for stack in (model.encoder, model.decoder):
        torch.nn.init.ones_(stack.layers[1].lstm.bias_ih_l0)
    x_BLD, _ = model.decoder.extract_features(target, model.encoder(source))
    assert bool((x_BLD != (right[0] if first == 1 else 0)).any()) == (first <= 3)


def test_every_parameter_gets_a_gradient():
    torch.manual_seed(0)
    for options in VARIANTS:
        model = build_model(**options)
        logits, extra = model(*batch())
        routings = extra["routing"].values()
        load = sum(r.load_E.square().sum() for r in routings)
        thresholds = sum(r.threshold_loss for r in routings if r.threshold_loss is not None)
        (logits.square().sum() + load + thresholds).backward()
        missing = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
        assert not missing, (options, missing)


def parameters_without_embedding_and_softmax(**options) -> int:
    with torch.device("meta"):
        model = build_model(
            **dict(dim=512, lstm_cells=2048, moe_experts=32, moe_k=4, moe_hidden_dim=2048) | options
        )
    total = sum(p.numel() for p in model.parameters())
    words = (model.encoder.embedding, model.decoder.embedding, model.decoder.output)
    return total - sum(module.weight.numel() for module in words)


def test_the_default_size_is_the_papers():
    lstm = (512 + 512) * 4 * 2048 + 2048 * 512  # 9.44 million products per token
    first_decoder = (512 + 512 + 512) * 4 * 2048 + 2048 * 512  # 13.63: it reads the context too
    biases = 5 * 2 * 4 * 2048
    attention = 2 * 512 * 512 + 512
    dense = 4 * lstm + first_decoder + biases + attention
    expert = 2 * 512 * 2048
    assert parameters_without_embedding_and_softmax(feed_forward="none") == dense
    moe = dense + 2 * (32 * expert + 2 * 512 * 32)
    assert parameters_without_embedding_and_softmax() == moe
    twin = dense + 2 * 4 * expert  # the experts that are active for a token
    assert parameters_without_embedding_and_softmax(feed_forward="dense") == twin
    # Hidden layers one after the other are multiplied with each other, not with the width.
    deep = dense + 2 * (expert + 3 * 2048 * 2048)
    assert parameters_without_embedding_and_softmax(feed_forward="deep") == deep
    twin = dense + 2 * 9 * expert  # 3 experts in each of 3 groups
    wide = parameters_without_embedding_and_softmax(feed_forward="dense", moe_k=3, moe_groups=4)
    assert wide == twin


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(moe_k=5), "--moe-k 5 is more than --moe-experts 4: choose from 1 to 4"),
        (dict(moe_k=0), "--moe-k must be at least 1, not 0"),
        (dict(moe_groups=0), "--moe-groups must be at least 1, not 0"),
        (dict(moe_groups=3), "--moe-experts 4 cannot be divided into --moe-groups 3"),
        (dict(moe_groups=4), "--moe-k 2 counts at both levels: --moe-groups 4 and the 1 experts"),
        (dict(moe_groups=2, moe_experts=8, moe_k=3), "--moe-k 3 counts at both levels"),
        (dict(encoder_moe_after="4"), "no layer 4, the encoder has layers 1 to 3"),
        (dict(decoder_moe_after="0"), "no layer 0, the decoder has layers 1 to 2"),
        (dict(decoder_moe_after="top"), "not a list of layer numbers such as 1,2"),
        (dict(lstm_cells=7), "--lstm-cells 7 is less than --dim 8"),
        (dict(dim=7, lstm_cells=9, encoder_bidirectional=True), "even --dim"),
        (dict(decoder_residual_from=0), "--decoder-residual-from must be at least 1, not 0"),
        (dict(dim=0), "--dim must be at least 1"),
        (dict(dropout=1.0), "--dropout must be at least 0 and less than 1, not 1.0"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        build_model(**options)


def test_a_name_that_has_no_dropout_is_refused():
    modules = {"retain_dropout_modules": ["FeedForwards"]}
    with pytest.raises(UserError, match="FeedForwards: no such module: did you mean FeedForward"):
        build_model(dropout=0.5).make_generation_fast_(retain_dropout=True, **modules)


@pytest.mark.parametrize("name", ["LSTMMoEEncoder", "LSTMMoEDecoder", "FeedForward", None])
def test_dropout_is_kept_in_the_modules_that_retain_dropout_names(name):
    model = build_model(dropout=0.5).eval()
    same = [model(*batch())[0] for _ in range(2)]
    assert torch.equal(*same)
    modules = None if name is None else [name]
    model.make_generation_fast_(retain_dropout=True, retain_dropout_modules=modules)
    kept = {
        type(part).__name__
        for part in model.modules()
        if getattr(getattr(part, "dropout", None), "apply_during_inference", False)
    }
    everywhere = {"LSTMMoEEncoder", "LSTMMoEDecoder", "FeedForward"}
    assert kept == ({name} if name else everywhere)
    encoded = [model.encoder(batch()[0]) for _ in range(2)]
    in_encoder = name != "LSTMMoEDecoder"
    assert torch.equal(*[one["encoder_out"][0] for one in encoded]) != in_encoder
    decoded = [model.decoder(batch()[2], encoded[0], {})[0] for _ in range(2)]  # a step
    assert torch.equal(*decoded) == (name == "LSTMMoEEncoder")
    with torch.no_grad():
        assert not torch.equal(*[model(*batch())[0] for _ in range(2)])
