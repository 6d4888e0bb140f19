"""A whole update whenever a line comes in, for before.py; a line goes out when it is done.

PYTHONPATH says of which version of this repository the package and contenders.py are, so this
imports nothing else of it, and those names alone that every version has. The argument is in JSON:
the file of the batch, and what before.py's options say.
"""

import json
import logging
import os
import sys
import warnings

import torch
from contenders import CONTENDERS, PAPER, SMALL, make_trainer, update

import nmt_moe


def main() -> None:
    """Build the model, and wait for lines."""
    options = json.loads(sys.argv[1])
    # Answers alone go out: whatever else is printed goes to the errors.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    logging.disable(logging.INFO)
    warnings.simplefilter("ignore")
    torch.set_num_threads(options["threads"])
    torch.manual_seed(1)
    sizes = SMALL if options["quick"] else PAPER | {"moe_experts": options["experts"]}
    model = CONTENDERS["lstm_moe"](sizes, options["vocabulary"])
    arguments = ["--amp"] if options["dtype"] == "bfloat16" else []
    trainer = make_trainer(model, options["vocabulary"], "cpu", *arguments)
    sample = torch.load(options["batch"])
    print(f"answer: {nmt_moe.__file__}", file=answers, flush=True)
    for _ in sys.stdin:
        update(trainer, sample)
        print("answer: done", file=answers, flush=True)


if __name__ == "__main__":
    main()
