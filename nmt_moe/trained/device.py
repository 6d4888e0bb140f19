"""The device that a command uses."""

import torch

from nmt_moe.common.errors import UserError


def find_device(name: str | None, int8: bool = False) -> torch.device:
    """The device of that name; None: a GPU if there is one, else the CPU; for int8 the CPU.

    Raises:
        UserError: there is none.
    """
    if name is None:
        name = "cuda" if torch.cuda.is_available() and not int8 else "cpu"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError):
        raise UserError(f"there is no device {name} here: use --device cpu") from None
    return device
