"""fairseq's own trainer around a small model, in any number of processes."""

import math
import random
from functools import cache
from typing import Any

import torch
import torch._dynamo  # long; torch imports it with the first optimizer
import torch.distributed as dist
from fairseq import options, utils
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.models import distributed_fairseq_model
from fairseq.tasks.translation import TranslationConfig, TranslationTask
from fairseq.trainer import Trainer
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grad_norm_

import nmt_moe.plugin  # noqa: F401 (registers the optimizer)
from nmt_moe.criterions.label_smoothed import MoELabelSmoothedCrossEntropy
from nmt_moe.models.translation import LSTMMoEModel
from tests.models.build import SMALL, WORDS, dictionary, pad_batch

PAD, EOS = 1, 2
Sentences = list[tuple[list[int], list[int]]]
BASE = [
    *("--arch", "lstm_moe", "--criterion", "moe_label_smoothed_cross_entropy", "--cpu"),
    *("--label-smoothing", 0.1, "--moe-importance-weight", 0.3, "--moe-load-weight", 0.2),
    *("--optimizer", "moe_adam", "--batch-size", 8, "--seed", 3),
]


def sentence_pairs(count: int, seed: int = 0) -> Sentences:
    """Pairs of 1 to 9 words and the end of the sentence.

    Each source begins with another word: two equal beginnings would be equal tokens, between which
    strictly balanced gating chooses by rounding, which is another for another batch.
    """
    chance = random.Random(seed)

    def sentence() -> list[int]:
        return [4 + chance.randrange(WORDS) for _ in range(chance.randint(1, 9))] + [EOS]

    firsts = chance.sample(range(4, 4 + WORDS), count)
    return [([first, *sentence()[1:]], sentence()) for first in firsts]


def batch(pairs: Sentences) -> dict[str, Any]:
    """What fairseq's translation task makes of sentence pairs; nothing: of none."""
    if not pairs:
        return {}
    source, target = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    return {
        "nsentences": len(pairs),
        "ntokens": sum(map(len, target)),
        "net_input": {
            "src_tokens": pad_batch(source, PAD, left=True),
            "src_lengths": torch.tensor([len(sentence) for sentence in source]),
            "prev_output_tokens": pad_batch([[EOS, *s[:-1]] for s in target], PAD, left=False),
        },
        "target": pad_batch(target, PAD, left=False),
    }


class Criterion(MoELabelSmoothedCrossEntropy):
    """The criterion in the precision of the model, where fairseq's is float32; and its losses."""

    losses: list[Tensor]

    def get_lprobs_and_target(self, model: Any, net_output: Any, sample: Any) -> tuple:
        logits = net_output[0]
        return logits.log_softmax(-1).view(-1, logits.shape[-1]), sample["target"].view(-1)

    def forward(self, model: Any, sample: dict, reduce: bool = True) -> tuple:
        loss, sample_size, logged = super().forward(model, sample, reduce)
        self.losses.append((loss if self.training else logged["loss"]).detach())
        return loss, sample_size, logged


def noise_of_the_token(clean: Tensor) -> Tensor:
    """Noise that a token has wherever it is."""
    return torch.sin(20 * clean.detach())


@cache
def configuration(*arguments: object, **model: Any) -> Any:
    """The options of a training of a model with those of ``SMALL`` and the given ones.

    Takes long: to be called once, before there are processes, which may still change it.
    """
    shape = [
        part
        for name, value in (SMALL | model).items()
        for part in ([f"--{name.replace('_', '-')}"] + ([] if value is True else [value]))
    ]
    everything = map(str, ["nowhere", *BASE, *shape, *arguments])
    args = options.parse_args_and_arch(options.get_training_parser(), list(everything))
    return convert_namespace_to_omegaconf(args)


def make_trainer(
    cfg: Any, team: int = 0, ddp_backend: str = "legacy_ddp", dtype: torch.dtype = torch.float32
) -> Trainer:
    """The trainer with those options; in float64 the loss and the gradient's norm are so, too."""
    torch.randn_like = noise_of_the_token
    cfg.model.moe_expert_parallel_size = team
    cfg.distributed_training.ddp_backend = ddp_backend
    if dist.is_initialized():
        cfg.distributed_training.distributed_world_size = dist.get_world_size()
        cfg.distributed_training.distributed_rank = dist.get_rank()
    distributed_fairseq_model.DistributedDataParallel = _on_cpu

    task = TranslationTask(TranslationConfig(), dictionary(), dictionary())
    torch.manual_seed(1)
    network = LSTMMoEModel.build_model(cfg.model, task)
    for name, parameter in network.named_parameters():
        if ".gate." in name and not name.endswith(".threshold"):
            torch.nn.init.normal_(parameter)
    kind = Criterion if dtype == torch.float64 else MoELabelSmoothedCrossEntropy
    criterion = kind.build_criterion(cfg.criterion, task)
    criterion.losses = []
    trainer = Trainer(cfg, task, network.to(dtype), criterion)
    if dtype == torch.float64:  # fairseq's own would be of float32
        utils.clip_grad_norm_ = lambda params, max_norm, _: clip_grad_norm_(
            params, max_norm or math.inf
        )
    trainer.reset_dummy_batch(batch(sentence_pairs(3, seed=99)))
    return trainer


def _on_cpu(module: torch.nn.Module, device_ids: Any, output_device: Any, **more: Any):
    """fairseq names a GPU."""
    return DistributedDataParallel(module, **more)


def part_of(pairs: Sentences, sizes: list[int]) -> Sentences:
    """This process's, where ``sizes`` are the numbers of pairs of each."""
    rank = dist.get_rank() if dist.is_initialized() else 0
    return pairs[sum(sizes[:rank]) : sum(sizes[: rank + 1])]
