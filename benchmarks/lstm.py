"""The LSTM layer with a projection, against torch's own, forward and backward.

  ours   nmt_moe.models.lstm.LSTM
  torch  torch.nn.LSTM(width, cells, proj_size=width)
  plain  torch.nn.LSTM without a projection, of as many operations as the cells allow

The outputs and gradients of ours are compared with torch's in float64 before they are timed.
"""

from collections.abc import Callable

import torch
from harness import DTYPES, LIMITS, Limits, middle, parser, ratios, report, start, take_turns
from torch import Tensor, nn

from nmt_moe.models.lstm import LSTM


def check(width: int, cells: int) -> None:
    """Compare ours with torch's.

    Raises:
        SystemExit: they differ.
    """
    ours = LSTM(width, width, cells).double()
    x_LBD = torch.randn(3, 2, width).double().requires_grad_()
    found, right = (_outputs(module, x_LBD) for module in (ours, ours.lstm))
    if not all(torch.allclose(a, b, rtol=0, atol=1e-10) for a, b in zip(found, right, strict=True)):
        raise SystemExit("error: our LSTM is not torch's: not timed")


def _outputs(module: nn.Module, x_LBD: Tensor) -> list[Tensor]:
    y_LBD = module(x_LBD)[0]
    return [y_LBD, *torch.autograd.grad(y_LBD.sin().sum(), [x_LBD, *module.parameters()])]


def turn(module: nn.Module, x_LBD: Tensor) -> Callable[[], None]:
    """Forward and backward pass of a batch."""

    def run() -> None:
        module.zero_grad()
        x_LBD.grad = None
        module(x_LBD)[0].sum().backward()

    return run


def main() -> None:
    """The command line."""
    command = parser(__doc__)
    for name, default in dict(width=512, cells=2048, steps=25, sentences=64).items():
        command.add_argument("--" + name, type=int, default=default)
    args = command.parse_args()
    start(args)
    if args.quick:
        args.rounds, args.width, args.cells, args.steps, args.sentences = 2, 16, 32, 3, 2
    width, cells = args.width, args.cells
    check(width, cells)
    how = {"device": args.device, "dtype": DTYPES[args.dtype]}
    x_LBD = torch.randn(args.steps, args.sentences, width, **how).requires_grad_()
    weights = 2 * 4 * cells * width + cells * width
    # 4 * c * (width + c) products for c cells
    plain = round((-width + (width**2 + weights) ** 0.5) / 2)
    modules = {
        "ours": LSTM(width, width, cells),
        "torch": nn.LSTM(width, cells, proj_size=width),
        "plain": nn.LSTM(width, plain),
    }
    products = {"ours": weights, "torch": weights, "plain": 4 * plain * (width + plain)}
    limits = Limits(args)
    turns = {name: turn(module.to(**how), x_LBD) for name, module in modules.items()}
    seconds = take_turns(turns, args.rounds, args.device, limits)
    rows = []
    for name, number in products.items():
        flops = 6 * args.steps * args.sentences * number
        shares = limits.shares(flops / middle(seconds[name]))
        rows.append([name, f"{number:,}", ratios(seconds, name, "torch"), *shares])
    heads = ["layer", "ops/timestep", "times torch's", *LIMITS]
    title = f"LSTM, {args.steps} steps of {args.sentences} sentences, forward + backward"
    report(title, heads, rows, {"seconds": seconds}, args, limits=limits)


if __name__ == "__main__":
    main()
