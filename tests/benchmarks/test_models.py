"""``benchmarks/train_step.py``, ``generate.py``, ``scaling.py``, all of them, and the picture."""

import json

import pytest
import torch

from nmt_moe.models.lstm import AttentionLSTM
from tests.benchmarks.commands import BENCHMARKS, load
from tests.commands import run

OURS = ["lstm_moe", "dense twin", "plain", "fairseq lstm"]
NAMES = ["moe_layer", "lstm", "train_step", "generate", "scaling"]


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
    assert found["figures"]["seconds"].keys() == {*models, "product", "copy"}
    for model in models.values():
        assert model["ops"] == pytest.approx(models["lstm_moe"]["ops"], rel=0.1)
        assert model["tokens_per_second"] > 0 and 0 < model["share_of_peak"] < 1


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
    names = ["lstm_moe", "lstm_moe int8", *OURS[1:]]
    assert [row[0] for row in found["rows"]] == names
    for way in ("batch", "alone"):
        assert {name: len(x) for name, x in found["figures"]["seconds"][way].items()} == (
            dict.fromkeys(names, 2)
        )


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
    assert "  8 experts: forward " in found["notes"][-1]


def test_a_model_with_a_wrong_gradient_is_not_timed(monkeypatch):
    train_step = load(monkeypatch, "train_step")
    train_step.check_gradients(train_step.CONTENDERS["lstm_moe"])

    forward = AttentionLSTM.forward

    def wrong(self, x_LBD, *others):
        return forward(self, x_LBD + 0.01 * (x_LBD - x_LBD.detach()), *others)

    monkeypatch.setattr(AttentionLSTM, "forward", wrong)
    with pytest.raises(SystemExit, match=r"is wrong by .*: not timed"):
        train_step.check_gradients(train_step.CONTENDERS["lstm_moe"])


def test_a_search_with_wrong_probabilities_is_not_timed(monkeypatch):
    generate = load(monkeypatch, "generate")
    generate.check("lstm_moe")
    generate.check("lstm_moe int8")
    prepare = generate.prepare

    def forgetful(*args):
        """Whose steps know nothing of the ones before."""
        model = prepare(*args)
        model.decoder.keep = lambda cache, state: None
        return model

    monkeypatch.setattr(generate, "prepare", forgetful)
    with pytest.raises((SystemExit, KeyError)):
        generate.check("lstm_moe")


@pytest.mark.slow
def test_all_of_them_and_the_picture(results, measured, tmp_path):
    folder, printed = results
    assert sorted(path.stem for path in folder.iterdir()) == sorted(NAMES)
    for name in NAMES:
        assert f"\n{name}: " in printed
        found = measured(name)
        assert found["machine"]["torch"] == torch.__version__
        assert all(len(row) == len(found["heads"]) for row in found["rows"])
    picture = tmp_path / "picture.svg"
    run("python", BENCHMARKS / "picture.py", "--results", folder, "--out", picture)
    assert "Update with moe_adam" in picture.read_text()
