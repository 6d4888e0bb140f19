"""fairseq's own criterions with the losses of the gates."""

from types import SimpleNamespace

import pytest
import torch
from fairseq.criterions import CRITERION_REGISTRY, FairseqCriterion
from fairseq.criterions.cross_entropy import CrossEntropyCriterion
from fairseq.criterions.label_smoothed_cross_entropy import LabelSmoothedCrossEntropyCriterion
from fairseq.tasks.language_modeling import LanguageModelingTask
from fairseq.tasks.translation import TranslationTask
from omegaconf import OmegaConf
from torch import Tensor, nn

from nmt_moe.common.errors import UserError
from nmt_moe.criterions.balanced import balance
from nmt_moe.models.config import LSTMMoEConfig, LSTMMoELanguageModelConfig
from nmt_moe.models.language_model import LSTMMoELanguageModel
from nmt_moe.models.translation import LSTMMoEModel
from tests.commands import train
from tests.criterions.test_label_smoothed import SMOOTHING, batch
from tests.criterions.test_label_smoothed import criterion as ours
from tests.models.build import SMALL, build_model, dictionary


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


WEIGHTS = dict(moe_importance_weight=0.5, moe_load_weight=2.0, moe_threshold_weight=3.0)
ALIGNED = torch.tensor([[2, 0], [0, 3], [3, 8], [4, 13]])  # source, and step in the flat batch
COUNTS = torch.tensor([1.0, 0.5, 1.0, 0.25])


def built(name: str, gating: str, **options) -> tuple[nn.Module, FairseqCriterion]:
    """A model with weights of its own for the balance losses, and the criterion of its task."""
    words = dictionary()
    language = name.startswith("lm:")
    kind, config = (
        (LSTMMoELanguageModel, LSTMMoELanguageModelConfig)
        if language
        else (LSTMMoEModel, LSTMMoEConfig)
    )
    if language:
        task = LanguageModelingTask(SimpleNamespace(), words, words)
    else:
        task = TranslationTask(SimpleNamespace(eval_bleu=False), words, words)
    model = kind.build_model(config(**SMALL, moe_gating=gating, **WEIGHTS), task)
    for parameter_name, parameter in model.named_parameters():
        if ".gate." in parameter_name and not parameter_name.endswith(".threshold"):
            nn.init.normal_(parameter)
    given = {"_name": name.removeprefix("lm:"), "sentence_avg": False, **options}
    return model.double().train(), task.build_criterion(OmegaConf.create(given))


def naive(model: nn.Module, sample: dict, smoothing: float, aligned: float) -> Tensor:
    """The sum over the words and all losses of the gates, written down again."""
    logits, extra = model(**sample["net_input"])
    log_NV = logits.log_softmax(-1)[sample["target"] != 1]
    target_N = sample["target"][sample["target"] != 1]
    total = torch.zeros((), dtype=torch.double)
    for log_V, target in zip(log_NV, target_N, strict=True):
        other = smoothing / (len(log_V) - 1)
        total = total - (1 - smoothing - other) * log_V[target] - other * log_V.sum()
    if aligned:
        attention = extra["attn"][0].flatten(0, 1)
        for (source, place), count in zip(ALIGNED, COUNTS, strict=True):
            total = total - aligned * count * attention[place, source].log()
    for routing in extra["routing"].values():
        for weight, v in (0.5, routing.importance_E), (2.0, routing.load_E):
            squared = ((v - v.mean()) ** 2).mean() / v.mean() ** 2
            total = total + weight * len(target_N) * squared
        if routing.threshold_loss is not None:
            total = total + 3.0 * routing.threshold_loss
    return total


@pytest.mark.parametrize("gating", ["noisy_top_k", "strictly_balanced"])
@pytest.mark.parametrize(
    ("name", "smoothing", "aligned"),
    [
        ("cross_entropy", 0.0, 0.0),
        ("lm:cross_entropy", 0.0, 0.0),
        ("label_smoothed_cross_entropy", SMOOTHING, 0.0),
        ("label_smoothed_cross_entropy_with_alignment", SMOOTHING, 0.3),
        ("moe_label_smoothed_cross_entropy", SMOOTHING, 0.0),
        ("lm:moe_label_smoothed_cross_entropy", SMOOTHING, 0.0),
    ],
)
def test_gradient_of_each_criterion_with_the_models_weights(name, smoothing, aligned, gating):
    torch.manual_seed(0)
    options = {"label_smoothing": SMOOTHING} if smoothing else {}
    options |= {"alignment_lambda": aligned} if aligned else {}
    model, criterion = built(name, gating, **options)
    assert type(criterion).__name__ == CRITERION_REGISTRY[name.removeprefix("lm:")].__name__
    sample = batch()
    if name.startswith("lm:"):
        sample["net_input"] = {"src_tokens": sample["net_input"]["prev_output_tokens"]}
    if aligned:
        sample |= {"alignments": ALIGNED, "align_weights": COUNTS}
    gradients = []
    for loss in (
        lambda: criterion(model, sample)[0],
        lambda: naive(model, sample, smoothing, aligned),
    ):
        torch.manual_seed(1)
        gradients.append(torch.autograd.grad(loss(), list(model.parameters())))
    for (parameter, _), got, want in zip(model.named_parameters(), *gradients, strict=True):
        # fairseq takes the softmax in float32
        torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5, msg=parameter)


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
    options += ["--moe-gating", "strictly_balanced", "--moe-load-weight", 0.5]
    finished = train(data, tmp_path, *options)
    weights = "--moe-importance-weight 0.01, --moe-load-weight 0.5 and --moe-threshold-weight 0.1"
    assert f"balance losses are added to it, with {weights}" in finished.stdout
    log = finished.logs("train_inner")[-1]
    assert float(log["moe_importance_loss"]) > 0 and float(log["moe_threshold_loss"]) > 0
    assert "valid_moe_decoder_1_load_cv" in finished.logs("valid")[-1]
    state = torch.load(tmp_path / "checkpoint_last.pt", weights_only=False)["model"]
    thresholds = [value for name, value in state.items() if "threshold" in name]
    assert thresholds and all(value.std() > 0 for value in thresholds)
