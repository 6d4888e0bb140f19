"""``benchmarks/train_step.py``, ``generate.py``, ``scaling.py``, all of them, and the picture."""

import importlib.util
import json
from argparse import Namespace

import pytest
import torch

from nmt_moe.models.lstm import AttentionLSTM
from tests.benchmarks.commands import BENCHMARKS, load
from tests.commands import run

OURS = ["lstm_moe", "dense twin", "plain", "fairseq lstm"]
NAMES = ["moe_layer", "lstm", "train_step", "generate", "regularisation", "scaling"]
CTRANSLATE2 = (
    ["ctranslate2 float32", "ctranslate2 int8"] if importlib.util.find_spec("ctranslate2") else []
)
BFLOAT16 = ["moe_layer-bfloat16", "regularisation-bfloat16", "train_step-bfloat16"]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """The folder into which all benchmarks have written, and what they printed."""
    folder = tmp_path_factory.mktemp("results")
    return folder, run("python", BENCHMARKS / "all.py", "--quick", "--results", folder).stdout


@pytest.fixture
def measured(results):
    return lambda name: json.loads((results[0] / f"{name}.json").read_text())


@pytest.mark.slow
def test_updates(measured):
    found = measured("train_step")
    models = found["figures"]["models"]
    assert list(models)[:4] == [row[0] for row in found["rows"]][:4] == OURS
    assert found["figures"]["seconds"].keys() == models.keys()
    for model in models.values():
        assert model["ops"] == pytest.approx(models["lstm_moe"]["ops"], rel=0.1)
        assert model["tokens_per_second"] > 0 and model["of torch.mm"].endswith("%")


def test_other_models_of_the_papers_size_cost_the_same(monkeypatch):
    contenders = load(monkeypatch, "contenders")
    found = {
        name: contenders.ops(kind, contenders.PAPER, 32_000)
        for name, kind in contenders.CONTENDERS.items()
    }
    for cost in found.values():
        assert cost == pytest.approx(85_131_264, rel=0.005)


@pytest.mark.slow
def test_searches(measured):
    found = measured("generate")
    names = [row[0] for row in found["rows"]]
    assert names[:6] == [*OURS, "lstm_moe int8", "fairseq transformer"]
    assert names[6:] == CTRANSLATE2
    for way in ("batch", "alone"):
        assert {name: len(x) for name, x in found["figures"]["seconds"][way].items()} == (
            dict.fromkeys(names, 2)
        )
    for name, model in found["figures"]["models"].items():
        speed = model["sentences_per_second"]
        assert min(speed.values()) > 0 and model["weights"] > 0, name
        assert 0 <= model["memory"] < 2**30
        assert model["per_operation"] == pytest.approx(5 * model["ops"] * speed["batch"])


@pytest.mark.slow
def test_more_experts(measured):
    found = measured("scaling")
    assert [row[0] for row in found["rows"]] == ["4", "8"]
    figures = found["figures"]
    small, large = (figures["plans"][experts] for experts in ("4", "8"))
    gates = 16 * 4 * 2
    assert large["parameters"] - small["parameters"] == 4 * 2 * 16 * 32 + gates
    assert large["ops"] - small["ops"] == gates
    for experts in ("4", "8"):
        split = figures["parts"][experts]
        assert list(split) == ["forward", "backward", "gradients", "optimizer"]
        assert min(split.values()) > 0
        assert 0 <= figures["memory"][experts] < 2**30
    assert any(note.startswith("  8 experts: forward ") for note in found["notes"])


def test_a_model_with_a_wrong_gradient_is_not_timed(monkeypatch):
    train_step = load(monkeypatch, "train_step")
    train_step.check_gradients(train_step.CONTENDERS["lstm_moe"])

    forward = AttentionLSTM.forward

    def wrong(self, x_LBD, *others):
        return forward(self, x_LBD + 0.01 * (x_LBD - x_LBD.detach()), *others)

    monkeypatch.setattr(AttentionLSTM, "forward", wrong)
    with pytest.raises(SystemExit, match=r"is wrong by .*: not timed"):
        train_step.check_gradients(train_step.CONTENDERS["lstm_moe"])


def test_the_transformer_is_the_base_one(monkeypatch):
    searches = load(monkeypatch, "searches")
    sizes = {"dim": 512}
    with torch.device("meta"):
        model = searches.transformer(sizes, 32_000)
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(60.5e6, rel=0.01)
    layer, vocabulary = 4 * 512**2 + 2 * 512 * 2048, 32_000 * 512
    assert searches.products(model) == 6 * (2 * layer + 4 * 512**2) + vocabulary
    # Of the source: its layers, and the keys and values that the target's layers have of it.
    assert searches.source_products(model) == 6 * (layer + 2 * 512**2)


@pytest.mark.parametrize("name", ["fairseq transformer", *CTRANSLATE2])
def test_searches_with_the_transformer_are_right(monkeypatch, name):
    searches = load(monkeypatch, "searches")
    args = Namespace(dtype="float32", device="cpu")
    searches.check(name, {"dim": 16}, 50, args)

    kind = searches.transformer

    def other(*sizes):
        """Of other weights than those that are checked."""
        model = kind(*sizes)
        with torch.no_grad():
            model.decoder.output_projection.weight.mul_(1 + torch.rand(()))
        return model

    made = searches.SEARCHES[name]({"dim": 16}, 50, args)
    made.reference = lambda: searches.random_model(other, {"dim": 16}, 50)
    monkeypatch.setitem(searches.SEARCHES, name, lambda *_: made)
    with pytest.raises(SystemExit, match=f"the search with {name} is wrong by"):
        searches.check(name, {"dim": 16}, 50, args)


def test_a_search_with_wrong_probabilities_is_not_timed(monkeypatch):
    searches = load(monkeypatch, "searches")
    small, args = load(monkeypatch, "contenders").SMALL, Namespace(dtype="float32", device="cpu")
    searches.check("lstm_moe", small, 50, args)
    prepare = searches.random_model

    def forgetful(*args):
        """Whose steps know nothing of the ones before."""
        model = prepare(*args)
        model.decoder.keep = lambda cache, state: None
        return model

    monkeypatch.setattr(searches, "random_model", forgetful)
    with pytest.raises((SystemExit, KeyError)):
        searches.check("lstm_moe", small, 50, args)


@pytest.mark.slow
def test_all_of_them_and_the_picture(results, measured, tmp_path):
    folder, printed = results
    written = sorted(path.stem for path in folder.iterdir())
    names = NAMES + [name for name in BFLOAT16 if name in written]
    assert written == sorted([*names, "benchmarks"])
    for name in names:
        assert f"\n{name}: " in printed
        found = measured(name)
        assert found["machine"]["torch"] == torch.__version__
        assert all(len(row) == len(found["heads"]) for row in found["rows"])
    picture = tmp_path / "picture.svg"
    run("python", BENCHMARKS / "picture.py", "--results", folder, "--out", picture)
    assert "Update with moe_adam" in picture.read_text()
