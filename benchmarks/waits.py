"""Where the host waits for the GPU: in an update, and in a step of a search.

torch says so itself (``torch.cuda.set_sync_debug_mode``), with the line of Python. Of a search the
waits of a step are those of a longer translation over those of a shorter one. On a CPU nothing
waits, and nothing is counted.
"""

import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from contenders import PAPER, SMALL, batch, make_trainer, ours, update
from harness import UNKNOWN, parser, report, start
from searches import SEARCHES, to_device

WORDS, SHORT, LONG = 50, 5, 15
GATES = ("noisy_top_k", "strictly_balanced")
SEARCHED = ("lstm_moe", "dense twin", "fairseq lstm", "fairseq transformer")


@contextmanager
def counted(device: str) -> Iterator[Counter[str]]:
    """Filled at its end: how often each line of Python has waited."""
    found: Counter[str] = Counter()
    if device == "cpu":
        yield found
        return
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield found
        finally:
            torch.cuda.set_sync_debug_mode("default")
    for one in said:
        if "synchroniz" in str(one.message):
            found["/".join(Path(one.filename).parts[-3:]) + f":{one.lineno}"] += 1


def of_call(call: Callable[[], object], device: str) -> Counter[str]:
    """Those of a second call: the first one compiles."""
    call()
    with counted(device) as found:
        call()
    return found


def main() -> None:
    """The command line."""
    command = parser(__doc__)
    command.add_argument("--sentences", type=int, default=64)
    command.add_argument("--vocabulary", type=int, default=32_000)
    args = command.parse_args()
    start(args)
    sizes = PAPER
    if args.quick:
        args.sentences, args.vocabulary, sizes = 3, WORDS, SMALL
    known = args.device != "cpu"
    rows, figures = [], {}
    narrow = ["--bf16"] if args.dtype == "bfloat16" and known else []
    for gate in GATES:
        model = ours(sizes, args.vocabulary, moe_gating=gate)
        trainer = make_trainer(model, args.vocabulary, args.device, *narrow)
        sample = batch(args.sentences, LONG, args.vocabulary)
        found = of_call(lambda t=trainer, s=sample: update(t, s), args.device)
        rows.append([f"update, {gate}", str(found.total()) if known else UNKNOWN])
        figures[f"update, {gate}"] = dict(found.most_common())
        del model, trainer
    for name in SEARCHED:
        made = SEARCHES[name](sizes, args.vocabulary, args)
        sample = to_device(batch(args.sentences, SHORT, args.vocabulary), args.device)
        with torch.no_grad():
            short, long = (
                of_call(made.prepare(sample, length), args.device) for length in (SHORT, LONG)
            )
        each = (long.total() - short.total()) / (LONG - SHORT)
        rows.append([f"step of a search, {name}", f"{each:.1f}" if known else UNKNOWN])
        figures[f"step of a search, {name}"] = {"each": each, "lines": dict(long.most_common())}
    report("Waits of the host for the GPU", ["where", "waits"], rows, figures, args)


if __name__ == "__main__":
    main()
