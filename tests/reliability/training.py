"""fairseq's trainer around a small model in this process, and faults to put into it."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from fairseq.tasks.translation import TranslationConfig, TranslationTask
from fairseq.trainer import Trainer
from torch import Tensor, nn

from nmt_moe.criterions.label_smoothed import MoELabelSmoothedCrossEntropy
from nmt_moe.models.translation import LSTMMoEModel
from tests.models.build import dictionary
from tests.parallel.trainer import batch, configuration, sentence_pairs

PRECISIONS = {
    "fp32": (),
    "bf16": ("--bf16",),
    "memory-efficient-bf16": ("--memory-efficient-bf16",),
    "amp": ("--amp",),
}
BATCHES = [batch(sentence_pairs(6, seed=seed)) for seed in range(4)]


def make_trainer(folder: Path, *arguments: object) -> Trainer:
    """After one good update, with a checkpoint of it in the folder."""
    cfg = copy.deepcopy(configuration(*arguments))
    cfg.checkpoint.save_dir = str(folder)
    words = dictionary()
    task = TranslationTask(TranslationConfig(), words, words)
    torch.manual_seed(1)
    model = LSTMMoEModel.build_model(cfg.model, task)
    trainer = Trainer(
        cfg, task, model, MoELabelSmoothedCrossEntropy.build_criterion(cfg.criterion, task)
    )
    trainer.train_step(BATCHES[:1])
    folder.mkdir(parents=True, exist_ok=True)
    trainer.consolidate_optimizer()
    trainer.save_checkpoint(str(folder / "checkpoint_last.pt"), {})
    return trainer


def state(trainer: Trainer) -> list[Tensor]:
    """Copies of the weights and of the optimizer's state."""
    copies = [parameter.detach().clone() for parameter in trainer.get_model().parameters()]
    for values in trainer.optimizer.optimizer.state.values():
        copies += [value.clone() for value in values.values() if isinstance(value, Tensor)]
    return copies


def in_output(name: str, value: float) -> Callable[[nn.Module], None]:
    """Put a value into the last number that a module returns."""

    def fault(model: nn.Module) -> None:
        def spoil(module: nn.Module, args: Any, output: Any) -> Any:
            first, *others = output if isinstance(output, tuple) else (output,)
            spot = torch.zeros_like(first)
            spot.view(-1)[-1] = value
            return (first + spot, *others) if others else first + spot

        model.get_submodule(name).register_forward_hook(spoil)

    return fault


def in_loss(model: nn.Module) -> None:
    """Let the loss overflow; its gradient stays finite."""

    def spoil(module: nn.Module, args: Any, logits: Tensor) -> Tensor:
        high = torch.zeros_like(logits)
        high[..., 0] = 3e38  # no target
        return logits + high

    model.get_submodule("decoder.output").register_forward_hook(spoil)


def once(fault: Callable[[nn.Module], None]) -> Callable[[nn.Module], None]:
    """A fault in an output that is there at the first look only."""

    def fault_once(model: nn.Module) -> None:
        before = {module: dict(module._forward_hooks) for module in model.modules()}
        fault(model)
        for module, hooks in before.items():
            for key in module._forward_hooks.keys() - hooks.keys():
                spoil = module._forward_hooks[key]

                def spoil_and_go(*args: Any, module=module, key=key, spoil=spoil) -> Any:
                    del module._forward_hooks[key]
                    return spoil(*args)

                module._forward_hooks[key] = spoil_and_go

    return fault_once


def in_gradient(name: str, value: float) -> Callable[[nn.Module], None]:
    """Put a value into the last number of a parameter's gradient."""

    def fault(model: nn.Module) -> None:
        def spoil(gradient: Tensor) -> Tensor:
            gradient = gradient.clone()
            gradient.view(-1)[-1] = value
            return gradient

        model.get_parameter(name).register_hook(spoil)

    return fault


def in_weight(name: str, value: float, expert: int | None = None) -> Callable[[nn.Module], None]:
    """Put a value into a weight."""

    def fault(model: nn.Module) -> None:
        weight = model.get_parameter(name).data
        (weight if expert is None else weight[expert]).view(-1)[0] = value

    return fault
