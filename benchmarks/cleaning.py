"""How fast python -m nmt_moe.corpus.clean is, and that its memory does not grow with the corpus.

The corpus of --text (or random words) is repeated to each of the --pairs, with the number of the
round at the end of each line, so that later rounds repeat no pair; every tenth pair comes twice.
Memory is that of the whole process tree: what is shared counts once (the sum of Pss; in part if it
is shared with other programs), and also summed over the processes (Rss). CPU minutes are those of
all processes, start included. Linux.
"""

import argparse
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path
from typing import Any

from nmt_moe.corpus.clean.reading import find, read_chunks
from nmt_moe.corpus.workers import cores

LANGUAGES = ("en", "de")
_INTERVAL = 0.05  # seconds between two looks at the memory
TARGET = 200_000  # pairs per minute and core


def base(prefixes: list[Path]) -> list[tuple[bytes, bytes]]:
    """The pairs of the given corpora, or some of random words."""
    pairs = [
        pair
        for prefix in prefixes
        for chunk in read_chunks(*(find(prefix, language) for language in LANGUAGES), str(prefix))
        for pair in zip(chunk.source, chunk.target, strict=True)
    ]
    chance = random.Random(1)
    words = ["".join(chance.choices("abcdefghijklmnoprstuvwäöü", k=1 + n % 9)) for n in range(9000)]
    while not prefixes and len(pairs) < 20_000:
        length = chance.randint(4, 36)
        source, target = (" ".join(chance.choices(words, k=length)) for _ in LANGUAGES)
        pairs.append((source.encode(), target.encode()))
    return pairs


def repeated(pairs: list[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
    """The pairs without end, see above."""
    for turn in count():
        for place, (source, target) in enumerate(pairs):
            pair = (b"%b %d\n" % (source, turn), b"%b %d\n" % (target, turn))
            yield pair
            if place % 10 == 0:
                yield pair


def write(pairs: list[tuple[bytes, bytes]], number: int, prefix: Path) -> int:
    """Write so many pairs; returns their bytes."""
    sides = [prefix.with_name(f"{prefix.name}.{language}") for language in LANGUAGES]
    with sides[0].open("wb") as left, sides[1].open("wb") as right:
        for source, target in islice(repeated(pairs), number):
            left.write(source)
            right.write(target)
    return sum(path.stat().st_size for path in sides)


def tree(root: int) -> Iterator[int]:
    """The process and all that come from it."""
    parents = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            stat = (entry / "stat").read_text()
        except OSError:
            continue
        parents[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])
    found = {root}
    while new := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= new
    yield from found


def memory(root: int) -> list[int]:
    """Pss, Rss and Pss without files of a process tree, bytes."""
    found = [0, 0, 0]
    for pid in tree(root):
        try:
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue
        sizes = dict(re.findall(r"^(Pss|Rss|Pss_Anon):\s+(\d+) kB", text, re.MULTILINE))
        for place, name in enumerate(("Pss", "Rss", "Pss_Anon")):
            found[place] += int(sizes.get(name, 0)) * 1024
    return found


def measure(command: list[str]) -> dict[str, Any]:
    """Run it to its end: seconds, CPU seconds of all its processes, and peaks of memory."""
    before, start = os.times(), time.monotonic()
    peaks = [0, 0, 0]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    over = threading.Event()

    def watch() -> None:
        while not over.wait(_INTERVAL):
            for place, size in enumerate(memory(process.pid)):
                peaks[place] = max(peaks[place], size)

    watcher = threading.Thread(target=watch)
    watcher.start()
    code = process.wait()
    seconds = time.monotonic() - start
    over.set()
    watcher.join()
    if code:
        raise SystemExit(f"{' '.join(command)}: ended with {code}")
    after = os.times()
    cpu = after.children_user + after.children_system
    cpu -= before.children_user + before.children_system
    sizes = dict(zip(("pss", "rss", "pss_without_files"), peaks, strict=True))
    return {"seconds": seconds, "cpu_seconds": cpu, **sizes}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--text", nargs="+", type=Path, default=[], metavar="PREFIX",
        help="corpora, PREFIX.en and PREFIX.de or .gz (default: random words)",
    )  # fmt: skip
    parser.add_argument("--pairs", nargs="+", type=int, default=[500_000, 5_000_000])
    parser.add_argument("--workers", type=int, default=cores())
    parser.add_argument("--folder", type=Path, help="for the text (default: a temporary one)")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("options", nargs="*", help="of clean, after --")
    args = parser.parse_args()
    pairs = base(args.text)
    figures = []
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        for number in args.pairs:
            prefix, out = Path(folder, "text"), Path(folder, "clean")
            size = write(pairs, number, prefix)
            command = [
                *(sys.executable, "-m", "nmt_moe.corpus.clean", "--langs", *LANGUAGES),
                *("--workers", str(args.workers), "--out", str(out), *args.options, str(prefix)),
            ]
            found = measure(command)
            speed = number / found["cpu_seconds"] * 60
            figures.append({"pairs": number, "bytes": size, "per_minute_and_core": speed, **found})
    if args.json:
        print(json.dumps({"workers": args.workers, "sizes": figures}))
        return
    print(f"{args.workers} workers; {TARGET:,} pairs per minute and core are asked for")
    print(f"{'pairs':>12} {'text':>10} {'time':>9} {'per CPU minute':>15} {'Pss':>9} {'Rss':>9}")
    for found in figures:
        print(
            f"{found['pairs']:12,} {found['bytes'] / 2**20:6.0f} MiB {found['seconds']:7.1f} s "
            f"{found['per_minute_and_core']:15,.0f} {found['pss'] / 2**20:5.0f} MiB "
            f"{found['rss'] / 2**20:5.0f} MiB"
        )


if __name__ == "__main__":
    main()
