"""Gradients of a whole update in the type and at the size that are timed, against float64.

Plain torch (plain.py) computes the same model in float64, and in --dtype, where it is wrong by what
that type rounds. Ours may be wrong by little more. It is the dense twin: in another type tokens go
to other experts, which moe_layer.py compares with the choice that was made.
"""

import copy
from typing import Any

from contenders import PAPER, SMALL, batch, dense, make_trainer
from harness import DTYPES, parser, report, start
from plain import make_plain
from torch import Tensor, nn

WORDS, MORE, LEAST = 50, 1.5, 0.01


def gradients(model: nn.Module, criterion: nn.Module, sample: Any) -> dict[str, Tensor]:
    """By parameter, and the loss."""
    model.zero_grad()
    loss, *_ = criterion(model, sample)
    loss.backward()
    found = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad(set_to_none=True)
    return {"the loss": loss.detach()} | found


def errors(found: dict[str, Tensor], right: dict[str, Tensor]) -> dict[str, float]:
    """Norms of the differences, as shares of those of the right ones."""
    return {
        name: float((found[name].double() - exact).norm() / exact.norm().clamp(min=1e-30))
        for name, exact in right.items()
    }


def main() -> None:
    """The command line."""
    command = parser(__doc__)
    command.add_argument("--sentences", type=int, default=512)
    command.add_argument("--length", type=int, default=32, help="of a sentence, with its end")
    command.add_argument("--vocabulary", type=int, default=32_000)
    args = command.parse_args()
    start(args)
    sizes = PAPER
    if args.quick:
        args.sentences, args.length, args.vocabulary, sizes = 40, 6, WORDS, SMALL
    dtype = DTYPES[args.dtype]
    model = dense(sizes, args.vocabulary, dropout=0.0).to(args.device, dtype)
    criterion = make_trainer(nn.Linear(1, 1), args.vocabulary, args.device).criterion.train()
    sample = batch(args.sentences, args.length, args.vocabulary)
    sample["net_input"] = {name: x.to(args.device) for name, x in sample["net_input"].items()}
    sample["target"] = sample["target"].to(args.device)

    exact = make_plain(copy.deepcopy(model).double())
    right = {name: x.double() for name, x in gradients(exact, criterion, sample).items()}
    del exact
    mine = errors(gradients(model, criterion, sample), right)
    plain = errors(gradients(make_plain(model), criterion, sample), right)
    rows = [[name, f"{mine[name]:.1e}", f"{plain[name]:.1e}"] for name in right]
    heads = ["gradient", "error of ours", "of plain torch"]
    title = f"Gradients of {sample['ntokens']:,} tokens in {args.dtype} against float64"
    report(title, heads, rows, {"ours": mine, "plain": plain}, args)
    for name in right:
        if not mine[name] <= MORE * plain[name] + LEAST:
            raise SystemExit(f"error: {name} is wrong by {mine[name]:.1e}: plain {plain[name]:.1e}")


if __name__ == "__main__":
    main()
