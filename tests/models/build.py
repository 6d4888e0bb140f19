"""Small models and batches for tests."""

import torch
from fairseq.data import Dictionary
from torch import Tensor, nn

from nmt_moe.models.architectures import build, config

WORDS = 20
SMALL = dict(dim=8, lstm_cells=8, moe_experts=4, moe_k=2, moe_hidden_dim=6, dropout=0.0)


def dictionary(words: int = WORDS) -> Dictionary:
    result = Dictionary()
    for number in range(words):
        result.add_symbol(f"w{number}")
    return result


def build_model(arch: str = "lstm_moe", **options) -> nn.Module:
    """A model of ``SMALL`` size with gates away from their initial zeros."""
    model = build(config(arch, SMALL | options), len(dictionary()))
    for name, parameter in model.named_parameters():
        if ".gate." in name and not name.endswith(".threshold"):
            torch.nn.init.normal_(parameter)
    return model


def pad_batch(sentences: list[list[int]], pad: int, left: bool) -> Tensor:
    """Sentences of word numbers as one ``[B, S]`` tensor."""
    width = max(map(len, sentences))
    rows = [
        [pad] * (width - len(s)) + s if left else s + [pad] * (width - len(s)) for s in sentences
    ]
    return torch.tensor(rows)


SOURCE = [[5, 6, 7, 8, 2], [9, 10, 2], [11, 2]]
TARGET = [[2, 4, 5, 6], [2, 7, 8, 9, 10, 11], [2, 12]]
