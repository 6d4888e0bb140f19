"""Beam search: sentences per second in batches, and seconds for one sentence alone.

The contenders are those of searches.py. All have random weights and are made to write equally many
tokens, so each does equally many steps; a trained model ends most sentences earlier. The beam is 4.

"Per operation" are multiply-adds of a timestep (one token on each side) times timesteps a second,
in batches: two models of different size compare by it. The shares of the machine's limits count
what a search computes, the source once and each step for all hypotheses; of int8 the FMA peak is
that of int8. The memory is what a process of its own has at most while it translates a batch,
beyond what it had before the model.

Before it is timed, in small: the probability of every token that a contender's search returns is
compared with the same model's in float64, reading the whole translation at once.
"""

from argparse import Namespace

import torch
from contenders import PAPER, SMALL, Options, batch
from harness import LIMITS, Limits, middle, parser, ratios, report, start, take_turns
from resident import asked, forget, most
from searches import NOTES, SEARCHES, check, to_device

WORDS, MIB = 50, 2**20
FIRST = "dense twin"
"""What all are compared with."""


def memory(name: str, sizes: Options, args: Namespace) -> int:
    """Bytes that a translator needs while it translates a batch, in this process."""
    check(name, SMALL, WORDS, args)  # for what is loaded when it is needed
    before = forget()
    one = SEARCHES[name](sizes, args.vocabulary, args)
    run = one.prepare(batch(args.sentences, args.length, args.vocabulary), args.length)
    forget()  # what it took to make it
    run()
    return most() - before


def main() -> None:
    """The command line."""
    command = parser(__doc__, rounds=5)
    command.add_argument("--sentences", type=int, default=32, help="in a batch")
    command.add_argument("--length", type=int, default=25, help="of source and translation")
    command.add_argument("--vocabulary", type=int, default=32_000)
    command.add_argument("--experts", type=int, default=PAPER["moe_experts"])
    command.add_argument("--leave-out", nargs="+", default=[], choices=list(SEARCHES))
    command.add_argument("--only", choices=list(SEARCHES), help="print its memory, in bytes")
    args = command.parse_args()
    start(args)
    sizes = SMALL if args.quick else PAPER | {"moe_experts": args.experts}
    if args.quick:
        args.rounds, args.sentences, args.length, args.vocabulary = 2, 3, 5, WORDS
    if args.only:
        with torch.no_grad():
            print(memory(args.only, sizes, args))
        return
    names = [name for name in SEARCHES if name not in args.leave_out]
    if args.device != "cpu":
        names = [name for name in names if "ctranslate2" not in name and "int8" not in name]
    for name in names:
        check(name, SMALL, WORDS, args)

    peaks = {name: asked(name) for name in names} if args.device == "cpu" else {}
    made = {name: SEARCHES[name](sizes, args.vocabulary, args) for name in names}
    limits = Limits(args, *({one.dtype for one in made.values()} - {args.dtype}))
    seconds = {}
    torch.manual_seed(1)
    for way, sentences in {"batch": args.sentences, "alone": 1}.items():
        sample = to_device(batch(sentences, args.length, args.vocabulary), args.device)
        turns = {name: one.prepare(sample, args.length) for name, one in made.items()}
        with torch.no_grad():
            seconds[way] = take_turns(turns, args.rounds, args.device, limits)
    rows, figures = [], {}
    for name, one in made.items():
        each = middle(seconds["batch"][name]) / args.sentences
        alone = middle(seconds["alone"][name])
        against = [
            ratios(found, name, FIRST) if FIRST in names else "" for found in seconds.values()
        ]
        per_operation = one.ops * args.length / each
        row = [name, f"{one.ops / 1e6:.1f} M", f"{1 / each:.2f}", against[0], f"{1 / alone:.2f}"]
        row += [against[1], f"{per_operation / 1e9:.1f} G"]
        row += limits.shares(2 * one.multiply_adds(args.length) / each, one.dtype)
        row.append(f"{one.weights / MIB:,.0f} MiB")
        rows.append([*row, f"{peaks[name] / MIB:,.0f} MiB" if peaks else ""])
        figures[name] = {"ops": one.ops, "weights": one.weights, "per_operation": per_operation}
        figures[name]["memory"] = peaks.get(name)
        figures[name] |= {"sentences_per_second": {"batch": 1 / each, "alone": 1 / alone}}
    heads = ["model", "ops/timestep", f"sentences/s, {args.sentences} at a time"]
    heads += ["times dense twin's", "sentences/s, alone", "times dense twin's"]
    heads += ["per operation", *LIMITS, "weights", "memory"]
    found = {"models": figures, "seconds": seconds}
    report(f"Beam 4, {args.length} tokens", heads, rows, found, args, NOTES, limits)


if __name__ == "__main__":
    main()
