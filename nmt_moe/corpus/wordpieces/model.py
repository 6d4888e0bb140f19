"""Train and load sentencepiece models: one unigram vocabulary for all languages of a model.

:func:`train` writes fairseq's dictionary beside the model. The dictionary lists every piece of the
vocabulary, also those that the training text does not use, so that ``fairseq-preprocess`` replaces
no piece by ``<unk>``.
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

_LONGEST = 4000  # characters: longer lines are trained on in parts
_RESERVED = "\u2585"  # sentencepiece skips lines with this character
_TOO_FEW = re.compile(r"smaller than required_chars\. \d+ vs (\d+)")


@dataclass
class Learned:
    """Statistics of a training."""

    pieces: int
    """Entries of the dictionary."""
    lines: int
    """Lines of text that the vocabulary was learned from."""
    total: int
    """Lines of all files."""
    cut: int = 0
    """Lines that were longer than sentencepiece takes, and were trained on in parts."""

    @property
    def kinds(self) -> str:
        """The number of pieces of each kind."""
        digits = len(DIGITS)
        return f"{self.pieces - GIVEN:,} learned, {digits} digits, {GIVEN - digits} bytes"

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
    """Train a unigram model; writes ``out.model``, ``out.vocab`` and fairseq's ``out.dict.txt``.

    Args:
        files: training text, plain or gzipped.
        out: prefix of the output files.
        vocabulary: size of the vocabulary, with the three special symbols, and without the digits
            and the bytes, which every vocabulary has. A small text gives fewer pieces.
        sample: number of lines to train on, drawn uniformly from all files; None: all lines.
            sentencepiece holds these lines in memory.
        seed: random seed of the sample.
        coverage: share of the characters of the text that become pieces, at least 0.98. Rarer
            characters are spelled in bytes.

    Raises:
        UserError: a file cannot be read, or sentencepiece finds no vocabulary.
    """
    learned = Learned(0, 0, 0)
    if sample is not None:
        for path in files:
            learned.total += sum(1 for _ in read_lines(path))
            print(f"{learned.total:,} lines up to the end of {path} ...", file=sys.stderr)
    out.parent.mkdir(parents=True, exist_ok=True)
    learnt = io.BytesIO()  # sentencepiece ignores a full disk, so this module writes the file
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
                split_digits=True,  # the model copies numbers digit by digit
                max_sentence_length=4 * _LONGEST,  # in bytes; sentencepiece skips longer lines
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
    """Remove the paths of the temporary files with the rules from a model."""
    model = sentencepiece_model_pb2.ModelProto.FromString(proto)  # type: ignore[attr-defined]
    model.normalizer_spec.ClearField("normalization_rule_tsv")
    model.denormalizer_spec.ClearField("normalization_rule_tsv")
    return model.SerializeToString(deterministic=True)


def chosen(files: Iterable[Path], learned: Learned, sample: int | None, seed: int) -> Iterator[str]:
    """Yield all lines, or a uniform sample of ``learned.total`` lines; counts them in
    ``learned``."""
    lines = (line for path in files for line in read_lines(path))
    if sample is None:
        for line in lines:
            learned.lines += 1
            learned.total += 1
            yield line
        return
    # Selection sampling (Knuth's algorithm S): every sample is equally likely, in constant memory.
    chance = random.Random(seed)
    for left, line in zip(range(learned.total, 0, -1), lines, strict=False):
        if chance.random() * left < sample - learned.lines:
            learned.lines += 1
            yield line


def _no_vocabulary(vocabulary: int, coverage: float, error: str) -> UserError:
    """Translate sentencepiece's error message."""
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
    """Yield the lines in parts that sentencepiece accepts, without its reserved character.

    An error goes into ``failed``, because sentencepiece turns every exception into a RuntimeError.
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
    """Split a line at spaces where possible, else within a word."""
    start = 0
    while len(line) - start > _LONGEST:
        end = line.rfind(" ", start + 1, start + _LONGEST)
        end = end if end > 0 else start + _LONGEST
        yield line[start:end]
        start = end
    yield line[start:]


def load(path: Path) -> sentencepiece.SentencePieceProcessor:
    """Load a sentencepiece model.

    Raises:
        UserError: the file is missing, or is no sentencepiece model.
    """
    if not path.is_file():
        raise UserError(
            f"no sentencepiece model {path}: make one with 'nmt-moe corpus wordpieces train'"
        )
    try:
        return sentencepiece.SentencePieceProcessor(model_file=str(path))
    except RuntimeError:
        raise UserError(f"{path} is not a sentencepiece model") from None
