"""Beam search: sentences per second in batches, and seconds for one sentence alone.

The contenders are those of train_step.py that fairseq can search with. All of them have random
weights and are made to write equally many tokens, so each does equally many steps; a trained model
ends most sentences earlier. The search is --task gnmt_translation's with a beam of 4.

Before it is timed, in small: the probability of every token that a contender's search returns is
compared with the same model's in float64 (of int8 in int8), reading the whole translation at once.
"""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch
from contenders import CONTENDERS, PAPER, SMALL, batch, ops
from harness import DTYPES, middle, parser, ratios, report, start, take_turns
from torch import nn

from nmt_moe.models.architectures import dictionary
from nmt_moe.models.quantized.model import quantize
from nmt_moe.tasks.gnmt_translation import GNMTTranslationConfig, GNMTTranslationTask

WORDS = 50
INT8 = "lstm_moe int8"
NAMES = [name for name in CONTENDERS if name != "joeynmt"]  # has no step-by-step decoder here
NAMES.insert(1, INT8)


def prepare(name: str, sizes: dict[str, Any], vocabulary: int) -> nn.Module:
    """The contender's model, its gates away from their initial zeros, which prefer no expert."""
    torch.manual_seed(1)
    model = CONTENDERS[kind(name)](sizes, vocabulary).eval()
    for parameter, value in model.named_parameters():
        if parameter.endswith("gate.w_gate"):
            nn.init.normal_(value, std=len(value) ** -0.5)
    return quantize(model) if name == INT8 else model


def kind(name: str) -> str:
    """The contender that it is in float32."""
    return "lstm_moe" if name == INT8 else name


def search(
    model: nn.Module, sample: dict[str, Any], length: int, vocabulary: int
) -> Callable[[], list[list[dict[str, Any]]]]:
    """Translate the batch into sentences of ``length`` tokens, the end included."""
    words = dictionary(vocabulary)
    task = GNMTTranslationTask(GNMTTranslationConfig(), words, words)
    args = SimpleNamespace(beam=4, max_len_a=0, max_len_b=length - 1, min_len=length - 1)
    generator = task.build_generator([model], args)
    return lambda: task.inference_step(generator, [model], sample)


@torch.no_grad()
def check(name: str) -> None:
    """Raise :class:`SystemExit` if a search's probabilities are not the model's own."""
    model = prepare(name, SMALL, WORDS)
    sample = batch(3, 5, WORDS)
    found = search(model, sample, 6, WORDS)()
    # In int8 a number between two may be rounded another way if its last bits differ.
    model, most = (model, 0.02) if name == INT8 else (model.double(), 1e-4)
    for row, hypotheses in enumerate(found):
        source = sample["net_input"]["src_tokens"][row : row + 1]
        for hypothesis in hypotheses:
            tokens = hypothesis["tokens"]
            before = tokens.roll(1)[None]
            logits = model(source, torch.tensor([source.shape[1]]), before)[0][0].double()
            right = logits.log_softmax(1).gather(1, tokens[:, None]).squeeze(1)
            error = (hypothesis["positional_scores"] - right).abs().max()
            if len(tokens) != 6 or not error < most:
                raise SystemExit(f"error: the search with {name} is wrong by {error:.1e}")


def to_device(sample: dict[str, Any], device: str) -> dict[str, Any]:
    """What the search reads of a batch."""
    return {"net_input": {name: x.to(device) for name, x in sample["net_input"].items()}}


def main() -> None:
    """The command line."""
    command = parser(__doc__)
    command.add_argument("--sentences", type=int, default=32, help="in a batch")
    command.add_argument("--length", type=int, default=25, help="of source and translation")
    command.add_argument("--vocabulary", type=int, default=32_000)
    command.add_argument("--experts", type=int, default=PAPER["moe_experts"])
    command.add_argument("--leave-out", nargs="+", default=[], choices=NAMES)
    command.set_defaults(rounds=5)
    args = command.parse_args()
    start(args)
    sizes = SMALL if args.quick else PAPER | {"moe_experts": args.experts}
    if args.quick:
        args.rounds, args.sentences, args.length, args.vocabulary = 2, 3, 5, WORDS
    left_out = set(args.leave_out)
    if (args.device, args.dtype) != ("cpu", "float32"):
        left_out.add(INT8)
    names = [name for name in NAMES if name not in left_out]
    for name in names:
        check(name)

    seconds = {}
    models = {
        name: prepare(name, sizes, args.vocabulary).to(args.device, DTYPES[args.dtype])
        for name in names
    }
    for way, sentences in {"batch": args.sentences, "alone": 1}.items():
        sample = to_device(batch(sentences, args.length, args.vocabulary), args.device)
        turns = {
            name: search(model, sample, args.length, args.vocabulary)
            for name, model in models.items()
        }
        seconds[way] = take_turns(turns, args.rounds, args.device)
    rows = []
    for name in names:
        cost = ops(CONTENDERS[kind(name)], sizes, args.vocabulary)
        row = [name, f"{cost / 1e6:.1f} M"]
        for way, sentences in {"batch": args.sentences, "alone": 1}.items():
            each = middle(seconds[way][name]) / sentences
            row.append(f"{1 / each:.2f}" if way == "batch" else f"{each:.3f}")
            against = ratios(seconds[way], name, "dense twin") if "dense twin" in names else ""
            row.append(against)
        rows.append(row)
    heads = ["model", "ops/timestep", f"sentences/s, {args.sentences} at a time"]
    heads += ["times dense twin's", "seconds for one", "times dense twin's"]
    report(f"Beam 4, {args.length} tokens", heads, rows, {"seconds": seconds}, args)


if __name__ == "__main__":
    main()
