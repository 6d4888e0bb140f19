"""A whole update of a model whenever its name comes in, for before.py; what it took goes out.

PYTHONPATH says of which version of this repository the package and contenders.py are, so this
imports nothing else of it, and those names alone that every version has. The argument is in JSON:
the file of the batch, and what before.py's options say.
"""

import json
import logging
import os
import sys
import time
import warnings
from typing import Any

import torch
from contenders import CONTENDERS, PAPER, SMALL, make_trainer, update

import nmt_moe


def main() -> None:
    """Build the models, and wait for lines."""
    options = json.loads(sys.argv[1])
    # Answers alone go out: whatever else is printed goes to the errors.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    logging.disable(logging.INFO)
    warnings.simplefilter("ignore")
    torch.set_num_threads(options["threads"])
    torch.manual_seed(1)
    sizes = SMALL if options["quick"] else PAPER | {"moe_experts": options["experts"]}
    device, vocabulary = options.get("device", "cpu"), options["vocabulary"]
    narrow = "--amp" if device == "cpu" else "--bf16"
    arguments = [narrow] if options["dtype"] == "bfloat16" else []
    trainers = {
        name: make_trainer(CONTENDERS[name](sizes, vocabulary), vocabulary, device, *arguments)
        for name in options.get("models", ["lstm_moe"])
    }
    sample = torch.load(options["batch"])
    print(f"answer: {nmt_moe.__file__}", file=answers, flush=True)
    for line in sys.stdin:
        done = measured(trainers[line.strip()], sample, device)
        print(f"answer: {json.dumps(done)}", file=answers, flush=True)


def measured(trainer: Any, sample: dict[str, Any], device: str) -> dict[str, float]:
    """An update: its ``seconds``, the ``loss`` before it and the ``memory`` in bytes at most."""
    if device == "cpu":
        began = time.perf_counter()
        loss = update(trainer, sample)
        return {"seconds": time.perf_counter() - began, "loss": loss, "memory": 0}
    torch.cuda.reset_peak_memory_stats()
    events = [torch.cuda.Event(enable_timing=True) for _ in range(2)]
    torch.cuda.synchronize()
    events[0].record()
    loss = update(trainer, sample)
    events[1].record()
    torch.cuda.synchronize()
    memory = torch.cuda.max_memory_allocated()
    return {"seconds": events[0].elapsed_time(events[1]) / 1000, "loss": loss, "memory": memory}


if __name__ == "__main__":
    main()
