"""The device that a command uses."""

import sys

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


def workers_for(device: torch.device) -> int:
    """How many processes make a search fast: on a CPU one for each thread.

    Threads wait for each other between the small products of a search, and much of it is Python.
    macOS lets no process go on safely that was forked from one with threads.
    """
    return torch.get_num_threads() if device.type == "cpu" and sys.platform == "linux" else 1
