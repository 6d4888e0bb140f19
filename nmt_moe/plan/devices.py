"""Memory and network of data-parallel devices that share the experts (sections 3.1 and 3.2).

Each device holds the dense parameters, and there is one copy of each expert. The experts of a
layer are divided evenly; where that leaves a rest, the figures are those of the device with the
most. Gates are dense parameters, those of a hierarchy too, and a token travels once for each of
its experts. All of it is float32, but for the tokens that half precision sends in 2 bytes, and with
bfloat16 for the weights, their gradients and their remainders, 2 bytes each.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from nmt_moe.common.errors import UserError
from nmt_moe.moe import MixtureOfExperts
from nmt_moe.optim.moe_adam import is_expert

_FLOAT32, _BFLOAT16 = 4, 2  # bytes
TOKEN_BYTES = {"float32": 4, "half": 2}
"""Bytes of each number that is sent to an expert or back, by precision."""
PASSES = 4  # to the experts and back, in the forward and in the backward pass


@dataclass(frozen=True)
class Memory:
    """Bytes on one device; activations and what the programs need come on top."""

    weights: int
    gradients: int
    optimizer_state: dict[str, int]
    """By optimizer."""


def memory(model: nn.Module, devices: int) -> Memory:
    """Of the device with the most experts."""
    held = sum(_held(p, devices) for p in model.parameters())
    state = {
        "moe_adam": sum(_moe_adam_state(p, devices) for p in model.parameters()),
        "adam": 2 * held,
    }
    return Memory(
        weights=held * _FLOAT32,
        gradients=held * _FLOAT32,
        optimizer_state={name: numbers * _FLOAT32 for name, numbers in state.items()},
    )


def memory_in_bfloat16(model: nn.Module, devices: int) -> Memory:
    """As :func:`memory`, of ``--memory-efficient-bf16`` with ``moe_adam``, which keeps weights
    exactly: the remainders count to its state."""
    full = memory(model, devices)
    numbers = full.weights // _FLOAT32
    state = full.optimizer_state["moe_adam"] + numbers * _BFLOAT16
    return Memory(numbers * _BFLOAT16, numbers * _BFLOAT16, {"moe_adam": state})


def _held(parameter: Tensor, devices: int) -> int:
    """Numbers of a parameter on one device; the first dimension of experts counts them."""
    if is_expert(parameter):
        return experts_held(len(parameter), devices) * parameter[0].numel()
    return parameter.numel()


def _moe_adam_state(parameter: Tensor, devices: int) -> int:
    """Numbers: Adam's two moments, for an expert's matrix a row, a column and a count."""
    if is_expert(parameter):
        experts, rows, columns = parameter.shape
        return experts_held(experts, devices) * (rows + columns + 1)
    return 2 * parameter.numel()


def experts_held(experts: int, devices: int) -> int:
    """The most that any device holds of a layer's experts."""
    return -(-experts // devices)


def all_reduce_bytes(model: nn.Module, devices: int) -> int:
    """Bytes that each device sends to sum the dense gradients, as in a ring.

    Every number is sent ``2 * (d - 1) / d`` times: once to be summed, once as the sum.
    """
    dense = sum(p.numel() for p in model.parameters() if not is_expert(p))
    return 2 * (devices - 1) * dense * _FLOAT32 // devices


@dataclass(frozen=True)
class Traffic:
    """One mixture-of-experts layer in one update."""

    experts: int
    groups: int
    experts_per_token: int
    experts_per_device: int
    """The most that any device holds."""
    tokens_per_expert: float
    """Expected, from all devices: ``k*b*d/E`` (section 3.1)."""
    bytes_sent: int
    """By each device, to other devices: the share ``(d - 1) / d`` of what experts read and
    write, in the forward and the backward pass."""
    ops_per_number: int
    """Multiply-adds of an expert for each number that it reads or writes: ``2*D*H`` for ``D``
    in and ``D`` out, which is its hidden width ``H`` (section 3.2)."""


def traffic(layer: MixtureOfExperts, devices: int, tokens: int, precision: str) -> Traffic:
    """What a layer exchanges when each device has that many tokens in a batch."""
    experts, dim, hidden_dim = layer.experts.w_in.shape
    numbers = layer.experts_per_token * tokens * dim * PASSES
    return Traffic(
        experts=experts,
        groups=layer.groups,
        experts_per_token=layer.experts_per_token,
        experts_per_device=experts_held(experts, devices),
        tokens_per_expert=layer.experts_per_token * tokens * devices / experts,
        bytes_sent=numbers * TOKEN_BYTES[precision] * (devices - 1) // devices,
        ops_per_number=hidden_dim,
    )


def machine_ratio(flops: float, bandwidth: float, precision: str) -> float:
    """Multiply-adds that a device can do while it sends one number.

    Experts with more ``ops_per_number`` keep it busy; with fewer it waits for the network.

    Args:
        flops: floating-point operations per second, two to a multiply-add.
        bandwidth: bytes per second that a device sends.
        precision: that of the numbers sent.

    Raises:
        UserError: a rate that is not above 0.
    """
    for option, rate in {"--flops": flops, "--bandwidth": bandwidth}.items():
        if not rate > 0:
            raise UserError(f"{option} must be above 0, not {rate:g}")
    return flops / 2 * TOKEN_BYTES[precision] / bandwidth
