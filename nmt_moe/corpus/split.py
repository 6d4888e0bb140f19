"""Dividing parallel text into training, validation and test sets that have no sentence in common.

Sentences are compared without case, punctuation, spaces and what NFKC makes equal, by hashes of 64
bits, those of both sides together. A hash of a pair's source sentence and the place of the pair in
its source decide which set the pair is for: validation and test each get 5% of the first 1,000
pairs, 2% up to 5,000, 1% up to 250,000 and then ever less, so that a million give 3,400. Nothing
that follows changes the set of a pair. Where a sentence of it came before, the pair goes to
training if all such pairs did, and is left out otherwise.

The text is read twice. Memory holds the hashes of the held-out sentences alone.
"""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path

from nmt_moe.common.errors import UserError, suggestion
from nmt_moe.common.files import atomic_write, check_no_input
from nmt_moe.common.table import markdown
from nmt_moe.corpus.sources.pair import Pair
from nmt_moe.corpus.sources.source import SPLITS, Source, Split

_SHARES = ((1000, 0.05), (5000, 0.02), (250_000, 0.01))  # of each set, up to the n-th pair
_THEN = 600  # is divided by n, so that the set grows with the logarithm of the text

Counts = Counter[str]
"""Pairs of a source: ``read``, ``empty``, ``train``, ``valid``, ``test``, and ``shared``, which are
left out for a sentence of another set."""


class _Bare(dict[int, int | None]):
    """For ``str.translate``: without punctuation, spaces and control characters."""

    def __missing__(self, char: int) -> int | None:
        self[char] = None if unicodedata.category(chr(char))[0] in "PZC" else char
        return self[char]


_bare = _Bare()


def bare(sentence: str) -> str:
    """What is compared of a sentence; all of it if there are no letters, digits or symbols."""
    plain = sentence if sentence.isascii() else unicodedata.normalize("NFKC", sentence)
    return plain.casefold().translate(_bare) or sentence


def split(
    sources: Sequence[Source],
    out: Path,
    source: str,
    target: str,
    *,
    seed: int = 1,
    repeat: Mapping[str, int] | None = None,
    tested: Iterable[Pair] = (),
) -> dict[str, Counts]:
    """Write ``OUT/{train,valid,test}.{SOURCE,TARGET}``, without pairs that have an empty side.

    Sources for validation and test stay as they are, but that no pair of validation shares a
    sentence with test. Where there are none, the set is taken from the training text.

    Args:
        sources: of one pair of languages; each name is there once.
        out: a folder, made if missing.
        source: the language, for the names of files.
        target: the same.
        seed: of the choice.
        repeat: by name of a source, how often each of its pairs is written for training.
        tested: pairs whose sentences are for testing alone, such as those that another model was
            tested with.

    Returns:
        The counts of each source, by its name.

    Raises:
        UserError: a set is empty; then nothing is written.
    """
    files = [out / f"{name}.{language}" for name in SPLITS for language in (source, target)]
    check_no_input(files, [path for one in sources for path in one.files], "--out")
    counts = {one.name: Counter[str]() for one in sources}
    given = {one.split for one in sources}
    again = {frozenset(_keys(pair, seed)) for pair in tested}
    owners: dict[int, Split] = {key: "test" for keys in again for key in keys}
    out.mkdir(parents=True, exist_ok=True)
    with atomic_write(files) as opened:
        outputs = {name: opened[2 * place : 2 * place + 2] for place, name in enumerate(SPLITS)}

        def write(pair: Pair, chosen: Split, one: Source) -> None:
            counts[one.name][chosen] += 1
            times = (repeat or {}).get(one.name, 1) if chosen == "train" else 1
            for file, text in zip(outputs[chosen], pair, strict=False):
                file.write(f"{text}\n" * times)

        held = [one for name in ("test", "valid") for one in sources if one.split == name]
        for one in held:
            for pair in _full(one, counts[one.name]):
                keys = _keys(pair, seed)
                if any(owners.get(key, one.split) != one.split for key in keys):
                    counts[one.name]["shared"] += 1
                    continue
                owners.update(dict.fromkeys(keys, one.split))
                write(pair, one.split, one)
        training = [one for one in sources if one.split == "train"]
        watched = {
            key
            for one in training
            for place, pair in enumerate(_full(one) if len(given) < len(SPLITS) else ())
            if _held(_key(pair.source, seed), place) not in given
            for key in _keys(pair, seed)
        }
        for one in training:
            for place, pair in enumerate(_full(one, counts[one.name])):
                keys = _keys(pair, seed)
                chosen = _held(keys[0], place)
                before = {owners[key] for key in keys if key in owners}
                if chosen == "test" and chosen not in given and frozenset(keys) in again:
                    again.remove(frozenset(keys))  # once
                elif before - {"train"}:
                    counts[one.name]["shared"] += 1
                    continue
                elif before or chosen in given:
                    chosen = "train"
                owners.update(dict.fromkeys(watched.intersection(keys), chosen))
                write(pair, chosen, one)
        _check(counts, given)
    return counts


def describe(counts: Mapping[str, Counts]) -> Iterator[str]:
    """The lines of a table of what :func:`split` returns."""
    heads = ("read", "empty", "shared", *SPLITS)
    rows = [[name, *(f"{found[head]:,}" for head in heads)] for name, found in counts.items()]
    yield from markdown(["text", "pairs", *heads[1:]], rows)
    if any(found["shared"] for found in counts.values()):
        yield "shared: left out, as a sentence of the pair is in another set"


def _full(one: Source, counts: Counts | None = None) -> Iterator[Pair]:
    """The pairs without an empty side."""
    for pair in one.pairs():
        full = bool(pair.source and pair.target)
        if counts is not None:
            counts["read"] += 1
            counts["empty"] += not full
        if full:
            yield pair


def _keys(pair: Pair, seed: int) -> tuple[int, int]:
    return _key(pair.source, seed), _key(pair.target, seed)


def _key(sentence: str, seed: int) -> int:
    text = bare(sentence).encode(errors="replace")
    return int.from_bytes(blake2b(text, digest_size=8, salt=seed.to_bytes(8)).digest())


def _held(key: int, place: int) -> Split:
    """The set that a pair is for, by the hash of its source sentence and its place from 0."""
    bound = _share(place) * 2**64
    return "train" if key >= 2 * bound else "valid" if key >= bound else "test"


def _share(place: int) -> float:
    """The share of each of the two sets among the pairs at a place."""
    return next((share for most, share in _SHARES if place < most), _THEN / (place + 1))


def _check(counts: Mapping[str, Counts], given: set[Split]) -> None:
    total = sum(counts.values(), Counter[str]())
    pairs = total["read"] - total["empty"]
    empty = next((name for name in SPLITS if not total[name]), None)
    if empty is None:
        return
    names = ", ".join(counts)
    if not pairs:
        raise UserError(f"{names}: there is no pair of sentences")
    if empty in given or empty == "train":
        kind = {"train": "training", "valid": "validation", "test": "test"}[empty]
        why = "all have a sentence of another set" if total["shared"] else "none is given"
        raise UserError(f"{names}: no pair of sentences is left for {kind}: {why}")
    raise UserError(
        f"{names}: {pairs:,} pair{'s are' if pairs > 1 else ' is'} too few to choose a {empty} set "
        f"from: give more text, or files with --{empty}"
    )


def repeats(given: Sequence[str], sources: Sequence[Source]) -> dict[str, int]:
    """Read ``FILE=TIMES`` for :func:`split`, where FILE is a file of a source or its name.

    Raises:
        UserError: there is no such source, or no such number.
    """
    found: dict[str, int] = {}
    for text in given:
        name, _, times = text.rpartition("=")
        matching = [
            one.name
            for one in sources
            if name in (one.name, *(path.name for path in one.files))
            or Path(name).absolute() in [path.absolute() for path in one.files]
        ]
        if not times.isascii() or not times.isdigit() or int(times) < 1:
            raise UserError(f"--upsample {text}: give a file and how often, such as text.tsv=3")
        if len(matching) != 1:
            hint = suggestion(name, [one.name for one in sources])
            raise UserError(f"--upsample {text}: there is no one text {name}: {hint}")
        found[matching[0]] = int(times)
    return found
