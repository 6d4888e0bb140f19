"""Parallel text for any pairs of languages: labels, and sentences where both sides have templates.

A pair of English, German and French is half sentences and half labels; any other is labels. What
a label says decides its split, and sentences have the same splits for all pairs, so no pair trains
on what another one is tested on, in whatever language.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from nmt_moe.common.errors import UserError
from nmt_moe.common.languages import same
from nmt_moe.corpus.phrasebook.generate import SPLITS, build
from nmt_moe.corpus.phrasebook.labels import KINDS, LANGUAGES, Kind
from nmt_moe.corpus.phrasebook.sampling import shares, shuffled
from nmt_moe.corpus.phrasebook.template import LANGUAGES as TEMPLATE_LANGUAGES

Texts = list[tuple[str, str]]

# Of 20 labels in their random order, the first is for the test text, the second for validation.
_TURNS = 20


def expand(words: Iterable[str]) -> list[str]:
    """Return the pairs that are asked for: ``en-de`` itself, ``de`` for both en-de and de-en.

    Languages get the codes that the phrasebook has for them.

    Raises:
        UserError: an unknown language, or a language with itself.
    """
    pairs: list[str] = []
    for word in words:
        if re.fullmatch("[a-z]{2,3}-([A-Z]{2}|[A-Z][a-z]{3})", word):  # pt-BR, zh-Hant
            word = same(word, LANGUAGES) or word
        pairs += [word] if "-" in word else [f"en-{word}", f"{word}-en"]
    found = []
    for pair in pairs:
        sides = []
        for code in pair.split("-", 1):
            known = None if "-" in code else same(code, LANGUAGES)
            if known is None:
                raise UserError(
                    f"the phrasebook has no language {code!r}: choose from {' '.join(LANGUAGES)}"
                )
            sides.append(known)
        if sides[0] == sides[1]:
            raise UserError(f"{pair}: a pair has two different languages")
        found.append("-".join(sides))
    return list(dict.fromkeys(found))


def build_pairs(
    pairs: Sequence[str], train: int, valid: int, test: int, seed: int
) -> Iterator[tuple[str, dict[str, Texts]]]:
    """Yield each pair with its splits, of the sizes asked for, as (source, target) texts.

    A size of one has no half: then all splits of all pairs are labels alone.

    Raises:
        UserError: sizes below one, or more than there is.
    """
    sizes = dict(zip(SPLITS, (train, valid, test), strict=True))
    if min(sizes.values()) < 1:
        raise UserError("the numbers of train, valid and test pairs must be at least 1")
    halves = {split: number // 2 for split, number in sizes.items()}
    sentences = None
    for pair in pairs:
        source, target = pair.split("-")
        splits: dict[str, Texts] = {split: [] for split in SPLITS}
        if {source, target} <= set(TEMPLATE_LANGUAGES) and min(halves.values()):
            sentences = sentences or build(**halves, seed=seed)
            for split, drawn in sentences.items():
                splits[split] = [(item.text(source), item.text(target)) for item in drawn]
        kinds = [kind for kind in KINDS if kind.known(source) and kind.known(target)]
        for split, number in sizes.items():
            splits[split] += [
                (kind.text(index, source), kind.text(index, target))
                for kind, index in labels(kinds, split, number - len(splits[split]), seed)
            ]
            random.Random(f"{seed} {split} {pair}").shuffle(splits[split])
        yield pair, splits


def labels(kinds: Sequence[Kind], split: str, number: int, seed: int) -> Iterator[tuple[Kind, int]]:
    """Yield as many labels of a split as asked for, evenly of the kinds, by kind and index.

    Raises:
        UserError: there are not so many.
    """
    for kind, quota in zip(kinds, shares(number, [number] * len(kinds)), strict=True):
        order = enumerate(shuffled(kind.size(), random.Random(f"{seed} {kind}")))
        mine = (index for place, index in order if _split(place) == split)
        drawn = list(islice(mine, quota))
        if len(drawn) < quota:
            raise UserError(
                f"{number:,} {split} labels asked for, {quota:,} of each kind, but one kind has "
                f"only {len(drawn):,}: ask for fewer pairs"
            )
        yield from ((kind, index) for index in drawn)


def _split(place: int) -> str:
    return {0: "test", 1: "valid"}.get(place % _TURNS, "train")
