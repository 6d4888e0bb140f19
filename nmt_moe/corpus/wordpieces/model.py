"""Wordpieces: one sentencepiece vocabulary for all languages, and text cut into its pieces.

``train`` learns the vocabulary from training text, ``encode`` writes a parallel corpus, or text in
one language, as pieces for ``fairseq-preprocess``, and ``count`` says how large such text is. The
dictionary that ``train`` writes beside the model lists every piece, also those that the training
text does not use, so that no character becomes unknown. Pieces give back their text, see
``corpus.reversible``.
"""

import io
import random
import re
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import sentencepiece
from sentencepiece import sentencepiece_model_pb2

from nmt_moe.common.errors import UserError
from nmt_moe.common.files import atomic_write
from nmt_moe.common.lines import read_lines
from nmt_moe.corpus.wordpieces.reversible import DIGITS, GIVEN, decoding_rules, encoding_rules

_LONGEST = 4000  # characters that are learned from at once
_RESERVED = "\u2585"  # sentencepiece leaves out lines that have it
_TOO_FEW = re.compile(r"smaller than required_chars\. \d+ vs (\d+)")


@dataclass
class Learned:
    """The pieces of a vocabulary, and the lines of text that it was learned from."""

    pieces: int
    lines: int
    total: int
    cut: int = 0
    """Lines that were so long that they were learned from in parts."""

    def __str__(self) -> str:
        text = f"learned from {self.lines:,} of {self.total:,} lines"
        return f"{text}, {self.cut:,} of them in parts" if self.cut else text


def train(
    files: Sequence[Path],
    out: Path,
    vocabulary: int,
    sample: int | None = None,
    seed: int = 1,
    coverage: float = 1.0,
) -> Learned:
    """Learn a unigram model; writes ``out.model``, ``out.vocab`` and fairseq's ``out.dict.txt``.

    Args:
        files: text, plain or gzipped.
        out: the prefix of what is written.
        vocabulary: pieces to learn, beside the digits and the bytes; there are fewer when the text
            is too small for so many.
        sample: lines to learn from, each as likely as any other of all files; None for all.
            sentencepiece holds them in memory.
        seed: of the sample.
        coverage: share of the characters of the text that the vocabulary has, 0.98 or more; the
            rarest others are spelled in bytes.

    Raises:
        UserError: of a file that cannot be read, or no vocabulary can be learned.
    """
    learned = Learned(0, 0, 0)
    if sample is not None:
        for path in files:
            learned.total += sum(1 for _ in read_lines(path))
            print(f"{learned.total:,} lines up to the end of {path} ...", file=sys.stderr)
    out.parent.mkdir(parents=True, exist_ok=True)
    learnt = io.BytesIO()  # sentencepiece would not say that there was no room for a file
    failed: list[UserError] = []
    lines = _training_lines(chosen(files, learned, sample, seed), learned, failed)
    try:
        with tempfile.TemporaryDirectory() as folder:
            encoding, decoding = Path(folder, "encoding.tsv"), Path(folder, "decoding.tsv")
            encoding.write_text(encoding_rules())
            decoding.write_text(decoding_rules())
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=lines,
                model_writer=learnt,
                model_type="unigram",
                vocab_size=vocabulary + GIVEN,
                hard_vocab_limit=False,
                byte_fallback=True,
                character_coverage=coverage,
                required_chars=DIGITS,
                split_digits=True,  # numbers are copied digit by digit, not learned one by one
                max_sentence_length=4 * _LONGEST,  # in bytes; what is longer is left out
                normalization_rule_tsv=str(encoding),
                denormalization_rule_tsv=str(decoding),
                minloglevel=2,
            )
    except RuntimeError as error:
        if failed:
            raise failed[0] from None
        raise _no_vocabulary(vocabulary, coverage, str(error)) from None
    proto = _without_paths(learnt.getvalue())
    model = sentencepiece.SentencePieceProcessor(model_proto=proto)
    names = [out.with_name(out.name + end) for end in (".dict.txt", ".vocab", ".model")]
    with atomic_write(names, "wb") as [dictionary, vocab, file]:
        for i in range(model.get_piece_size()):
            piece = model.id_to_piece(i)
            vocab.write(f"{piece}\t{model.get_score(i):g}\n".encode())
            if not (model.is_control(i) or model.is_unknown(i)):
                dictionary.write(f"{piece} 1\n".encode())
                learned.pieces += 1
        file.write(proto)
    return learned


def _without_paths(proto: bytes) -> bytes:
    """The same model without the names of the files that its rules came from."""
    model = sentencepiece_model_pb2.ModelProto.FromString(proto)  # type: ignore[attr-defined]
    model.normalizer_spec.ClearField("normalization_rule_tsv")
    model.denormalizer_spec.ClearField("normalization_rule_tsv")
    return model.SerializeToString(deterministic=True)


def chosen(files: Iterable[Path], learned: Learned, sample: int | None, seed: int) -> Iterator[str]:
    """All lines, or a sample of ``learned.total`` lines; counts what it yields."""
    lines = (line for path in files for line in read_lines(path))
    if sample is None:
        for line in lines:
            learned.lines += 1
            learned.total += 1
            yield line
        return
    # Of the lines that are left, each is taken with the probability that just makes up the sample:
    # every choice of so many lines is equally likely, and none is held here.
    chance = random.Random(seed)
    for left, line in zip(range(learned.total, 0, -1), lines, strict=False):
        if chance.random() * left < sample - learned.lines:
            learned.lines += 1
            yield line


def _no_vocabulary(vocabulary: int, coverage: float, error: str) -> UserError:
    """What sentencepiece's error means."""
    found = _TOO_FEW.search(error)
    if not found:
        return UserError(f"sentencepiece finds no vocabulary of {vocabulary}: {error}")
    least = int(found[1]) - GIVEN
    return UserError(
        f"a vocabulary of {vocabulary:,} cannot hold the different characters of the text: give "
        f"--vocabulary {least} or more, or a --coverage below {coverage:g}"
    )


def _training_lines(
    lines: Iterator[str], learned: Learned, failed: list[UserError]
) -> Iterator[str]:
    """The same lines in parts that sentencepiece takes, without its reserved character.

    An error is noted, as sentencepiece makes a RuntimeError of any exception.
    """
    empty = True
    try:
        for line in lines:
            text = line.replace(_RESERVED, " ")
            empty = empty and not text.strip()
            learned.cut += len(text) > _LONGEST
            yield from _parts(text)
        if empty:
            raise UserError("the training text holds no words: there is no vocabulary to learn")
    except UserError as error:
        failed.append(error)
        raise


def _parts(line: str) -> Iterator[str]:
    """The line in parts, which end at a space where there is one."""
    start = 0
    while len(line) - start > _LONGEST:
        end = line.rfind(" ", start + 1, start + _LONGEST)
        end = end if end > 0 else start + _LONGEST
        yield line[start:end]
        start = end
    yield line[start:]


def load(path: Path) -> sentencepiece.SentencePieceProcessor:
    """Read a sentencepiece model."""
    if not path.is_file():
        raise UserError(f"no sentencepiece model {path}: make one with 'wordpieces train'")
    try:
        return sentencepiece.SentencePieceProcessor(model_file=str(path))
    except RuntimeError:
        raise UserError(f"{path} is not a sentencepiece model") from None
