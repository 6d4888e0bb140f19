"""Arguments that several command lines have."""

import argparse

import torch

from nmt_moe.common.errors import UserError


def add_device(parser: argparse.ArgumentParser) -> None:
    """``--device``, for :func:`find_device`."""
    parser.add_argument(
        "--device", default="cuda" if torch.cuda.is_available() else "cpu", metavar="DEVICE",
        help="cpu, cuda or cuda:1 (default: a GPU if there is one)",
    )  # fmt: skip


def find_device(name: str) -> torch.device:
    """The device of that name.

    Raises:
        UserError: there is none.
    """
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError):
        raise UserError(f"there is no device {name} here: use --device cpu") from None
    return device
