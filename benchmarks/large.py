"""The paper's largest translation model, 8.7 billion parameters, on one GPU: does it train, and how
fast?

lstm_moe_wmt14_2048h with moe_adam and --memory-efficient-bf16. Sentences are of words that are as
frequent as those of a language (Zipf's law), and another batch is drawn for each update, so that a
loss which falls has been learnt. On a card that is too small for it, one line says so.
"""

import time
from typing import Any

import torch
from contenders import batch, make_trainer, update
from harness import middle, parser, report, start

from nmt_moe.models.architectures import build, config

ARCH = "lstm_moe_wmt14_2048h"
SMALL = dict(dim=16, lstm_cells=32, moe_experts=64, moe_groups=16, moe_hidden_dim=32)
WORDS, WARM_UP = 50, 10
LEAST, REST = 6, 12 * 2**30
"""Bytes of each parameter, and what activations and kernels need at least."""


def zipf(sample: dict[str, Any], vocabulary: int) -> dict[str, Any]:
    """The batch with words of a language's frequencies in place of the others."""
    special = 4
    weights = 1 / torch.arange(1, vocabulary - special + 1).double()
    for name in ("src_tokens", "target"):
        tokens = sample["target"] if name == "target" else sample["net_input"][name]
        drawn = special + torch.multinomial(weights, tokens[:, :-1].numel(), replacement=True)
        tokens[:, :-1] = drawn.view_as(tokens[:, :-1])
    sample["net_input"]["prev_output_tokens"] = sample["target"].roll(1, dims=1)
    return sample


def main() -> None:
    """The command line."""
    command = parser(__doc__)
    command.add_argument("--updates", type=int, default=100)
    command.add_argument("--sentences", type=int, default=512)
    command.add_argument("--length", type=int, default=32, help="of a sentence, with its end")
    command.add_argument("--vocabulary", type=int, default=32_000)
    args = command.parse_args()
    start(args)
    changes = {}
    if args.quick:
        args.updates, args.sentences, args.vocabulary, changes = 24, 16, WORDS, SMALL
    title = f"{ARCH}, {args.updates} updates of {args.sentences * args.length:,} target tokens"
    heads = [
        "parameters",
        "built, s",
        "tokens/s",
        "weights",
        "most memory",
        "loss at first, at last",
    ]
    with torch.device("meta"):
        parameters = sum(
            p.numel() for p in build(config(ARCH, changes), args.vocabulary).parameters()
        )
    if args.device == "cuda":
        size = torch.cuda.get_device_properties(0).total_memory
        wanted = LEAST * parameters + REST
        if size < wanted:
            note = f"skipped: needs {wanted / 2**30:.0f} GiB, this card has {size / 2**30:.0f}"
            report(title, heads, [], {}, args, [note])
            return
    began = time.monotonic()
    with torch.device(args.device):
        model = build(config(ARCH, changes), args.vocabulary)
    built = time.monotonic() - began
    options = ["--memory-efficient-bf16"] if args.device == "cuda" else []
    options += ["--lr-scheduler", "inverse_sqrt", "--warmup-updates", "20"]
    trainer = make_trainer(model, args.vocabulary, args.device, *options)
    held = torch.cuda.memory_allocated() if args.device == "cuda" else 0
    losses, seconds = [], []
    for _ in range(args.updates):
        sample = zipf(batch(args.sentences, args.length, args.vocabulary), args.vocabulary)
        if args.device == "cuda":
            torch.cuda.synchronize()
        began = time.perf_counter()
        losses.append(update(trainer, sample))  # the loss is a number: it has waited
        seconds.append(time.perf_counter() - began)
    most = torch.cuda.max_memory_allocated() if args.device == "cuda" else 0
    speed = args.sentences * args.length / middle(seconds[WARM_UP:])
    first, last = (sum(some) / len(some) for some in (losses[:WARM_UP], losses[-WARM_UP:]))
    row = [f"{parameters:,}", f"{built:.0f}", f"{speed:,.0f}", f"{held / 2**30:.1f} GiB"]
    row += [f"{most / 2**30:.1f} GiB", f"{first:.2f}, {last:.2f}"]
    figures = {"losses": losses, "seconds": seconds, "parameters": parameters, "built": built}
    figures |= {"held": held, "most": most, "tokens_per_second": speed}
    report(title, heads, [row], figures, args)
    if not last < first:
        raise SystemExit(f"error: the loss does not fall: {first:.2f} to {last:.2f} bits")


if __name__ == "__main__":
    main()
