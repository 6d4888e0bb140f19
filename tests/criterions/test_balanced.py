"""fairseq's own criterions with the losses of the gates."""

from types import SimpleNamespace

import pytest
import torch
from fairseq.criterions import CRITERION_REGISTRY, FairseqCriterion
from fairseq.criterions.cross_entropy import CrossEntropyCriterion
from fairseq.criterions.label_smoothed_cross_entropy import LabelSmoothedCrossEntropyCriterion
from fairseq.tasks.translation import TranslationTask
from omegaconf import OmegaConf

from nmt_moe.common.errors import UserError
from nmt_moe.criterions.balanced import balance
from nmt_moe.models.config import LSTMMoEConfig
from nmt_moe.models.translation import LSTMMoEModel
from tests.commands import train
from tests.criterions.test_label_smoothed import SMOOTHING, batch
from tests.criterions.test_label_smoothed import criterion as ours
from tests.models.build import build_model, dictionary


def cross_entropy(sentence_avg: bool) -> FairseqCriterion:
    return CrossEntropyCriterion(SimpleNamespace(target_dictionary=dictionary()), sentence_avg)


def label_smoothed(sentence_avg: bool) -> FairseqCriterion:
    task = SimpleNamespace(target_dictionary=dictionary())
    return LabelSmoothedCrossEntropyCriterion(task, sentence_avg, SMOOTHING)


@pytest.mark.parametrize("gating", ["noisy_top_k", "strictly_balanced"])
@pytest.mark.parametrize("sentence_avg", [False, True])
@pytest.mark.parametrize(("kind", "epsilon"), [(label_smoothed, SMOOTHING), (cross_entropy, 0.0)])
def test_gradient_is_that_of_our_criterion(kind, epsilon, sentence_avg, gating):
    torch.manual_seed(0)
    model = build_model(moe_gating=gating).double().train()
    parameters = list(model.parameters())
    expected = ours(sentence_avg)
    expected.eps = epsilon
    gradients, logs = [], []
    for criterion in (balance(kind(sentence_avg)), expected):
        torch.manual_seed(1)
        loss, sample_size, logged = criterion(model, batch())
        gradients.append(torch.autograd.grad(loss / sample_size, parameters))
        logs.append(logged)
    for (name, _), got, want in zip(model.named_parameters(), *gradients, strict=True):
        # fairseq takes the softmax in float32
        torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-6, msg=name)
    assert {name for name in logs[0] if "moe" in name} == {n for n in logs[1] if "moe" in n}
    assert logs[0]["moe_importance_loss"] == logs[1]["moe_importance_loss"] > 0


class TwiceCriterion(CrossEntropyCriterion):
    """Two passes, as those for consistency make."""

    def forward(self, model, sample, reduce=True):
        super().forward(model, sample, reduce)
        return super().forward(model, sample, reduce)


def test_two_passes_have_the_mean_of_their_losses():
    torch.manual_seed(0)
    model = build_model().double().eval()  # without noise, so that both are alike
    once, twice = cross_entropy(False), cross_entropy(False)
    twice.__class__ = TwiceCriterion
    logs = [balance(criterion)(model, batch())[2] for criterion in (once, twice)]
    torch.testing.assert_close(logs[0]["moe_load_loss"], logs[1]["moe_load_loss"])


class OnlyEncoderCriterion(CrossEntropyCriterion):
    def forward(self, model, sample, reduce=True):
        net = sample["net_input"]
        return model.encoder(net["src_tokens"], net["src_lengths"])["encoder_out"][0].sum(), 1, {}


def test_a_criterion_that_shows_no_experts_is_refused():
    criterion = cross_entropy(False)
    criterion.__class__ = OnlyEncoderCriterion
    with pytest.raises(UserError, match="use --criterion moe_label_smoothed_cross_entropy"):
        balance(criterion)(build_model().train(), batch())


@pytest.mark.parametrize("feed_forward", ["moe", "dense"])
def test_only_a_training_of_experts_is_changed(feed_forward):
    """The class keeps its name, which fairseq compares with the one in a checkpoint."""
    words = dictionary()
    task = TranslationTask(SimpleNamespace(eval_bleu=False), words, words)
    small = dict(dim=8, lstm_cells=8, moe_experts=4, moe_hidden_dim=8, feed_forward=feed_forward)
    LSTMMoEModel.build_model(LSTMMoEConfig(**small), task)
    config = OmegaConf.create({"_name": "cross_entropy", "sentence_avg": False})
    criterion = task.build_criterion(config)
    stock = CRITERION_REGISTRY["cross_entropy"]
    assert isinstance(criterion, stock) and type(criterion).__name__ == stock.__name__
    assert (type(criterion) is stock) == (feed_forward == "dense")


def test_training_without_our_criterion(data, tmp_path):
    """Translation with strictly balanced gates: the thresholds learn, and the log shows it."""
    options = ["--criterion", "label_smoothed_cross_entropy", "--max-update", 12]
    options += ["--moe-gating", "strictly_balanced"]
    finished = train(data, tmp_path, *options)
    assert "balance losses are added to it, with --moe-importance-weight 0.01" in finished.stdout
    log = finished.logs("train_inner")[-1]
    assert float(log["moe_importance_loss"]) > 0 and float(log["moe_threshold_loss"]) > 0
    assert "valid_moe_decoder_1_load_cv" in finished.logs("valid")[-1]
    state = torch.load(tmp_path / "checkpoint_last.pt", weights_only=False)["model"]
    thresholds = [value for name, value in state.items() if "threshold" in name]
    assert thresholds and all(value.std() > 0 for value in thresholds)
