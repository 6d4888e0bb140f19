"""The named architectures: their names, their sizes, and how an option changes them."""

from argparse import Namespace

import pytest
import torch
from fairseq import options
from fairseq.dataclass.configs import FairseqConfig
from fairseq.dataclass.initialize import add_defaults
from fairseq.models import ARCH_CONFIG_REGISTRY, ARCH_MODEL_REGISTRY
from fairseq.tasks.language_modeling import LanguageModelingTask
from fairseq.tasks.translation import TranslationTask
from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf
from torch import nn

from nmt_moe.common.errors import UserError
from nmt_moe.models.architectures import LANGUAGE, TRANSLATION, build, config
from nmt_moe.models.language_model import LSTMMoELanguageModel
from nmt_moe.models.translation import LSTMMoEModel

LANGUAGE_MODELS = (
    "lstm_lm_4x512 lstm_lm_2048_512 lstm_moe_lm_1_wide lstm_moe_lm_1_deep lstm_moe_lm_4 "
    "lstm_moe_lm_32 lstm_moe_lm_256 lstm_moe_lm_256h lstm_moe_lm_1024h lstm_moe_lm_4096h "
    "lstm_moe_lm_34m lstm_moe_lm_143m lstm_moe_lm_16384h lstm_moe_lm_65536h lstm_moe_lm_131072h"
).split()


def on_meta(arch: str) -> nn.Module:
    with torch.device("meta"):
        return build(config(arch), 32_000)


def test_translation_models():
    billions = {
        "lstm_moe": 0.24,
        "lstm_moe_wmt14_dense": 0.10,
        "lstm_moe_wmt14_32": 0.24,
        "lstm_moe_wmt14_512h": 2.25,
        "lstm_moe_wmt14_2048h": 8.69,  # printed: 8.7
        "lstm_moe_multilingual": 8.69,
    }
    for arch, want in billions.items():
        model = on_meta(arch)
        assert isinstance(model, LSTMMoEModel)
        parameters = sum(parameter.numel() for parameter in model.parameters())
        assert round(parameters / 1e9, 2) == want, arch
        if "wmt14" in arch:
            assert not [name for name, _ in model.named_parameters() if "w_noise" in name]


def test_groups_of_the_hierarchies():
    groups = {
        name: (cfg.moe_groups, cfg.moe_k)
        for name in [*TRANSLATION, *LANGUAGE]
        if (cfg := config(name)).moe_groups > 1
    }
    sixteen = "256h 1024h 4096h 34m 143m".split()
    assert groups == {
        **{f"lstm_moe_lm_{size}": (16, 2) for size in sixteen},
        "lstm_moe_lm_16384h": (128, 2),
        "lstm_moe_lm_65536h": (256, 2),
        "lstm_moe_lm_131072h": (256, 2),
        "lstm_moe_wmt14_512h": (16, 2),
        "lstm_moe_wmt14_2048h": (16, 2),
    }


def test_fairseq_knows_every_architecture():
    tiny = {"lstm_moe_tiny", "lstm_moe_lm_tiny", "lstm_moe_lm"}
    assert set(LANGUAGE) - tiny == set(LANGUAGE_MODELS)
    for arch in TRANSLATION:
        assert ARCH_MODEL_REGISTRY[arch] is LSTMMoEModel
    for arch in LANGUAGE:
        assert ARCH_MODEL_REGISTRY[arch] is LSTMMoELanguageModel


@pytest.mark.parametrize("arch", TRANSLATION | LANGUAGE)
def test_a_configuration_that_names_an_architecture_has_its_options(arch):
    """As of YAML, and of Hydra's command line."""
    cfg = OmegaConf.structured(FairseqConfig())
    cfg.model = {"_name": arch, "dropout": 0.25}
    add_defaults(cfg)
    assert cfg.model == vars(config(arch, {"dropout": 0.25}))
    node = ConfigStore.instance().load(f"model/{arch}.yaml").node
    assert node == vars(config(arch))


def test_options_by_name():
    cfg = config("lstm_moe_lm_256h", {"moe_experts": "64", "dropout": "0.3", "moe_recompute": True})
    assert (cfg.moe_experts, cfg.moe_groups, cfg.dropout, cfg.moe_recompute) == (64, 16, 0.3, True)
    assert config("lstm_moe", {"encoder_bidirectional": "True"}).encoder_bidirectional is True
    assert config("lstm_moe", {"moe_gating": "top_k"}).moe_gating == "top_k"


@pytest.mark.parametrize(
    ("arch", "options", "message"),
    [
        ("lstm_moe_wmt14_2048", {}, "no architecture named .* did you mean lstm_moe_wmt14_2048h"),
        ("transformer", {}, "choose from lstm_moe, lstm_moe_tiny, .*, lstm_moe_lm_143m"),
        ("lstm_moe", {"moe_expert": 1}, "no option of lstm_moe named .* did you mean moe_experts"),
        ("lstm_moe_lm", {"encoder_layers": 1}, "no option of lstm_moe_lm named 'encoder_layers'"),
        ("lstm_moe_lm", {"moe_k": "two"}, "moe_k must be of type int, not 'two'"),
        ("lstm_moe_lm", {"moe_recompute": "2"}, "moe_recompute must be true or false, not '2'"),
        ("lstm_moe_lm", {"moe_gating": "x"}, "must be one of noisy_top_k, .*, not 'x'"),
    ],
)
def test_names_and_values_that_do_not_exist(arch, options, message):
    with pytest.raises(UserError, match=message):
        config(arch, options)


def test_given_options_count_more_than_the_architecture():
    words = ["data", "--task", "language_modeling", "--arch", "lstm_moe_lm_256h", "--moe-k", "3"]
    args = options.parse_args_and_arch(options.get_training_parser("language_modeling"), words)
    assert (args.moe_k, args.moe_groups, args.dropout, args.layers) == (3, 16, 0.1, 2)
    assert args.moe_expert_parallel_size == 1  # only moe_adam can share experts
    assert args.update_epoch_batch_itr is True


def test_an_older_checkpoints_options_are_completed():
    older = OmegaConf.create({"_name": "lstm_moe_tiny", "dim": 64})
    ARCH_CONFIG_REGISTRY["lstm_moe_tiny"](older)
    assert (older.dim, older.moe_groups, older.feed_forward) == (64, 1, "moe")
    assert older.moe_load_weight is None and older.decoder_dropout_in is None
    assert "update_epoch_batch_itr" not in older


def test_an_architecture_refuses_the_other_kind_of_task():
    with pytest.raises(UserError, match="--arch lstm_moe_lm_4 .* needs --task language_modeling"):
        ARCH_CONFIG_REGISTRY["lstm_moe_lm_4"](Namespace(task="translation"))
    with pytest.raises(UserError, match="--arch lstm_moe_tiny .* needs --task translation"):
        ARCH_CONFIG_REGISTRY["lstm_moe_tiny"](Namespace(task="language_modeling"))


def test_a_model_refuses_the_other_kind_of_task():
    """As when a checkpoint is opened with the command of the other kind."""
    task = TranslationTask.__new__(TranslationTask)
    with pytest.raises(UserError, match="lstm_moe_lm_4 is a language model"):
        LSTMMoELanguageModel.build_model(config("lstm_moe_lm_4"), task)
    task = LanguageModelingTask.__new__(LanguageModelingTask)
    with pytest.raises(UserError, match="lstm_moe_tiny is a translation model"):
        LSTMMoEModel.build_model(config("lstm_moe_tiny"), task)
