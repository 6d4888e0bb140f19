"""One matrix for embeddings and softmax: gradients, the start of a training, what is refused."""

import math
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from fairseq.data import TruncatedDictionary
from torch import Tensor

from nmt_moe.common.errors import UserError
from nmt_moe.models.architectures import build, config
from nmt_moe.models.language_model import LSTMMoELanguageModel
from nmt_moe.models.translation import LSTMMoEModel
from nmt_moe.optim.moe_adam import MoEAdam
from nmt_moe.plan import counts, devices
from tests.models.build import SMALL, build_model, dictionary

DECODER = dict(share_decoder_input_output_embed=True)
ALL = dict(share_all_embeddings=True)
ONE_LAYER = dict(encoder_layers=1, decoder_layers=1, encoder_moe_after="", feed_forward="none")


def lstm(x_LBD: Tensor, step) -> Tensor:
    """The outputs of a layer, from ``step(x, h, c)``."""
    h, c, outputs = 0 * x_LBD[0], x_LBD.new_zeros(x_LBD.shape[1], 12), []
    for x in x_LBD:
        h, c = step(x, h, c)
        outputs.append(h)
    return torch.stack(outputs)


def cell(gates: Tensor, c: Tensor, projection: Tensor) -> tuple[Tensor, Tensor]:
    i, f, g, o = gates.chunk(4, dim=-1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return (o.sigmoid() * c.tanh()) @ projection.t(), c


def plain_lstm(w: dict[str, Tensor], x_LBD: Tensor) -> Tensor:
    def step(x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        bias = w["bias_ih_l0"] + w["bias_hh_l0"]
        gates = x @ w["weight_ih_l0"].t() + h @ w["weight_hh_l0"].t() + bias
        return cell(gates, c, w["weight_hr_l0"])

    return lstm(x_LBD, step)


def under(w: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): v for name, v in w.items() if name.startswith(prefix)}


def naive(w: dict[str, Tensor], tied: Tensor, source: Tensor | None, read: Tensor) -> Tensor:
    """The logits of a model of one layer on each side, with one leaf for the matrix."""
    x = F.embedding(read, tied).transpose(0, 1) * 8**0.5
    if source is None:
        x = x + plain_lstm(under(w, "decoder.layers.0.lstm."), x)
    else:
        first = F.embedding(source, w.get("encoder.embedding.weight", tied))
        s = first.transpose(0, 1) * 8**0.5
        s = (s + plain_lstm(under(w, "encoder.layers.0.lstm."), s)).transpose(0, 1)
        a, d = under(w, "decoder.attention."), under(w, "decoder.layers.0.")
        keys = (s @ a["source.weight"].t()).tanh() * a["v"]

        def step(x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
            scores = (keys * (h @ a["query.weight"].t()).tanh()[:, None]).sum(2)
            context = (scores.softmax(1)[:, :, None] * s).sum(1)
            gates = x @ d["w_input"].t() + torch.cat([context, h], 1) @ d["w_recurrent"].t()
            return cell(gates + d["b_input"] + d["b_recurrent"], c, d["projection.weight"])

        x = x + lstm(x, step)
    return x.transpose(0, 1) @ w["decoder.output.projection.weight"].t() @ tied.t()


@pytest.mark.parametrize(
    ("arch", "options"),
    [("lstm_moe", DECODER), ("lstm_moe", ALL), ("lstm_moe_lm", DECODER)],
)
def test_the_gradient_is_that_of_a_plain_model(arch, options):
    torch.manual_seed(0)
    translates = arch == "lstm_moe"
    sizes = ONE_LAYER if translates else dict(layers=1, feed_forward="none")
    model = build_model(arch, lstm_cells=12, **sizes, **options).double()
    source, read = torch.randint(4, 24, (3, 5)), torch.randint(4, 24, (3, 6))
    target = read.roll(-1, 1)
    leaves = {n: p.detach().clone().requires_grad_() for n, p in model.named_parameters()}
    shared = "encoder" if options is ALL else "decoder"
    tied = leaves.pop(f"{shared}.embedding.weight")
    logits = naive(leaves, tied, source if translates else None, read)
    F.cross_entropy(logits.flatten(0, 1), target.flatten()).backward()
    ours, _ = model(source, None, read) if translates else model(read)
    torch.testing.assert_close(ours, logits, rtol=0, atol=1e-12)
    F.cross_entropy(ours.flatten(0, 1), target.flatten()).backward()
    leaves[f"{shared}.embedding.weight"] = tied
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, leaves[name].grad, rtol=0, atol=1e-10)


@torch.no_grad()
@pytest.mark.parametrize(
    ("arch", "options"), [("lstm_moe", DECODER), ("lstm_moe", ALL), ("lstm_moe_lm", DECODER)]
)
@pytest.mark.parametrize("dim", [64, 256, 1024])
def test_the_first_loss_is_that_of_even_words(dim, arch, options):
    """Without the projection, 20 bits: each word would predict itself."""
    torch.manual_seed(1)
    sizes = dict(dim=dim, lstm_cells=dim, feed_forward="none", dropout=0.0)
    sizes |= dict(layers=1) if arch == "lstm_moe_lm" else ONE_LAYER
    model = build(config(arch, sizes | options), 1000)
    words = torch.randint(4, 1000, (8, 11))
    read, target = words[:, :-1], words[:, 1:]
    logits, _ = model(read) if arch == "lstm_moe_lm" else model(words, None, read)
    loss = F.cross_entropy(logits.flatten(0, 1), target.flatten()).item()
    assert loss == pytest.approx(math.log(1000), abs=0.5)
    itself = logits.gather(2, read.unsqueeze(2)).mean().item()
    assert abs(itself) < 0.5


@pytest.mark.parametrize(
    ("arch", "options", "fewer"),
    [("lstm_moe", DECODER, 1), ("lstm_moe", ALL, 2), ("lstm_moe_lm", DECODER, 1)],
)
def test_a_shared_matrix_counts_once(arch, options, fewer):
    """In the plan, in the optimizer and after a change of type; the projection is what is new."""
    model, untied = build_model(arch, **options), build_model(arch)
    before = counts.parameters(untied)
    assert counts.parameters(model) == before - fewer * 24 * 8 + 8 * 8
    without = counts.parameters_without_embedding_and_softmax
    assert without(model) == without(untied) + 8 * 8
    optimizer = MoEAdam(model.parameters(), lr=0.1)
    words = torch.randint(4, 24, (2, 5))
    logits, _ = model(words) if arch == "lstm_moe_lm" else model(words, None, words)
    F.cross_entropy(logits.flatten(0, 1), words.flatten()).backward()
    optimizer.step()
    state = optimizer.state_dict()["state"].values()
    held = sum(v.numel() for one in state for name, v in one.items() if name != "step")
    assert held == devices.memory(model, 1).optimizer_state["moe_adam"] // 4
    model.bfloat16()
    assert model.decoder.output.words.weight is model.decoder.embedding.weight
    assert (arch == "lstm_moe" and model.encoder.embedding is model.decoder.embedding) == (
        options is ALL
    )


def test_dictionaries_that_differ_are_refused():
    task = SimpleNamespace(source_dictionary=dictionary(), target_dictionary=dictionary(9))
    with pytest.raises(UserError, match="fairseq-preprocess --joined-dictionary"):
        LSTMMoEModel.build_model(config("lstm_moe", SMALL | ALL), task)
    LSTMMoEModel.build_model(config("lstm_moe", SMALL | DECODER), task)
    task.target_dictionary = TruncatedDictionary(dictionary(), 10)
    with pytest.raises(UserError, match="24 words are read and 10 predicted"):
        LSTMMoELanguageModel.build_model(config("lstm_moe_lm", SMALL | DECODER), task)
