"""Time and memory of an update against the number of experts, at equal operations per timestep.

A language model of the paper (--arch lstm_moe_lm, with --vocabulary words) is updated by
fairseq's own trainer with moe_adam; only the number of its experts changes. Two tables:

1. Seconds of an update and of its parts, the largest memory of a process that does nothing else
   (beyond what it had before the model), what python -m nmt_moe.plan says weights, gradients and
   optimizer state need, and the roofline: the larger of operations / (those of the FMA peak) and
   bytes / (those of the copy) of the same run. The bytes are six for each of a parameter's:
   its weight read in the forward and in the backward pass, its gradient written and read, the
   weight read and written by the optimizer.
2. Why it grows: what each part takes longer than with the fewest experts, over the time that one
   pass over the weights of the added experts takes at the copy's speed. Expected are at least

   forward    1: the weights are read. Each expert's product has fewer rows, and is slower.
   backward   2: the weights are read, the gradients written; more if memory is new and the system
              has to zero it first
   gradients  3: scaled by the number of tokens, read and written, and read for their norm; 2 more
              where they are clipped
   optimizer  3: gradients read, weights read and written; the second moments are small

Before it is timed, in small: the loss and all gradients are compared with plain torch's in float64.
"""

import json
import time
from collections.abc import Callable
from typing import Any

import torch
from contenders import batch, make_trainer, update
from fairseq.trainer import Trainer
from harness import LIMITS, Limits, middle, parser, ratios, report, start, take_turns
from resident import asked, forget, most
from torch import nn
from train_step import gradients_agree

from nmt_moe.models.architectures import build, config
from nmt_moe.plan.counts import operations
from nmt_moe.plan.devices import memory

WORDS = 50
PARTS = {"backward": "backward", "gradients": "multiply_grads clip_grad_norm", "optimizer": "step"}
QUICK = dict(dim=16, lstm_cells=16, moe_hidden_dim=32)


def model(experts: int, vocabulary: int, quick: bool, **changes: Any) -> nn.Module:
    options = (QUICK if quick else {}) | {"moe_experts": experts} | changes
    return build(config("lstm_moe_lm", options), vocabulary)


def sample(sentences: int, length: int, vocabulary: int) -> dict[str, Any]:
    """A batch of one side."""
    pairs = batch(sentences, length, vocabulary)
    read = pairs["net_input"].pop("prev_output_tokens")
    pairs["net_input"]["src_tokens"] = read
    return pairs


def watch(trainer: Trainer) -> dict[str, list[float]]:
    """Seconds that each part of each update takes, from now on."""
    seconds: dict[str, list[float]] = {part: [] for part in PARTS}

    def timed(part: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            wait(trainer.device)
            began = time.perf_counter()
            result = call(*args, **kwargs)
            wait(trainer.device)
            seconds[part].append(time.perf_counter() - began)
            return result

        return run

    for part, methods in PARTS.items():
        for method in methods.split():
            call = getattr(trainer.optimizer, method)
            setattr(trainer.optimizer, method, timed(part, call))
    return seconds


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def peak_memory(args: Any) -> int:
    """Bytes that two updates need at most, in this process; of the GPU's if there is one."""
    # First a small model, for what is loaded when it is needed.
    update(make_trainer(model(4, WORDS, quick=True), WORDS, args.device), sample(2, 3, WORDS))
    if args.device == "cpu":
        before = forget()
    made = make_trainer(model(args.only, args.vocabulary, args.quick), args.vocabulary, args.device)
    data = sample(args.sentences, args.length, args.vocabulary)
    for _ in range(2):
        update(made, data)
    if args.device == "cuda":
        return torch.cuda.max_memory_allocated()
    return most() - before


def main() -> None:
    """The command line."""
    command = parser(__doc__, rounds=5)
    command.add_argument("--experts", type=int, nargs="+", default=[4, 32, 128, 512])
    command.add_argument("--sentences", type=int, default=128)
    command.add_argument("--length", type=int, default=32)
    command.add_argument("--vocabulary", type=int, default=2000)
    command.add_argument("--only", type=int, help="print the memory with so many experts, in bytes")
    args = command.parse_args()
    start(args)
    if args.quick:
        args.rounds, args.sentences, args.length, args.vocabulary = 2, 4, 6, WORDS
        args.experts = [4, 8]
    if args.only:
        print(json.dumps(peak_memory(args)))
        return
    gradients_agree(model(4, WORDS, quick=True, dropout=0.0).double(), sample(3, 5, WORDS))

    peaks = {experts: asked(str(experts)) for experts in args.experts}
    data = sample(args.sentences, args.length, args.vocabulary)
    turns, parts, plans = {}, {}, {}
    for experts in args.experts:
        network = model(experts, args.vocabulary, args.quick)
        cost = sum(operations(network).values()) + network.decoder.output.weight.numel()
        plans[experts] = {"ops": cost, "parameters": sum(p.numel() for p in network.parameters())}
        need = memory(network, 1)
        state = need.optimizer_state["moe_adam"]
        plans[experts]["memory"] = need.weights + need.gradients + state
        trainer = make_trainer(network, args.vocabulary, args.device)
        parts[experts] = watch(trainer)
        turns[str(experts)] = lambda trainer=trainer: update(trainer, data)
    limits = Limits(args)
    seconds = take_turns(turns, args.rounds, args.device, limits)
    bandwidth = limits.memory["copy"].rate

    heads = ["experts", "parameters", "ms", "times the first's", "forward, rest", *PARTS]
    heads += [*LIMITS, "of roofline", "memory", "planned"]
    rows, split = [], {}
    for experts in args.experts:
        plan, whole = plans[experts], seconds[str(experts)]
        split[experts] = {"forward": middle(whole)}
        for part, found in parts[experts].items():
            calls = len(PARTS[part].split())
            each = [sum(found[i : i + calls]) for i in range(0, len(found), calls)]
            split[experts][part] = middle(each[-args.rounds :])
            split[experts]["forward"] -= split[experts][part]
        work = 6 * plan["ops"] * data["ntokens"]
        floor = limits.roofline(work, 6 * 4 * plan["parameters"])
        row = [str(experts), f"{plan['parameters'] / 1e6:.1f} M", f"{1000 * middle(whole):,.0f}"]
        row.append(ratios(seconds, str(experts), str(args.experts[0])))
        row += [f"{1000 * value:,.0f}" for value in split[experts].values()]
        row += [*limits.shares(work / middle(whole)), f"{floor / middle(whole):.0%}"]
        row += [f"{size / 2**20:,.0f} MiB" for size in (peaks[experts], plan["memory"])]
        rows.append(row)
    first, *others = args.experts
    notes = ["", "Passes over the added experts' weights that the growth takes the time of:"]
    for experts in others:
        added = 4 * (plans[experts]["parameters"] - plans[first]["parameters"]) / bandwidth
        grown = {part: split[experts][part] - split[first][part] for part in split[first]}
        shown = ", ".join(f"{part} {value / added:.1f}" for part, value in grown.items())
        notes.append(f"  {experts} experts: {shown}")
    figures = {"seconds": seconds, "parts": split, "plans": plans, "memory": peaks}
    title = f"Updates of {data['ntokens']:,} tokens with moe_adam"
    report(title, heads, rows, figures, args, notes, limits)


if __name__ == "__main__":
    main()
