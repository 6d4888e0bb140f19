"""Trained models in Python: open a checkpoint, translate with it, look into it.

The folder of the checkpoint holds what turns text into the model's input: ``dict.SOURCE.txt`` and
``dict.TARGET.txt`` (``dict.txt`` of a language model), and ``sentencepiece.model``::

    from nmt_moe.trained import load

    model = load("run/checkpoint_best.pt", device="cuda")
    translate = model.translator(beam=4)
    translate(["Two dogs run through the snow."])

What the commands that translate, report and score share belongs here: how a model is opened
(:mod:`~nmt_moe.trained.loading`), what it is (:mod:`~nmt_moe.trained.model`), its vocabulary, and
the search.
"""

import importlib
from typing import Any

_LAZY = {"load": "loading", "TrainedModel": "model", "Encoder": "model", "Translator": "translator"}


def __getattr__(name: str) -> Any:  # the parser of a command imports this package without torch
    if name in _LAZY:
        return getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
