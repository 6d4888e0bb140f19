"""Whole updates of fairseq-train: tokens per second, and shares of the machine's limits.

  lstm_moe      ours, with moe_adam
  dense twin    the same with --feed-forward dense
  plain         lstm_moe's parameters on torch.nn.LSTM(proj_size=...) and a loop over the experts
  fairseq lstm  fairseq's --arch lstm, as wide as makes it cost as much per timestep
  joeynmt       the recurrent encoder and decoder of joeynmt, likewise (if it is installed)

Each turn is an update by fairseq's own trainer: forward, backward, gradients scaled and clipped,
optimizer. The batch is of random words, all sentences of equal length, so that there is no padding.
Operations are counted as two for each multiply-add of a weight (python -m nmt_moe.plan), and
backward as twice forward; products of activations, the optimizer and dropout count nothing.

Before they are timed, in small: the loss and all gradients of lstm_moe, and the dense twin's, are
compared in float64 with those of the same parameters in plain torch. There is no second
implementation of fairseq's and joeynmt's models at hand; of every contender the loss must fall.
"""

from collections.abc import Callable
from typing import Any

import torch
from contenders import (
    CONTENDERS,
    NOTES,
    PAPER,
    SMALL,
    batch,
    make_trainer,
    ops,
    update,
)
from harness import LIMITS, Limits, middle, parser, ratios, report, start, take_turns
from plain import make_plain
from torch import Tensor, nn

from nmt_moe.criterions.balance import balance_losses

WORDS, UPDATES, FALL = 50, 25, 0.9


def check_gradients(kind: Callable[..., nn.Module]) -> None:
    """Compare a model of ours with plain torch, in small."""
    torch.manual_seed(1)
    sample = batch(3, 5, WORDS)
    sample["net_input"]["src_tokens"][1, :2] = 1  # padding
    sample["net_input"]["src_lengths"][1] = 3
    gradients_agree(kind(SMALL, WORDS, dropout=0.0).double(), sample)


def gradients_agree(model: nn.Module, sample: dict[str, Any]) -> None:
    """Raise :class:`SystemExit` if the loss or a gradient of a float64 model is not what the same
    parameters give in plain torch, which the model is left as."""
    found = _gradients(model, sample)
    right = _gradients(make_plain(model), sample)
    for name, gradient in right.items():
        error = (found[name] - gradient).abs().max()
        if not error <= 1e-8 * gradient.abs().max() + 1e-12:
            raise SystemExit(f"error: {name} is wrong by {error:.1e}: not timed")


def _gradients(model: nn.Module, sample: dict[str, Any]) -> dict[str, Tensor]:
    """By parameter, and the loss."""
    torch.manual_seed(2)  # the gates' noise
    model.zero_grad()
    logits, more = model(**sample["net_input"])
    loss = nn.functional.cross_entropy(logits.flatten(0, 1), sample["target"].flatten())
    if more["routing"]:
        loss = loss + sum(balance_losses(more["routing"]))
    loss.backward()
    return {"the loss": loss.detach()} | {
        name: p.grad for name, p in model.named_parameters() if p.grad is not None
    }


def check_learns(name: str, device: str, arguments: list[str]) -> None:
    """Raise :class:`SystemExit` if updates on one small batch do not make its loss smaller."""
    torch.manual_seed(1)
    model = CONTENDERS[name](SMALL, WORDS, dropout=0.0)
    trainer = make_trainer(model, WORDS, device, "--lr", "0.01", *arguments)
    sample = batch(4, 6, WORDS)
    first, *_, last = [update(trainer, sample) for _ in range(UPDATES)]
    if not last < FALL * first:
        raise SystemExit(f"error: {name} does not learn, {first:.2f} to {last:.2f}: not timed")


def main() -> None:
    """The command line."""
    command = parser(__doc__, rounds=5)
    command.add_argument("--sentences", type=int, default=128)
    command.add_argument("--length", type=int, default=32, help="of a sentence, with its end")
    command.add_argument("--vocabulary", type=int, default=32_000)
    command.add_argument("--experts", type=int, default=PAPER["moe_experts"])
    command.add_argument("--leave-out", nargs="+", default=[], choices=list(CONTENDERS))
    args = command.parse_args()
    start(args)
    sizes = SMALL if args.quick else PAPER | {"moe_experts": args.experts}
    if args.quick:
        args.rounds, args.sentences, args.length, args.vocabulary = 2, 4, 6, WORDS
    narrow = "--amp" if args.device == "cpu" else "--bf16"
    arguments = [narrow] if args.dtype == "bfloat16" else []
    names = [name for name in CONTENDERS if name not in args.leave_out]
    for name in ("lstm_moe", "dense twin"):
        check_gradients(CONTENDERS[name])
    for name in names:
        check_learns(name, args.device, arguments)

    torch.manual_seed(1)
    sample = batch(args.sentences, args.length, args.vocabulary)
    tokens = sample["ntokens"]
    limits = Limits(args)
    turns: dict[str, Callable[[], object]] = {}
    for name in names:
        model = CONTENDERS[name](sizes, args.vocabulary)
        trainer = make_trainer(model, args.vocabulary, args.device, *arguments)
        turns[name] = lambda trainer=trainer: update(trainer, sample)
    seconds = take_turns(turns, args.rounds, args.device, limits)
    rows, figures = [], {}
    for name in names:
        cost = ops(CONTENDERS[name], sizes, args.vocabulary)
        speed = tokens / middle(seconds[name])
        against = ratios(seconds, name, "dense twin") if "dense twin" in names else ""
        shares = limits.shares(6 * cost * speed)
        rows.append([name, f"{cost / 1e6:.1f} M", f"{speed:,.0f}", against, *shares])
        figures[name] = {"ops": cost, "tokens_per_second": speed}
        figures[name] |= dict(zip(LIMITS, shares, strict=True))
    heads = ["model", "ops/timestep", "target tokens/s", "times dense twin's", *LIMITS]
    title = f"Updates of {tokens:,} target tokens"
    report(title, heads, rows, {"models": figures, "seconds": seconds}, args, NOTES, limits)


if __name__ == "__main__":
    main()
