"""What a machine can do with the shapes of our products, and how fast it copies.

  copy            memory to memory, a byte read and written counts twice
  square          torch's product of two square matrices
  output          features with the matrix of the vocabulary
  LSTM inputs     all steps at once
  LSTM step       the recurrent product of one step of a batch of sentences
  experts, E      one product for each expert, all with equally many rows, as one batched product

All are torch's own, into memory that is there. Copies are measured from small to large, as small
ones stay in a cache.
"""

from collections.abc import Callable

import torch
from harness import DTYPES, middle, parser, report, start, take_turns

WIDTH, CELLS, HIDDEN, CHOSEN = 512, 2048, 2048, 4  # of lstm_moe
Shape = tuple[int, int, int, int]


def shapes(tokens: int, length: int, vocabulary: int, experts: list[int]) -> dict[str, Shape]:
    """By name: products at once, rows, inner size, columns."""
    size = f"{tokens:,} tokens"
    found = {
        f"output, {size}": (1, tokens, WIDTH, vocabulary),
        f"LSTM inputs, {size}": (1, tokens, WIDTH, 4 * CELLS),
        f"LSTM step, {tokens // length:,} sentences": (1, tokens // length, WIDTH, 4 * CELLS),
    }
    for number in experts:
        rows = max(1, tokens * CHOSEN // number)
        found[f"experts, {number}, {size}"] = (number, rows, WIDTH, HIDDEN)
    return found


def main() -> None:
    """The command line."""
    command = parser(__doc__)
    command.add_argument("--tokens", type=int, nargs="+", default=[16_384, 65_536])
    command.add_argument("--experts", type=int, nargs="+", default=[32, 512, 2048])
    command.add_argument("--length", type=int, default=32, help="of a sentence")
    command.add_argument("--vocabulary", type=int, default=32_000)
    args = command.parse_args()
    start(args)
    mib, square = [2, 64, 2048], 8192
    if args.quick:
        args.rounds, args.tokens, args.experts, args.vocabulary = 2, [64], [4], 50
        mib, square = [1], 64
    how = {"device": args.device, "dtype": DTYPES[args.dtype]}
    wanted: dict[str, Shape] = {"square": (1, square, square, square)}
    for tokens in args.tokens:
        wanted |= shapes(tokens, args.length, args.vocabulary, args.experts)
    rows, figures = [], {}

    def measure(name: str, call: Callable[[], object], amount: float, unit: str) -> None:
        seconds = take_turns({name: call}, args.rounds, args.device)[name]
        rate = amount / middle(seconds)
        rows.append([name, f"{1e3 * middle(seconds):.3f}", f"{rate:,.1f} {unit}"])
        figures[name] = {"seconds": seconds, "rate": rate, "unit": unit}

    for size in mib:
        x = torch.ones(size * 2**20, dtype=torch.uint8, device=args.device)
        y = torch.empty_like(x)
        measure(f"copy, {size:,} MiB", lambda x=x, y=y: y.copy_(x), 2 * x.numel() / 1e9, "GB/s")
    for name, (count, m, k, n) in wanted.items():
        a, b = torch.randn(count, m, k, **how), torch.randn(count, k, n, **how)
        out = torch.empty(count, m, n, **how)
        call = lambda a=a, b=b, out=out: torch.bmm(a, b, out=out)  # noqa: E731
        measure(name, call, 2e-12 * count * m * k * n, "TFLOP/s")
        del a, b, out, call
    report(f"Ceilings, {args.dtype}", ["what", "ms", "rate"], rows, figures, args)


if __name__ == "__main__":
    main()
