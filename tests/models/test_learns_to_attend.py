"""Both attentions learn to read the source at any width, from the initial weights of the models.

Of copying and reversing the right position is known; of real text, the phrasebook's, the
perplexity falls and attention does not stay with one position.
"""

import math
import random
from collections import Counter

import pytest
import torch
from torch import Tensor, nn

from nmt_moe.corpus.phrasebook.generate import build as phrasebook
from nmt_moe.criterions.attention import attention_sums, figures
from nmt_moe.criterions.cross_entropy import smoothed_cross_entropy
from nmt_moe.models.architectures import build, config
from nmt_moe.models.attention import ATTENTIONS
from tests.models.build import pad_batch

EOS, PAD, FIRST = 2, 1, 4
UPDATES = {128: 150, 512: 90}


def build_model(dim: int, attention: str, words: int) -> nn.Module:
    options = dict(dim=dim, lstm_cells=dim, encoder_layers=1, decoder_layers=1, dropout=0.0)
    options |= dict(encoder_moe_after="", decoder_moe_after="")
    options |= dict(feed_forward="none", encoder_bidirectional=True, attention=attention)
    return build(config("lstm_moe", options), words)


def learn(model: nn.Module, batches: list[tuple[Tensor, Tensor]]) -> float:
    """Train on pairs of source and target, padded right; the perplexity of the last ten."""
    optimizer = torch.optim.Adam(model.parameters(), betas=(0.9, 0.98), fused=True)
    warmup, losses = 30, []
    for update, (source, target) in enumerate(batches, start=1):
        for group in optimizer.param_groups:
            group["lr"] = 0.002 * min(update / warmup, (warmup / update) ** 0.5)
        read = torch.cat([torch.full_like(target[:, :1], EOS), target[:, :-1]], dim=1)
        read = read.masked_fill(target == PAD, PAD)
        logits, _ = model(source, None, read)
        loss, nll = smoothed_cross_entropy(logits.flatten(0, 1), target.flatten(), 0.1, PAD)
        tokens = (target != PAD).sum()
        optimizer.zero_grad()
        (loss / tokens).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(nll.item() / tokens.item())
    return math.exp(sum(losses[-10:]) / 10)


def sequences(chance: torch.Generator, task: str, size: int = 24) -> tuple[Tensor, Tensor]:
    """Sequences of one length of 3 to 5 different symbols, and the same copied or reversed."""
    length = int(torch.randint(3, 6, (1,), generator=chance))
    source = torch.rand(size, 12, generator=chance).argsort(1)[:, :length] + FIRST
    end = torch.full((size, 1), EOS)
    target = source if task == "copy" else source.flip(1)
    return torch.cat([source, end], 1), torch.cat([target, end], 1)


def real_text(chance: random.Random, updates: int, size: int = 16) -> tuple[list, int]:
    """Batches of short sentences of the phrasebook, word for word, and the size of their
    vocabulary; words that are rare are one."""
    lines = [
        (pair.en.split(), pair.text("de").split()) for pair in phrasebook(2000, 1, 1, 1)["train"]
    ]
    pairs = [pair for pair in lines if all(3 <= len(words) <= 7 for words in pair)]
    counts = Counter(word for pair in pairs for words in pair for word in words)
    number = {word: FIRST + rank for rank, (word, _) in enumerate(counts.most_common(300))}
    batches = []
    for _ in range(updates):
        sides = zip(*chance.sample(pairs, size), strict=True)
        batches.append(
            tuple(
                pad_batch([[number.get(w, 3) for w in words] + [EOS] for words in side], PAD, False)
                for side in sides
            )
        )
    return batches, FIRST + len(number)


def sums(model: nn.Module, source: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """The attention ``[B, L, S]`` while the target is read, and its sums."""
    read = torch.cat([torch.full_like(target[:, :1], EOS), target[:, :-1]], dim=1)
    read = read.masked_fill(target == PAD, PAD)
    with torch.no_grad():
        attn = model(source, None, read)[1]["attn"][0]
    return attn, attention_sums(attn, source, read, PAD)


@pytest.mark.slow
@pytest.mark.parametrize("dim", [128, 512])
@pytest.mark.parametrize("kind", ATTENTIONS)
@pytest.mark.parametrize("task", ["reverse"])  # which is harder than to copy
def test_copy_and_reverse(task, kind, dim):
    torch.manual_seed(1)
    chance = torch.Generator().manual_seed(1)
    model = build_model(dim, kind, words=12 + FIRST)
    perplexity = learn(model, [sequences(chance, task) for _ in range(UPDATES[dim])])
    assert perplexity < 2.2
    source, target = sequences(chance, task, 100)
    attn, sums_6 = sums(model, source, target)
    length = target.shape[1] - 1
    place_L = torch.arange(length) if task == "copy" else torch.arange(length).flip(0)
    # Before the first step there is no output, and a multiplicative query of zeros is uniform.
    beside = (attn[:, 1:length].argmax(2) - place_L[1:]).abs() <= 1
    assert beside.float().mean() > 0.8
    found = figures(sums_6)
    assert found["stuck"] < 0.2 and found["last_share"] < 0.5


@pytest.mark.slow
@pytest.mark.parametrize("dim", [128, 512])
@pytest.mark.parametrize("kind", ATTENTIONS)
def test_real_text(kind, dim):
    torch.manual_seed(1)
    batches, words = real_text(random.Random(1), 60 if dim == 512 else UPDATES[dim])
    model = build_model(dim, kind, words)
    assert learn(model, batches) < 4
    # Of such short sentences the end tells much, so early in a training it has much of the weight.
    assert figures(sum(sums(model, *batch)[1] for batch in batches[-10:]))["stuck"] < 0.5
