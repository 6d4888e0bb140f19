"""Adam with little state for experts (appendix D)."""

import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim.adamw import adamw

from nmt_moe.kernels import gpu
from nmt_moe.kernels.cpu import factored as kernel
from nmt_moe.moe.mesh import Mesh, gather_experts
from nmt_moe.optim.factored import Means, factored_update_, mean_squares
from nmt_moe.optim.gradients import Gradients
from nmt_moe.optim.split import HALF, full, keep_

_LARGE = 2**20  # numbers


def is_expert(param: Tensor) -> bool:
    """Whether a parameter is a stack of expert matrices ``[E, rows, columns]``.

    The mark is an attribute that fairseq's optimizers for half precision copy to their float32
    parameters.
    """
    return getattr(param, "param_group", None) == "experts"


class MoEAdam(torch.optim.Optimizer):
    """Adam for dense parameters; for experts, beta1 = 0 and a factored second moment.

    An expert matrix has ``rows + columns + 1`` numbers of state, where Adam has ``2 * rows *
    columns``; see :mod:`nmt_moe.optim.factored`. Dense parameters are updated by torch's Adam.
    Weight decay is decoupled, as in AdamW. The state is float32 for parameters of half precision
    too. Those in bfloat16 have a remainder of 16 bits as well, with which they are updated as if
    they were float32: see :mod:`nmt_moe.optim.split`. On GPUs kernels read and write it all once.

    Args:
        params: as in every torch optimizer; see :func:`is_expert`.
        lr: learning rate.
        betas: Adam's, each at least 0 and below 1; experts use only the second.
        eps: added to the root of the bias-corrected second moment.
        weight_decay: in units of the learning rate.
        plain: treat experts as dense parameters.
        update_unused: let expert matrices without a gradient decay, and their second moment too, as
            Adam would. By default they are not changed, and bias correction counts the updates of
            each matrix of each expert.
        mesh: the processes that share the experts. The state is then saved for all experts (see
            :meth:`consolidate_state_dict`) and each process loads its own part of it; or each
            process saves its own part.
    """

    supports_memory_efficient_fp16 = True
    supports_flat_params = False
    disable_mem_eff_fp16_loading_hack = True  # load_state_dict needs no help with float32

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        plain: bool = False,
        update_unused: bool = False,
        mesh: Mesh | None = None,
    ) -> None:
        self.mesh = mesh
        self.gradients = Gradients(self._late, self._mean_squares)
        self._complete: dict[Tensor, dict[str, Any]] = {}
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "plain": plain,
            "update_unused": update_unused,
        }
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient; returns what ``closure`` does."""
        self._release()
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            together = []
            for param in group["params"]:
                if param.grad is None:
                    continue
                if is_expert(param) and not group["plain"]:
                    self._update_experts(param, param.grad, group)
                elif gpu.can_update(param, param.grad):
                    self._update_on_gpu(param, param.grad, group)
                elif param.dtype in HALF:
                    # alone, so that no more than one float32 copy is around
                    self._update_dense([(param, param.grad)], group)
                else:
                    together.append((param, param.grad))
            self._update_dense(together, group)
        self.gradients.forget()
        return loss

    def zero_grad(self, set_to_none: bool = True) -> None:
        """As in every torch optimizer."""
        self.gradients.forget()
        super().zero_grad(set_to_none)

    def _late(self, param: Tensor, grad: Tensor) -> bool:
        """Whether the update itself scales the gradient; on CPUs that pays for large experts."""
        if gpu.can_update(param, grad):
            return True
        large = grad.numel() >= _LARGE
        return self._factored(param) and large and kernel.usable(param, grad)

    def _mean_squares(self, param: Tensor, grad: Tensor) -> Means | None:
        return mean_squares(param, grad) if self._factored(param) else None

    def _factored(self, param: Tensor) -> bool:
        return is_expert(param) and not self.param_groups[0]["plain"]

    def consolidate_state_dict(self) -> None:
        """Gather all experts and their state on rank 0, unless each process saves its own part.

        fairseq calls this on every rank before a checkpoint is saved. fairseq also calls it on a
        single rank that has failed; the other ranks would not answer, so the error is raised again
        instead.
        """
        if self.mesh is None:
            return
        error = sys.exception()
        if error is not None:
            raise error
        if self.mesh.parts:
            return
        for experts in self.mesh.spread():
            experts.gather()
        for param, state in self._sharded_states():
            self._complete[param] = {
                name: gather_experts(value, self.mesh) if value.dim() else value
                for name, value in state.items()
            }

    def state_dict(self) -> dict[str, Any]:
        """As in every torch optimizer: for all experts, after they were gathered, or for those of
        this process where each process saves its own part."""
        result = super().state_dict()
        if self.mesh is not None and self.mesh.parts:
            return result
        numbers = dict(zip(self._params(), _numbers(result), strict=True))
        for param, _ in self._sharded_states():
            if param not in self._complete:
                raise RuntimeError("experts of several processes have not been gathered here")
            result["state"][numbers[param]] = self._complete[param]
        return result

    def _params(self) -> list[Tensor]:
        return [param for group in self.param_groups for param in group["params"]]

    def _sharded_states(self) -> list[tuple[Tensor, dict[str, Any]]]:
        """The experts' parameters of which this process has a part, with their state."""
        if self.mesh is None:
            return []
        params = [param for param in self._params() if is_expert(param)]
        return [(param, self.state[param]) for param in params if self.state[param]]

    def _release(self) -> None:
        """Free the gathered experts and their state."""
        self._complete.clear()
        for experts in self.mesh.spread() if self.mesh is not None else ():
            experts.release()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """As in every torch optimizer, but float32 state stays float32.

        From the state of all experts a process takes that of its own experts. Without remainders,
        the weights are what bfloat16 has of them.
        """
        states = dict(state_dict["state"])
        params = dict(zip(_numbers(state_dict), self._params(), strict=True))
        for number in states.keys() & params.keys():
            states[number] = self._own(params[number], states[number])
        half = [number for number in states if params[number].dtype in HALF]
        # torch would make such state half precision, too.
        kept = {number: states.pop(number) for number in half}
        super().load_state_dict({**state_dict, "state": states})
        for number, state in kept.items():
            param = params[number]
            self.state[param] = {
                # torch keeps "step", which is no matter for the device, on the CPU
                name: value if name == "step" else value.to(param.device)
                for name, value in state.items()
            }

    def _own(self, param: Tensor, state: dict[str, Any]) -> dict[str, Any]:
        """What this process needs of the state of a parameter."""
        state = dict(state)
        if param.dtype != torch.bfloat16:
            state.pop("remainder", None)
        if self.mesh is None or not is_expert(param):
            return state
        return {
            name: value[self.mesh.own(len(value))].clone()
            if value.dim() and len(value) > len(param)
            else value
            for name, value in state.items()
        }

    def _update_experts(self, param: Tensor, grad: Tensor, group: dict[str, Any]) -> None:
        experts, rows, columns = param.shape
        state = self._state(
            param, row=(experts, rows), column=(experts, columns), updates=(experts,)
        )
        options = {name: group[name] for name in ("lr", "eps", "weight_decay", "update_unused")}
        factored_update_(
            param,
            grad,
            state["row"],
            state["column"],
            state["updates"],
            beta2=group["betas"][1],
            scale=self.gradients.scale_of(param, grad),
            means=self.gradients.means_of(param, grad),
            remainder_ERC=state.get("remainder"),
            **options,
        )

    def _state(self, param: Tensor, **shapes: Sequence[int]) -> dict[str, Any]:
        """The state of a parameter, which begins with zeros of these shapes; in bfloat16 the
        remainders, too."""
        state = self.state[param]
        if not state:
            state |= {name: _zeros(param, shape) for name, shape in shapes.items()}
        if param.dtype == torch.bfloat16 and "remainder" not in state:
            state["remainder"] = torch.zeros_like(param, dtype=torch.int16)
        return state

    def _dense_state(self, param: Tensor) -> dict[str, Any]:
        state = self._state(param, exp_avg=param.shape, exp_avg_sq=param.shape)
        state.setdefault("step", torch.tensor(0.0))
        return state

    def _update_on_gpu(self, param: Tensor, grad: Tensor, group: dict[str, Any]) -> None:
        from nmt_moe.kernels.gpu.adam import adam_  # Triton is not everywhere.

        state = self._dense_state(param)
        state["step"] += 1
        adam_(
            param,
            state["remainder"],
            grad,
            state["exp_avg"],
            state["exp_avg_sq"],
            self.gradients.scale_of(param, grad),
            step=int(state["step"]),
            lr=group["lr"],
            betas=group["betas"],
            eps=group["eps"],
            weight_decay=group["weight_decay"],
        )

    def _update_dense(self, pairs: list[tuple[Tensor, Tensor]], group: dict[str, Any]) -> None:
        """Update parameters, given with their gradients, by torch's Adam."""
        states = [self._dense_state(param) for param, _ in pairs]
        remainders = [state.get("remainder") for state in states]
        params = [
            full(param, remainder) for (param, _), remainder in zip(pairs, remainders, strict=True)
        ]
        adamw(
            params,
            [grad.float() if grad.dtype in HALF else grad for _, grad in pairs],
            [state["exp_avg"] for state in states],
            [state["exp_avg_sq"] for state in states],
            [],
            [state["step"] for state in states],
            amsgrad=False,
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            maximize=False,
            # One pass on CPUs, where torch does not choose it by itself.
            fused=True if all(param.device.type == "cpu" for param in params) else None,
        )
        for (param, _), updated, remainder in zip(pairs, params, remainders, strict=True):
            keep_(updated, param, remainder)


def _numbers(state_dict: dict[str, Any]) -> list[int]:
    """The numbers of the parameters in a state dict, in their order."""
    return [number for group in state_dict["param_groups"] for number in group["params"]]


def _zeros(param: Tensor, shape: Sequence[int]) -> Tensor:
    dtype = torch.float32 if param.dtype in HALF else param.dtype
    return torch.zeros(shape, dtype=dtype, device=param.device)
