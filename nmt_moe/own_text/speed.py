"""How fast this machine trains, before there is anything to train with: a few steps of a model."""

import time

import torch
from torch.nn.functional import cross_entropy

from nmt_moe.own_text.choices import model_of, table, work
from nmt_moe.own_text.machine import Machine

_LIKE = "medium", 4000, {"moe-experts": 16, "moe-k": 2}
"""The size that is tried, its vocabulary and experts: that of recipes/multi30k.sh."""
_SENTENCE = 20  # wordpieces
_STEPS, _SECONDS = 3, 3.0  # the fewest, and as long as there are more


def multiply_adds(machine: Machine) -> float | None:
    """Those of a training in a second on all cores of this machine; None of GPUs."""
    if machine.gpus:
        return None
    name, vocabulary, experts = _LIKE
    size, common = table()["sizes"][name], table()["common"]
    model = model_of({**common, **size, **experts}, vocabulary)
    pieces_BS = torch.randint(4, vocabulary, (size["batch"] // _SENTENCE, _SENTENCE))
    lengths_B = torch.full(pieces_BS.shape[:1], _SENTENCE)
    fastest, end, steps = float("inf"), time.monotonic() + _SECONDS, 0
    while steps < _STEPS or time.monotonic() < end:
        begun = time.monotonic()
        with torch.autocast("cpu", torch.bfloat16, enabled=machine.bf16):
            scores_BTV = model(pieces_BS, lengths_B, pieces_BS)[0]
        cross_entropy(scores_BTV.flatten(0, 1), pieces_BS.flatten()).backward()
        fastest, steps = min(fastest, time.monotonic() - begun), steps + 1
    return work(model) * pieces_BS.numel() / fastest
