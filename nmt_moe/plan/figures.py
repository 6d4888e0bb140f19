"""What an architecture costs, as figures and as a table."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

import torch

from nmt_moe.common.errors import UserError
from nmt_moe.models.architectures import build, config
from nmt_moe.plan import counts, devices
from nmt_moe.plan.efficiency import Cluster, predictions


def plan(
    arch: str,
    overrides: Sequence[str],
    vocabulary: int,
    number: int,
    batch_tokens: int,
    optimizer: str,
    precision: str,
    flops: float | None,
    bandwidth: float | None,
    cluster: Cluster,
) -> dict[str, Any]:
    """All figures, under the names that ``--json`` has.

    Args:
        arch: an architecture.
        overrides: changes of its options, each ``name=value``.
        vocabulary: symbols in each dictionary.
        number: of devices.
        batch_tokens: tokens on each side of a device's batch.
        optimizer: the one whose state is shown beside adam's.
        precision: of what is sent, a key of ``devices.TOKEN_BYTES``.
        flops: floating-point operations per second of a device.
        bandwidth: bytes per second that it can send.
        cluster: what is assumed where an efficiency is predicted.

    Raises:
        UserError: an unknown architecture or option, or values that do not fit.
    """
    if (flops is None) != (bandwidth is None):
        raise UserError("--flops and --bandwidth describe a device together: give both")
    cfg = config(arch, dict(map(_override, overrides)))
    with torch.device("meta"):
        model = build(cfg, vocabulary)
    operations = counts.operations(model)
    figures = {
        "arch": arch,
        "overrides": overrides,
        "vocabulary": vocabulary,
        "ops_per_timestep": sum(operations.values()),
        "ops_by_kind": operations,
        "parameters": counts.parameters(model),
        "parameters_without_embedding_and_softmax": (
            counts.parameters_without_embedding_and_softmax(model)
        ),
        "parameters_in_experts": counts.parameters_in_experts(model),
        "parameters_active_per_token": counts.parameters_active(model),
        "devices": number,
        "optimizer": optimizer,
        "bytes_per_device": asdict(devices.memory(model, number)),
        "bytes_per_device_in_bfloat16": asdict(devices.memory_in_bfloat16(model, number)),
        "batch_tokens_per_device": batch_tokens,
        "precision": precision,
        "bytes_sent_for_dense_gradients": devices.all_reduce_bytes(model, number),
        "layers": {
            name: asdict(devices.traffic(layer, number, batch_tokens, precision))
            for name, layer in counts.mixtures(model).items()
        },
    }
    if number > 1:
        found = predictions(model, number, batch_tokens, precision, cluster)
        figures["prediction"] = {
            "assumptions": asdict(cluster),
            "teams": [asdict(one) | {"efficiency": one.efficiency} for one in found],
        }
    if flops is not None and bandwidth is not None:
        if number == 1 or not figures["layers"]:
            raise UserError(
                "--flops and --bandwidth are compared with what experts send: that needs "
                "--devices of at least 2 and an architecture with experts"
            )
        figures["ops_per_number_of_device"] = devices.machine_ratio(flops, bandwidth, precision)
    return figures


def _override(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise UserError(f"--override {text!r} is not name=value, such as moe_experts=64")
    return name.removeprefix("--").replace("-", "_"), value


def table(figures: dict[str, Any]) -> Iterator[str]:
    """The figures for people, line by line."""
    changes = "".join(f", {change}" for change in figures["overrides"])
    yield f"{figures['arch']}{changes}; vocabulary {figures['vocabulary']:,}"
    yield ""
    yield from _operations(figures)
    yield ""
    yield from _parameters(figures)
    yield ""
    yield from _memory(figures)
    if figures["layers"]:
        yield ""
        yield from _layers(figures)
    if figures["devices"] > 1:
        yield ""
        yield from _network(figures)
        yield ""
        yield from _prediction(figures)


def _operations(figures: dict[str, Any]) -> Iterator[str]:
    yield "multiply-adds per token, forward pass"
    for kind, count in figures["ops_by_kind"].items():
        if count:
            share = count / figures["ops_per_timestep"]
            yield f"{_millions(kind.replace('_', ' '), count)} {share:8.1%}"
    yield _millions("ops/timestep", figures["ops_per_timestep"])


def _parameters(figures: dict[str, Any]) -> Iterator[str]:
    yield "parameters"
    yield _millions("all", figures["parameters"])
    without = figures["parameters_without_embedding_and_softmax"]
    yield _millions("without embedding and softmax", without)
    yield _millions("  of these in experts", figures["parameters_in_experts"])
    yield _millions("  of these active for a token", figures["parameters_active_per_token"])


def _row(name: str, cells: Iterable[str]) -> str:
    return f"  {name:32} " + " ".join(f"{cell:>19}" for cell in cells)


def _millions(name: str, count: int) -> str:
    return f"{_row(name, [f'{count:,}'])} {count / 1e6:>12,.1f} M"


def _memory(figures: dict[str, Any]) -> Iterator[str]:
    memory, narrow = figures["bytes_per_device"], figures["bytes_per_device_in_bfloat16"]
    columns = {"adam": (memory, "adam")}
    if figures["optimizer"] == "moe_adam":
        columns = {
            "moe_adam": (memory, "moe_adam"),
            **columns,
            "moe_adam, bfloat16": (narrow, "moe_adam"),
        }
    where = "of the fullest of {devices} devices".format_map(figures)
    yield f"memory {where if figures['devices'] > 1 else 'of the device'}, float32"
    yield _row("", columns)
    parts = [
        (of["weights"], of["gradients"], of["optimizer_state"][n]) for of, n in columns.values()
    ]
    weights, gradients, states = zip(*parts, strict=True)
    rows = {
        "weights": weights,
        "gradients": gradients,
        "optimizer state": states,
        "together, without activations": map(sum, parts),
    }
    for name, row in rows.items():
        yield _row(name, map(_bytes, row))
    if len(columns) > 1:
        yield "  bfloat16 is --memory-efficient-bf16, whose weights moe_adam keeps exactly."


def _layers(figures: dict[str, Any]) -> Iterator[str]:
    yield "experts, {batch_tokens_per_device:,} tokens per device in a batch".format_map(figures)
    columns = ("layer", "experts", "groups", "per token", "per device", "tokens each")
    yield "  {:12} {:>9} {:>7} {:>10} {:>11} {:>12}".format(*columns)
    for name, layer in figures["layers"].items():
        yield (
            f"  {name:12} {layer['experts']:>9,} {layer['groups']:>7,} "
            f"{layer['experts_per_token']:>10} {layer['experts_per_device']:>11,} "
            f"{layer['tokens_per_expert']:>12,.1f}"
        )


def _network(figures: dict[str, Any]) -> Iterator[str]:
    yield "sent by each device in an update"
    for name, layer in figures["layers"].items():
        sent = _row(f"{name}, tokens, {figures['precision']}", [_bytes(layer["bytes_sent"])])
        yield f"{sent}   for {layer['ops_per_number']:,} multiply-adds per number"
    yield _row("dense gradients, float32", [_bytes(figures["bytes_sent_for_dense_gradients"])])
    if not figures["layers"]:
        return
    needed = min(layer["ops_per_number"] for layer in figures["layers"].values())
    device = figures.get("ops_per_number_of_device")
    if device is None:
        yield (
            f"  Devices that do fewer than {needed:,} multiply-adds while they send a number "
            "are kept busy."
        )
        return
    busy = "the experts keep it busy" if device < needed else "it waits for the network"
    yield f"  This device does {device:,.0f} multiply-adds while it sends a number: {busy}."


def _prediction(figures: dict[str, Any]) -> Iterator[str]:
    assumed = figures["prediction"]["assumptions"]
    yield f"predicted ms of an update, tokens and gradients in {figures['precision']}"
    columns = ("team", "products", "tokens", "experts' grad.", "dense grad.", "latency")
    yield "  {:>6} {:>10} {:>10} {:>15} {:>12} {:>9}  efficiency".format(*columns)
    for place, one in enumerate(figures["prediction"]["teams"]):
        yield (
            f"  {one['team']:>6} {one['products'] * 1e3:>10.2f} {one['tokens'] * 1e3:>10.2f} "
            f"{one['expert_gradients'] * 1e3:>15.2f} {one['dense_gradients'] * 1e3:>12.2f} "
            f"{one['latency'] * 1e3:>9.2f} {one['efficiency']:>11.1%}"
            f"{'  pays' if not place and figures['layers'] else ''}"
        )
    inside, between = (assumed[f"bandwidth_{where}"] / 1e9 for where in ("inside", "between"))
    yield (
        f"  Assumed: even routing, nothing overlaps, {inside:g} GB/s between devices of a machine "
        f"of {assumed['machine_devices']},"
    )
    yield (
        f"  {between:g} GB/s to other machines, {assumed['latency'] * 1e6:g} us a call, "
        f"{assumed['update_flops'] / 1e12:g} TFLOP/s in an update."
    )


def _bytes(count: int) -> str:
    for unit, size in {"TB": 1e12, "GB": 1e9, "MB": 1e6}.items():
        if count >= size:
            return f"{count / size:,.2f} {unit}"
    return f"{count / 1e3:,.2f} kB"
