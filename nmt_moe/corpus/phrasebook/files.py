"""Writing the splits as line-aligned text files, and counting what is in them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nmt_moe.common.errors import UserError
from nmt_moe.common.files import atomic_write
from nmt_moe.common.languages import same
from nmt_moe.corpus.phrasebook.generate import build
from nmt_moe.corpus.phrasebook.pairs import build_pairs, expand
from nmt_moe.corpus.phrasebook.render import Sentence, pairs_available

TARGETS = ("de", "fr")


def check_target(target: str) -> str:
    """Return the language that a code such as ``de`` or ``deu`` names.

    Raises:
        UserError: the phrasebook does not have it.
    """
    known = same(target, TARGETS)
    if known is None:
        raise UserError(f"unknown target language {target!r}: choose {' or '.join(TARGETS)}")
    return known


def contents(splits: dict[str, list[Sentence]], target: str) -> dict[str, str]:
    """Return the text of each file by name: source, target and domain of every split."""
    check_target(target)
    texts = {}
    for name, sentences in splits.items():
        texts[f"{name}.en"] = [sentence.en for sentence in sentences]
        texts[f"{name}.{target}"] = [sentence.text(target) for sentence in sentences]
        texts[f"{name}.domain"] = [sentence.domain for sentence in sentences]
    return {name: "\n".join(lines) + "\n" for name, lines in texts.items()}


def pair_contents(splits: dict[str, list[tuple[str, str]]], pair: str) -> dict[str, str]:
    """Return the text of each file of a pair such as ``en-es`` by name."""
    return {
        f"{split}.{language}": "".join(f"{text[side]}\n" for text in texts)
        for split, texts in splits.items()
        for side, language in enumerate(pair.split("-"))
    }


def write(texts: dict[str, str], folder: Path) -> None:
    """Write the files into ``folder``, which is made if missing.

    All are written under temporary names first and renamed at the end, so an interrupted run
    leaves no half file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_write([folder / name for name in texts]) as files:
        for file, text in zip(files, texts.values(), strict=True):
            file.write(text)


def summary(splits: dict[str, list[Sentence]], target: str, available: int) -> str:
    """Return a few lines about the splits: pairs, words, domains, pairs available."""
    lines = []
    for name, sentences in splits.items():
        lengths = [
            sum(len(sentence.text(lang).split()) for sentence in sentences) / len(sentences)
            for lang in ("en", target)
        ]
        lines.append(
            f"{name}: {len(sentences)} pairs, "
            f"{lengths[0]:.1f} words per sentence in en, {lengths[1]:.1f} in {target}"
        )
    everything = [sentence for sentences in splits.values() for sentence in sentences]
    for lang in ("en", target):
        distinct = {word for sentence in everything for word in sentence.text(lang).split()}
        lines.append(f"distinct words in {lang}: {len(distinct)}")
    domains = sorted({sentence.domain for sentence in everything})
    lines.append(f"domains: {', '.join(domains)}")
    lines.append(f"pairs available: {available}")
    return "\n".join(lines)


def write_target(target: str, out: Path, train: int, valid: int, test: int, seed: int) -> str:
    """Write the sentences in English and a language; returns what to print of them."""
    target = check_target(target)
    splits = build(train, valid, test, seed)
    folder = out / f"en-{target}"
    write(contents(splits, target), folder)
    return f"wrote {folder}\n{summary(splits, target, pairs_available())}"


def write_pairs(
    pairs: Sequence[str], out: Path, train: int, valid: int, test: int, seed: int
) -> str:
    """Write pairs of languages, as :func:`~nmt_moe.corpus.phrasebook.pairs.expand` reads them."""
    lines = []
    for pair, splits in build_pairs(expand(pairs), train, valid, test, seed):
        write(pair_contents(splits, pair), out / pair)
        counts = ", ".join(f"{split} {len(texts):,}" for split, texts in splits.items())
        lines.append(f"wrote {out / pair}: {counts} pairs")
    return "\n".join(lines)
