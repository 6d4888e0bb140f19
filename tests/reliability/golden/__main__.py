"""Write the golden files, or show how far other numbers are from them.

``python -m tests.reliability.golden`` writes a file for each kind of gate, after a change that is
meant to change numbers; ``--compare`` writes nothing and prints the differences.
"""

import argparse
import tempfile
from pathlib import Path

import torch

from tests.reliability.golden.files import FOLDER, read, write
from tests.reliability.golden.runs import KINDS, PRECISIONS, prepare, run


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.reliability.golden", description=__doc__)
    parser.add_argument("--kind", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--precision", nargs="+", choices=PRECISIONS, default=list(PRECISIONS))
    parser.add_argument("--out", type=Path, default=FOLDER, help="a folder (default: this one)")
    parser.add_argument("--compare", action="store_true", help="print differences, write nothing")
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = prepare(folder)
        for kind in args.kind:
            runs = {p: run(data, kind, p, folder / f"{kind}-{p}") for p in args.precision}
            if not args.compare:
                write(args.out / f"{kind}.txt", runs)
                continue
            for precision, found in runs.items():
                kept = read(FOLDER / f"{kind}.txt")[precision]
                apart = [abs(a / b - 1) for a, b in zip(found.losses, kept.losses, strict=True)]
                texts = zip(found.translations, kept.translations, strict=True)
                other = sum(a[1] != b[1] for a, b in texts)
                print(
                    f"{kind} {precision}: first {apart[0]:.1e}, 10 {max(apart[:10]):.1e}, "
                    f"50 {max(apart[:50]):.1e}, 100 {max(apart):.1e}, {other} other translations"
                )


if __name__ == "__main__":
    main()
