"""Training, validation and test sentences, drawn from the templates by seed.

Every template gets the same number of sentences, or all it has if it has fewer. Training comes
first; validation and test then take the next new sentences of each template whose every word, in
all three languages, occurs in the training text. English sides are therefore the same for both
target languages, and differ between the splits.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import islice

from nmt_moe.common.errors import UserError
from nmt_moe.corpus.phrasebook.render import TEMPLATES, Sentence, pairs_available, render, size
from nmt_moe.corpus.phrasebook.sampling import part, shares, shuffled
from nmt_moe.corpus.phrasebook.template import LANGUAGES, Template

SPLITS = ("train", "valid", "test")
# How many sentences in a row may have an unknown word before a template is given up.
PATIENCE = 500

Words = set[tuple[str, str]]


def words(sentence: Sentence) -> Words:
    """Return the words of a sentence as (language, word), split at spaces, punctuation kept."""
    return {(lang, word) for lang in LANGUAGES for word in sentence.text(lang).split()}


def stream(template: Template, seed: int, seen: set[str]) -> Iterator[Sentence]:
    """Yield the sentences of a template in random order, none with an English side in ``seen``.

    The order depends on the seed and the template's own text, not on the other templates.
    """
    rng = random.Random(f"{seed} {template.en}")
    for index in shuffled(size(template), rng):
        sentence = render(template, index)
        if sentence.en not in seen:
            seen.add(sentence.en)
            yield sentence


def known(sentences: Iterator[Sentence], vocabulary: Words) -> Iterator[Sentence]:
    """Yield the sentences that have only known words, until too many in a row have others."""
    missed = 0
    for sentence in sentences:
        if words(sentence) <= vocabulary:
            missed = 0
            yield sentence
        else:
            missed += 1
            if missed == PATIENCE:
                return


def held_out(sources: list[Iterator[Sentence]], quotas: list[int]) -> list[Sentence]:
    """Take each source's quota; what a source lacks, the others give in turn."""
    wanted = sum(quotas)
    taken = [
        sentence
        for source, quota in zip(sources, quotas, strict=True)
        for sentence in islice(source, quota)
    ]
    while len(taken) < wanted and sources:
        still = []
        for source in sources:
            extra = next(source, None)
            if extra is not None:
                taken.append(extra)
                still.append(source)
        sources = still
    return taken[:wanted]


def build(train: int, valid: int, test: int, seed: int) -> dict[str, list[Sentence]]:
    """Return the three splits as lists of sentences of the sizes asked for.

    Raises ``UserError`` if the sizes are below one, if there are not that many sentences, or if
    the training text is too small to hold every word of the other two.
    """
    if min(train, valid, test) < 1:
        raise UserError("the numbers of train, valid and test pairs must be at least 1")
    total = train + valid + test
    if total > pairs_available():
        raise UserError(f"{total} pairs asked for, but only {pairs_available()} are available")
    quotas = shares(total, [size(template) for template in TEMPLATES])
    seen: set[str] = set()
    streams = [stream(template, seed, seen) for template in TEMPLATES]

    training_quotas = part(quotas, train)
    training = [
        sentence
        for source, quota in zip(streams, training_quotas, strict=True)
        for sentence in islice(source, quota)
    ]
    vocabulary = set().union(*(words(sentence) for sentence in training))
    others = held_out(
        [known(source, vocabulary) for source in streams],
        [quota - used for quota, used in zip(quotas, training_quotas, strict=True)],
    )
    if len(others) < valid + test:
        raise UserError(
            f"only {len(others)} of {valid + test} validation and test sentences have all their "
            f"words in {train} training sentences: ask for more training pairs or fewer others"
        )
    testing = part([1] * len(others), test)
    splits = {
        "train": training,
        "valid": [item for item, chosen in zip(others, testing, strict=True) if not chosen],
        "test": [item for item, chosen in zip(others, testing, strict=True) if chosen],
    }
    for name in SPLITS:
        random.Random(f"{seed} {name}").shuffle(splits[name])
    return splits
