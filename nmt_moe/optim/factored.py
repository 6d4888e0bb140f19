"""One Adam update of stacked expert matrices with a factored second moment (appendix D).

Shape letters: ``E`` experts, ``R`` rows and ``C`` columns of an expert's matrix.
"""

import torch
from torch import Tensor

from nmt_moe.kernels import gpu
from nmt_moe.kernels.cpu import factored as kernel
from nmt_moe.optim.split import full, keep_

Means = tuple[Tensor, Tensor]
"""Of a squared gradient: over the columns, ``[E, R]``, and over the rows, ``[E, C]``."""


def mean_squares(param_ERC: Tensor, grad_ERC: Tensor) -> Means | None:
    """Those of a gradient, if a kernel can do with it and its parameter."""
    if gpu.can_update(param_ERC, grad_ERC):
        from nmt_moe.kernels.gpu import adam  # Triton is not everywhere.

        return adam.mean_squares(grad_ERC)
    return kernel.mean_squares(grad_ERC) if kernel.usable(param_ERC, grad_ERC) else None


def factored_update_(
    param_ERC: Tensor,
    grad_ERC: Tensor,
    row_ER: Tensor,
    column_EC: Tensor,
    updates_E: Tensor,
    *,
    lr: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    update_unused: bool,
    scale: float | Tensor = 1.0,
    means: Means | None = None,
    remainder_ERC: Tensor | None = None,
) -> None:
    """Update the parameters, their remainders and the three state tensors in place.

    The gradient is ``scale * grad``. ``means`` are those of :func:`mean_squares`, where they are
    known already. ``remainder`` is what bfloat16 leaves of the parameters, see
    :mod:`nmt_moe.optim.split`.

    Per expert, ``row`` and ``column`` are moving averages of the means of the squared gradient over
    columns and over rows, and ``v = row * column / mean(row)`` is the second moment. Then

        ``param -= lr * weight_decay * param``
        ``param -= lr * grad / (sqrt(v / (1 - beta2 ** updates)) + eps)``

    An expert whose gradient is all zero is not changed, nor is its state, unless ``update_unused``:
    then its parameters and its second moment decay. Gradients so small that all their squares are
    zero count as zero.

    Parameters and gradients may have half precision; the state has the precision of the
    computation.
    """
    if remainder_ERC is not None and gpu.can_update(param_ERC, grad_ERC):
        from nmt_moe.kernels.gpu import adam

        adam.factored_(
            param_ERC,
            remainder_ERC,
            grad_ERC,
            row_ER,
            column_EC,
            updates_E,
            means or adam.mean_squares(grad_ERC),
            scale,
            lr=lr,
            beta2=beta2,
            eps=eps,
            weight_decay=weight_decay,
            update_unused=update_unused,
        )
        return
    scale = float(scale)
    num_experts, rows, columns = param_ERC.shape
    at_once = max(1, _chunk(param_ERC.device) // (rows * columns))
    if kernel.usable(param_ERC, grad_ERC):
        at_once = num_experts
    for start in range(0, num_experts, at_once):
        part = slice(start, start + at_once)
        remainder = None if remainder_ERC is None else remainder_ERC[part]
        param, grad = full(param_ERC[part], remainder), grad_ERC[part].to(row_ER.dtype)
        in_c = kernel.usable(param, grad)
        if in_c:
            found = means or kernel.mean_squares(grad)
        else:
            work = grad.square()
            found = work.mean(2), work.mean(1)
        if scale != 1:
            found = found[0] * scale**2, found[1] * scale**2
        used_E, row, column = _take_in_(
            found, row_ER[part], column_EC[part], updates_E[part], beta2, update_unused
        )
        keep_E = 1 - lr * weight_decay * used_E
        # Without a gradient this adds an exact zero: nothing to select, nothing to wait for.
        if in_c:
            kernel.update_(param, grad, row, column, keep_E, lr * scale, eps)
        else:
            torch.mul(row.unsqueeze(2), column.unsqueeze(1), out=work).add_(eps)
            if weight_decay:
                param.mul_(keep_E[:, None, None])
            param.addcdiv_(grad, work, value=-lr * scale)
        keep_(param, param_ERC[part], remainder)


def _take_in_(
    means: Means,
    row_ER: Tensor,
    column_EC: Tensor,
    updates_E: Tensor,
    beta2: float,
    update_unused: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Update the moving averages with the means of the squared gradient over columns and over rows.

    Returns:
        ``[E]``: 1 for experts that are updated, else 0; and two factors ``[E, R]`` and ``[E, C]``
        whose outer product is the root of the bias-corrected second moment.
    """
    mean_ER, mean_EC = means
    touched_E = mean_ER.any(1).to(row_ER.dtype)
    used_E = torch.ones_like(touched_E) if update_unused else touched_E
    share_E1 = (used_E * (1 - beta2)).unsqueeze(1)
    row_ER.lerp_(mean_ER, share_E1)
    column_EC.lerp_(mean_EC, share_E1)
    updates_E.add_(used_E)
    correction_E = 1 - beta2 ** updates_E.double()  # float32 would lose the digits of 1 - 0.999
    scale_E = (row_ER.mean(1) * correction_E).to(row_ER.dtype)
    # An expert that has never had a gradient has zeros everywhere, and 0 / tiny is 0.
    scale_E1 = scale_E.clamp_min(torch.finfo(scale_E.dtype).tiny).unsqueeze(1)
    return used_E, (row_ER / scale_E1).sqrt_(), column_EC.sqrt()


def _chunk(device: torch.device) -> int:
    """How many numbers of a matrix to update at a time: whole experts, at least one.

    On a CPU the data of several passes should stay in the cache; on other devices launches cost
    more.
    """
    return 2**21 if device.type == "cpu" else 2**24
