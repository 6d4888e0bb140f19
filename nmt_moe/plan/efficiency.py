"""What share of its time a device of several computes: a model of the network, with assumptions.

An update is the products of the forward and the backward pass, at a speed that one device reaches
in a whole update, and then all that is sent, one after the other: nothing overlaps.
"""

import math
from dataclasses import dataclass

from fairseq.models import BaseFairseqModel

from nmt_moe.moe import MixtureOfExperts
from nmt_moe.moe import mesh as meshes
from nmt_moe.moe.gating import StrictlyBalancedGate
from nmt_moe.optim.moe_adam import is_expert
from nmt_moe.plan import counts
from nmt_moe.plan.devices import PASSES, TOKEN_BYTES, experts_held


@dataclass(frozen=True)
class Cluster:
    """What is assumed of devices and network. The defaults are those of machines of 8 H200: the
    speed is that of ``lstm_moe`` on one of them, the bandwidths are typical of NVLink and
    InfiniBand."""

    machine_devices: int = 8
    bandwidth_inside: float = 320e9
    """Bytes per second that a device sends to others of its machine."""
    bandwidth_between: float = 43e9
    """Bytes per second that a device sends to other machines."""
    latency: float = 30e-6
    """Seconds of a collective call that are there whatever it sends."""
    update_flops: float = 128e12
    """Floating-point operations per second of a whole update, two to a multiply-add."""

    def on_a_machine(self, devices: int) -> int:
        """Of that many devices; machines are filled evenly."""
        if devices <= self.machine_devices:
            return devices
        return math.gcd(devices, self.machine_devices)


@dataclass(frozen=True)
class Prediction:
    """Seconds of an update of one device."""

    team: int
    """Devices that share the experts."""
    products: float
    tokens: float
    """To experts and back."""
    expert_gradients: float
    """Summed over the teams."""
    dense_gradients: float
    latency: float

    @property
    def efficiency(self) -> float:
        """The share of the time in which the device does what it does alone."""
        sent = self.tokens + self.expert_gradients + self.dense_gradients + self.latency
        return self.products / (self.products + sent)


def collectives(layer: MixtureOfExperts) -> int:
    """Calls of a layer in an update in which a team talks, but for its experts' gradients."""
    rows = 5  # how many, then there and back, and the gradients
    sums = 2  # importance and load, and their gradient
    levels = sum(isinstance(gate, StrictlyBalancedGate) for gate in layer.gate.modules())
    return rows + sums + 3 * levels  # the batch's size, its best gates, and how many are equal


def default_team(layer: MixtureOfExperts, devices: int, tokens: int, cluster: Cluster) -> int:
    """The team that pays, as a training takes it where it has as many tokens in a batch as
    :data:`nmt_moe.moe.mesh.TOKENS`."""
    experts, _, hidden_dim = layer.experts.w_in.shape
    here = cluster.on_a_machine(devices)
    return meshes.team(experts, devices, here, hidden_dim, layer.experts_per_token, tokens)


def predict(
    model: BaseFairseqModel, devices: int, team: int, tokens: int, precision: str, cluster: Cluster
) -> Prediction:
    """An update of evenly routed batches.

    Args:
        model: may be on the meta device.
        devices: all of them.
        team: those that share the experts.
        tokens: on each side of a device's batch.
        precision: of tokens and gradients, a key of :data:`TOKEN_BYTES`.
        cluster: the assumptions.
    """
    number, here = TOKEN_BYTES[precision], cluster.on_a_machine(devices)
    together, teams = min(team, here), devices // team
    layers = counts.mixtures(model).values()
    per_byte = (together - 1) / team / cluster.bandwidth_inside
    per_byte += (team - together) / team / cluster.bandwidth_between
    rows = sum(layer.experts_per_token * tokens * layer.dim * PASSES for layer in layers)
    held = sum(
        experts_held(len(p), team) * p[0].numel() for p in model.parameters() if is_expert(p)
    )
    dense = sum(p.numel() for p in model.parameters() if not is_expert(p))
    one_machine = here == devices
    # A ring through all devices enters and leaves a machine by the network of each of its devices.
    through_all = cluster.bandwidth_between * here
    calls = 1 + sum((team > 1) * collectives(layer) + 2 * (teams > 1) for layer in layers)
    return Prediction(
        team=team,
        products=6 * counts.multiply_adds(model) * tokens / cluster.update_flops,
        tokens=rows * number * per_byte,
        expert_gradients=_ring(held * number, teams)
        / (cluster.bandwidth_inside if one_machine else cluster.bandwidth_between),
        dense_gradients=_ring(dense * number, devices)
        / (cluster.bandwidth_inside if one_machine else min(cluster.bandwidth_inside, through_all)),
        latency=calls * cluster.latency,
    )


def _ring(size: float, members: int) -> float:
    """Bytes that each member sends to sum that many: once to be summed, once as the sum."""
    return 2 * (members - 1) / members * size


def predictions(
    model: BaseFairseqModel, devices: int, tokens: int, precision: str, cluster: Cluster
) -> list[Prediction]:
    """Of the team that is the default, and then of that of the machine or of all, if others."""
    teams = [1]
    layers = list(counts.mixtures(model).values())
    if layers:
        experts = len(layers[0].experts.w_in)
        here = cluster.on_a_machine(devices)
        teams = [default_team(layers[0], devices, tokens, cluster)]
        teams += [math.gcd(here, experts), math.gcd(devices, experts)]
    return [
        predict(model, devices, team, tokens, precision, cluster) for team in dict.fromkeys(teams)
    ]
