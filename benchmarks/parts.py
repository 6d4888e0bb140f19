"""Where the time of an update goes: one update of lstm_moe under torch.profiler, by part.

A part is a piece of the model or of fairseq's trainer. What the backward pass runs belongs to the
part whose forward operation it differentiates, as autograd's numbers say. On a GPU the time is that
of the kernels which a part has started; "gaps" is where no kernel ran, as the host had not yet
started one. On a CPU it is that of the operations themselves. The profiler slows the host down, so
gaps are compared with the seconds of the same updates without it.
"""

import functools
from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from contenders import CONTENDERS, PAPER, SMALL, batch, make_trainer, update
from harness import middle, parser, report, start, take_turns
from torch.autograd.profiler_util import FunctionEvent, Kernel
from torch.profiler import ProfilerActivity, profile, record_function

from nmt_moe.models.feed_forward import FeedForward
from nmt_moe.models.lstm import LSTM, AttentionLSTM

MARK, GRADIENT, REST = "part: ", "autograd::engine::evaluate_function", "all else"
PARTS = {AttentionLSTM: "decoder layer 1", LSTM: "LSTM layers", FeedForward: "feed-forward layers"}
OPTIMIZER = ("step", "clip_grad_norm", "multiply_grads", "all_reduce_grads", "zero_grad")
LOGGING = ("_reduce_and_log_stats", "_sync_stats", "_check_grad_norms")
WORDS, SHOWN = 50, 40


def mark(owner: Any, method: str, part: str) -> None:
    """Let the profiler know whenever that method of that object runs."""
    function = getattr(owner, method)

    @functools.wraps(function)
    def marked(*args: Any, **more: Any) -> Any:
        with record_function(MARK + part):
            return function(*args, **more)

    object.__setattr__(owner, method, marked)


def mark_all(trainer: Any) -> None:
    """The parts of an update; the innermost one counts."""
    model = trainer.model
    for module in model.modules():
        for kind, part in PARTS.items():
            if isinstance(module, kind):
                mark(module, "forward", part)
                break
    mark(model.decoder, "output_layer", "output product")
    for owner, method in (
        *((model, "forward"), (model.encoder, "forward")),
        *((model.decoder, "forward"), (model.decoder, "extract_features")),
    ):
        mark(owner, method, "rest of the model")
    mark(trainer.criterion, "forward", "loss")
    for method in OPTIMIZER:
        mark(trainer.optimizer, method, "optimizer")
    for method in LOGGING:
        mark(trainer, method, "logging")
    mark(trainer, "_prepare_sample", "batch to the device")


def parts_of(events: Iterable[FunctionEvent]) -> dict[str, dict[str, float]]:
    """Of each part the seconds on the device and on the host, and how many kernels it started."""
    on_host = [e for e in events if e.device_type == torch.autograd.DeviceType.CPU]
    forward: dict[int, FunctionEvent] = {}
    for event in sorted(on_host, key=lambda e: e.time_range.start):
        # The number is that of the next operation to differentiate: the last that read it, is it.
        if event.sequence_nr >= 0 and not _in_gradient(event):
            forward[event.sequence_nr] = event
    found: dict[str, dict[str, float]] = defaultdict(lambda: {"device": 0, "host": 0, "kernels": 0})
    for event in on_host:
        part = found[_part(event, forward)]
        part["host"] += event.self_cpu_time_total / 1e6
        for kernel in _kernels(event):
            part["device"] += kernel.duration / 1e6
            part["kernels"] += 1
    return dict(found)


def _kernels(event: FunctionEvent) -> list[Kernel]:
    """Those that it has started itself; a range of the profiler's has itself among them."""
    return [kernel for kernel in event.kernels if kernel.name != event.name]


def _in_gradient(event: FunctionEvent | None) -> bool:
    while event is not None:
        if event.name.startswith(GRADIENT):
            return True
        event = event.cpu_parent
    return False


def _part(event: FunctionEvent | None, forward: dict[int, FunctionEvent]) -> str:
    while event is not None:
        if event.name.startswith(MARK):
            return event.name.removeprefix(MARK)
        if event.name.startswith(GRADIENT) and event.sequence_nr in forward:
            return _part(forward[event.sequence_nr], {})
        event = event.cpu_parent
    return REST


def busy(events: Iterable[FunctionEvent]) -> tuple[float, float]:
    """Seconds from the first kernel to the end of the last, and those in which one ran."""
    spans = sorted(
        (e.time_range.start, e.time_range.end)
        for e in events
        if e.device_type == torch.autograd.DeviceType.CUDA
        and not e.is_user_annotation
        and not e.name.startswith(MARK)
    )
    ran, until = 0.0, spans[0][0] if spans else 0.0
    for began, ended in spans:
        ran += max(0.0, ended - max(began, until))
        until = max(until, ended)
    return (until - spans[0][0]) / 1e6 if spans else 0.0, ran / 1e6


def largest(events: Iterable[FunctionEvent]) -> list[list[Any]]:
    """The kernels that take longest together: name, how often, seconds."""
    count: Counter[str] = Counter()
    seconds: Counter[str] = Counter()
    for event in events:
        for kernel in _kernels(event):
            count[kernel.name] += 1
            seconds[kernel.name] += kernel.duration / 1e6
    return [[name, count[name], taken] for name, taken in seconds.most_common(SHOWN)]


def main() -> None:
    """The command line."""
    command = parser(__doc__)
    command.add_argument("--sentences", type=int, nargs="+", default=[512, 2048])
    command.add_argument("--length", type=int, default=32, help="of a sentence, with its end")
    command.add_argument("--vocabulary", type=int, default=32_000)
    command.add_argument("--model", choices=list(CONTENDERS), default="lstm_moe")
    args = command.parse_args()
    start(args)
    sizes = PAPER
    if args.quick:
        args.rounds, args.sentences, args.length, args.vocabulary = 2, [4], 6, WORDS
        sizes = SMALL
    narrow = "--amp" if args.device == "cpu" else "--bf16"
    arguments = [narrow] if args.dtype == "bfloat16" else []
    model = CONTENDERS[args.model](sizes, args.vocabulary)
    trainer = make_trainer(model, args.vocabulary, args.device, *arguments)
    rows, figures = [], {}
    kinds = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if args.device == "cuda" else [])
    marked = False
    for sentences in args.sentences:
        sample = batch(sentences, args.length, args.vocabulary)
        seconds = take_turns({"": lambda s=sample: update(trainer, s)}, args.rounds, args.device)
        if not marked:
            mark_all(trainer)
            marked = True
        with profile(activities=kinds) as profiler:
            update(trainer, sample)
            if args.device == "cuda":
                torch.cuda.synchronize()
        events = profiler.events()
        found, whole, tokens = parts_of(events), middle(seconds[""]), f"{sample['ntokens']:,}"
        which = "device" if args.device == "cuda" else "host"
        total = sum(part[which] for part in found.values())
        if not total:
            raise SystemExit("error: the profiler has seen no kernel")
        for name, part in sorted(found.items(), key=lambda item: -item[1][which]):
            row = [name, tokens, f"{1e3 * part[which]:.2f}", f"{part[which] / total:.0%}"]
            rows.append([*row, f"{part['kernels']:,.0f}", f"{1e3 * part['host']:.2f}"])
        span, ran = busy(events)
        if args.device == "cuda":
            rest = f"{1e3 * max(0.0, ran - total):.2f}"
            rows.append(["kernels of no operation", tokens, rest, "", "", ""])
            rows.append(["gaps", tokens, f"{1e3 * max(0.0, whole - ran):.2f}", "", "", ""])
        rows.append(["whole update, not profiled", tokens, f"{1e3 * whole:.2f}", "", "", ""])
        figures[tokens] = {"parts": found, "seconds": seconds[""], "span": span, "busy": ran}
        figures[tokens]["kernels"] = largest(events)
    heads = ["part", "tokens", "ms", "of all parts", "kernels", "host, profiled, ms"]
    report(f"An update of {args.model} by part, {args.dtype}", heads, rows, figures, args)


if __name__ == "__main__":
    main()
