"""``nmt-moe plan``."""

import json
from dataclasses import dataclass

from nmt_moe.cli.arguments import Command, option, required, switch
from nmt_moe.common.ranges import integers, numbers

_POSITIVE = numbers(0, exclusive_low=True)


@dataclass(kw_only=True)
class Plan(Command):
    """Operations, parameters, memory and network traffic of an architecture. The model is never
    allocated: any size can be planned on any machine.
    """

    arch: str = required("an architecture, as for fairseq-train", metavar="NAME", one_of="what")
    names: bool = required("print the names of all architectures", name="--list", one_of="what")
    override: list[str] = option(
        [],
        "another value for an option of the architecture, such as moe_experts=64 (nmt-moe options "
        "--arch NAME shows them); may be repeated",
        metavar="NAME=VALUE",
        action="append",
    )
    vocabulary: int = option(
        32_000, "symbols in each dictionary, fairseq's own included", integers(4)
    )
    devices: int = option(
        1,
        "data-parallel devices with one copy of each expert between them (section 3.1); where "
        "every device holds all experts, each needs the memory of 1",
        integers(1),
        "D",
    )
    batch_tokens: int = option(16_000, "tokens on each side in a device's batch", integers(1))
    optimizer: str = option(
        "moe_adam",
        "the one whose state the table shows, beside adam's",
        choices=("moe_adam", "adam"),
    )
    precision: str = option(
        "float32",
        "of what is sent to experts and back: 4 bytes a number, or 2; the table of memory has both "
        "precisions of weights all the same",
        choices=("float32", "half"),
    )
    flops: float | None = option(
        None,
        "floating-point operations per second of a device, two to a multiply-add, such as 60e12; "
        "with --bandwidth this says whether experts, which do H multiply-adds for each number "
        "that they read or write, keep the device busy (section 3.2)",
        _POSITIVE,
        "F",
    )
    bandwidth: float | None = option(
        None,
        "bytes per second that a device can send to the others, such as 12.5e9",
        _POSITIVE,
        "B",
    )
    machine_devices: int = option(
        8, "for the predicted efficiency: devices of a machine", integers(1), "G"
    )
    bandwidth_inside: float = option(
        320e9,
        "for the predicted efficiency: bytes per second that a device sends to others of its "
        "machine (default: 320e9, of NVLink)",
        _POSITIVE,
        "B",
    )
    bandwidth_between: float = option(
        43e9,
        "for the predicted efficiency: bytes per second that a device sends to other machines "
        "(default: 43e9, of InfiniBand)",
        _POSITIVE,
        "B",
    )
    latency: float = option(
        30e-6,
        "for the predicted efficiency: seconds of each collective call, whatever it sends "
        "(default: 30e-6)",
        numbers(0),
        "S",
    )
    update_flops: float = option(
        128e12,
        "for the predicted efficiency: floating-point operations per second that one device "
        "reaches in a whole update, two to a multiply-add (default: 128e12, of lstm_moe on an "
        "H200)",
        _POSITIVE,
        "F",
    )
    json: bool = switch("print all figures as one JSON object")

    def run(self) -> None:
        from nmt_moe.models.architectures import LANGUAGE, TRANSLATION
        from nmt_moe.plan.efficiency import Cluster
        from nmt_moe.plan.figures import plan, table

        if self.names:
            print("\n".join([*TRANSLATION, *LANGUAGE]))
            return
        figures = plan(
            self.arch,
            self.override,
            self.vocabulary,
            self.devices,
            self.batch_tokens,
            self.optimizer,
            self.precision,
            self.flops,
            self.bandwidth,
            Cluster(
                self.machine_devices,
                self.bandwidth_inside,
                self.bandwidth_between,
                self.latency,
                self.update_flops,
            ),
        )
        print(json.dumps(figures, indent=2) if self.json else "\n".join(table(figures)))
