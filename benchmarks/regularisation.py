"""What each option against overfitting takes of an update of fairseq-train, by turns.

The model has the sizes that nmt-moe train takes for some ten thousand pairs: width 256, 16 experts
of 512, 2 of them per token, 4,000 pieces. Each turn is an update by fairseq's own trainer, as in
train_step.py, with the same batch. Sampled pieces are no part of an update; what they do to its
batch is their length.

Before they are timed: with each option the loss is finite, and differs from that without any.
"""

import math
from collections.abc import Callable

import torch
from contenders import batch, make_trainer, update
from harness import middle, parser, ratios, report, start, take_turns

from nmt_moe.models.architectures import build, config

SIZES = dict(dim=256, lstm_cells=256, moe_experts=16, moe_k=2, moe_hidden_dim=512, dropout=0.25)
SMALL = dict(dim=16, lstm_cells=16, moe_experts=4, moe_k=2, moe_hidden_dim=16, dropout=0.25)
NONE = "none"
MODEL: dict[str, dict[str, object]] = {
    NONE: {},
    "--word-dropout": {"word_dropout": 0.1},
    "--variational-dropout": {"variational_dropout": 0.1},
    "--recurrent-dropout": {"recurrent_dropout": 0.1},
    "--moe-hidden-dropout": {"moe_hidden_dropout": 0.1},
    "--moe-expert-dropout": {"moe_expert_dropout": 0.1},
    "--moe-shared-expert": {"moe_shared_expert": True},
}
TRAINING: dict[str, list[str]] = {
    "--r-drop": ["--r-drop", "5"],
    "--store-ema": ["--store-ema", "--ema-decay", "0.999"],
}


def main() -> None:
    """The command line."""
    command = parser(__doc__)
    command.add_argument("--sentences", type=int, default=64)
    command.add_argument("--length", type=int, default=16, help="of a sentence, with its end")
    command.add_argument("--vocabulary", type=int, default=4_000)
    args = command.parse_args()
    start(args)
    if args.quick:
        args.rounds, args.sentences, args.length, args.vocabulary = 2, 4, 6, 50
    narrow = "--amp" if args.device == "cpu" else "--bf16"
    arguments = [narrow] if args.dtype == "bfloat16" else []
    torch.manual_seed(1)
    sample = batch(args.sentences, args.length, args.vocabulary)
    turns: dict[str, Callable[[], object]] = {}
    losses = {}
    for name in [*MODEL, *TRAINING]:
        torch.manual_seed(1)
        sizes = (SMALL if args.quick else SIZES) | MODEL.get(name, {})
        model = build(config("lstm_moe", sizes), args.vocabulary)
        more = [*arguments, *TRAINING.get(name, [])]
        trainer = make_trainer(model, args.vocabulary, args.device, *more)
        losses[name] = [update(trainer, sample) for _ in range(3)]
        turns[name] = lambda trainer=trainer: update(trainer, sample)
    for name, found in losses.items():
        same = found == losses[NONE] and name not in (NONE, "--store-ema")
        if same or not all(map(math.isfinite, found)):
            raise SystemExit(f"error: {name} has losses of {found}: not timed")
    seconds = take_turns(turns, args.rounds, args.device)
    rows = [
        [name, f"{1000 * middle(seconds[name]):.0f}", ratios(seconds, name, NONE)] for name in turns
    ]
    title = f"Updates of {sample['ntokens']:,} target tokens"
    heads = ["option", "ms/update", "times none's"]
    report(title, heads, rows, {"seconds": seconds}, args)


if __name__ == "__main__":
    main()
