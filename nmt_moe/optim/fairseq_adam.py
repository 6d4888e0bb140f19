"""``--optimizer moe_adam``."""

import ast
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import torch.distributed as dist
from fairseq.dataclass import FairseqDataclass
from fairseq.optim import FairseqOptimizer, register_optimizer
from omegaconf import II
from torch import Tensor

from nmt_moe.common import ranges
from nmt_moe.common.errors import UserError
from nmt_moe.common.ranges import numbers, option
from nmt_moe.moe.mesh import training_mesh
from nmt_moe.optim.moe_adam import MoEAdam, is_expert


@dataclass
class FairseqMoEAdamConfig(FairseqDataclass):
    # The paper prints no betas: these are Adam's own, and those of fairseq's adam.
    adam_betas: str = field(
        default="(0.9, 0.999)",
        metadata={"help": "betas for Adam optimizer; experts use the second alone"},
    )
    adam_eps: float = option(1e-8, numbers(0, exclusive_low=True), "epsilon for Adam optimizer")
    weight_decay: float = option(0.0, numbers(0), "weight decay, decoupled from the gradient")
    moe_adam_plain: bool = field(
        default=False,
        metadata={"help": "Adam with both full moments for experts, too: much more memory"},
    )
    moe_adam_update_unused: bool = field(
        default=False,
        metadata={
            "help": "let expert matrices whose gradient is all zero decay, their second moment "
            "as well, as Adam would; by default an expert without a token in an update is left "
            "as it was, state and bias correction included (--moe-adam-plain updates it always)"
        },
    )
    lr: list[float] = field(default=II("optimization.lr"), metadata={"range": numbers(0)})


@register_optimizer("moe_adam", dataclass=FairseqMoEAdamConfig)
class FairseqMoEAdam(FairseqOptimizer):
    """:class:`MoEAdam` with fairseq's options.

    Raises:
        UserError: an option out of its range, or parameters flattened into one vector.
    """

    def __init__(self, cfg: FairseqMoEAdamConfig, params: Iterable[Tensor]) -> None:
        super().__init__(cfg)
        ranges.check(FairseqMoEAdamConfig, cfg)
        params = list(params)
        if len(params) == 1 and params[0].dim() == 1:  # as FP16Optimizer makes of a model
            raise UserError(
                "--optimizer moe_adam must know experts from other parameters, which --fp16 "
                "flattens into one vector: add --fp16-no-flatten-grads"
            )
        self.mesh = training_mesh()
        self._optimizer = MoEAdam(params, mesh=self.mesh, **self.optimizer_config)

    @property
    def optimizer_config(self) -> dict[str, Any]:
        """The arguments of :class:`MoEAdam`."""
        return {
            "lr": self.cfg.lr[0],
            "betas": _betas(self.cfg.adam_betas),
            "eps": self.cfg.adam_eps,
            "weight_decay": self.cfg.weight_decay,
            "plain": self.cfg.moe_adam_plain,
            "update_unused": self.cfg.moe_adam_update_unused,
        }

    def clip_grad_norm(
        self, max_norm: float, aggregate_norm_fn: Callable[[Tensor], Tensor] | None = None
    ) -> Tensor:
        """Scale the gradient to a norm of ``max_norm``, if that is above 0 and below the norm.

        Returns:
            The norm before, 0-d; each expert counts once, whichever process holds it.
        """
        if aggregate_norm_fn is not None:
            return super().clip_grad_norm(max_norm, aggregate_norm_fn)
        gradients = self._optimizer.gradients
        experts = [param for param in self.params if is_expert(param)]
        others = [param for param in self.params if not is_expert(param)]
        squares = gradients.squared_norm(experts)
        if self.mesh is not None:
            dist.all_reduce(squares, group=self.mesh.ep_group)
        norm = (squares + gradients.squared_norm(others)).sqrt()
        if max_norm > 0:
            self.multiply_grads((max_norm / (norm + 1e-6)).clamp(max=1))
        return norm

    def multiply_grads(self, c: Tensor | float) -> None:
        """Multiply all gradients by a number; those of experts may be multiplied later, in the
        update."""
        self._optimizer.gradients.multiply(self.params, c)

    def load_state_dict(
        self, state_dict: dict[str, Any], optimizer_overrides: dict[str, Any] | None = None
    ) -> None:
        """Load the state of a checkpoint; the options are those of this training.

        Raises:
            UserError: the state is that of another optimizer, or of the other setting of
                ``--moe-adam-plain``.
        """
        plain = self.cfg.moe_adam_plain
        saved = {group.get("plain") for group in state_dict["param_groups"]}
        if saved == {not plain}:
            raise UserError(
                f"the checkpoint's training ran {'without' if plain else 'with'} "
                f"--moe-adam-plain: {'leave it out' if plain else 'add it'} here, too, or start "
                "with new optimizer state (--reset-optimizer)"
            )
        if saved != {plain}:
            raise UserError(
                "the checkpoint's optimizer state is not of --optimizer moe_adam: give the "
                "optimizer of that training, or start with new state (--reset-optimizer)"
            )
        options = self.optimizer_config
        del options["lr"]  # a schedule may go on from the saved one
        super().load_state_dict(state_dict, options | (optimizer_overrides or {}))


def _betas(text: str) -> tuple[float, float]:
    try:
        first, second = (float(beta) for beta in ast.literal_eval(text))
    except (ValueError, TypeError, SyntaxError):
        first = second = -1.0
    if not (0 <= first < 1 and 0 <= second < 1):
        raise UserError(f"--adam-betas must be two numbers from 0 to below 1, not {text!r}")
    return first, second
