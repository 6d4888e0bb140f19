"""Which tensors are not finite, and what to call them."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from nmt_moe.moe.experts import Experts


def all_finite(tensors: Iterable[Tensor]) -> bool:
    """Whether none holds NaN or Inf; one number comes from the device unless one does.

    A sum with one of them is one itself, and is as fast as the memory. That of finite numbers may
    be too large: then each is looked at.
    """
    floats = [t.detach() for t in tensors if t.is_floating_point() and t.numel()]
    if not floats:
        return True
    if torch.stack([one.sum().float() for one in floats]).isfinite().all():
        return True
    return all(one.isfinite().all() for one in floats)


def kind(tensor: Tensor) -> str:
    """What is wrong with a tensor that is not finite."""
    return "NaN" if tensor.isnan().any() else "Inf"


def experts_in(tensor: Tensor, first: int) -> str:
    """``, expert 3``: those with NaN or Inf in a stack whose first one has the number ``first``."""
    wrong = tensor.isfinite().logical_not().flatten(1).any(1).nonzero().flatten() + first
    numbers = ", ".join(map(str, wrong[:3].tolist())) + (", ..." if len(wrong) > 3 else "")
    return f", expert{'s' if len(wrong) > 1 else ''} {numbers}"


def stacks(model: nn.Module) -> dict[str, int]:
    """By the name of each layer's experts, the number of the first one here."""
    found = {}
    for name, module in model.named_modules():
        if isinstance(module, Experts):
            mesh = module.mesh
            found[name] = 0 if mesh is None else mesh.own(module.num_experts).start
    return found


def first_experts(model: nn.Module) -> dict[str, int]:
    """The same by the name of each of their weights."""
    return {f"{name}.{w}": n for name, n in stacks(model).items() for w in ("w_in", "w_out")}


def describe_weights(model: nn.Module) -> str | None:
    """The first weight that is not finite, by name and number of the expert; None if all are."""
    if all_finite(model.parameters()):
        return None
    first = first_experts(model)
    name, weight = next((n, w) for n, w in model.named_parameters() if not all_finite([w]))
    expert = experts_in(weight, first[name]) if name in first else ""
    return f"{kind(weight)} in the weights of {name}{expert}"
