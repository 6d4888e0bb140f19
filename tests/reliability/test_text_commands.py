"""Generated lines through the commands as they are typed: an answer for each line, in its place."""

import os
import random
import re
import subprocess
from pathlib import Path

import pytest
from fairseq.data import data_utils
from sentencepiece import SentencePieceProcessor

from nmt_moe.corpus import wmt14
from nmt_moe.corpus.manifest import find, load
from nmt_moe.corpus.wordpieces import model as wordpieces
from tests import preloaded
from tests.commands import PLUGIN, Finished, run
from tests.reliability import texts
from tests.tally import Tally
from tests.test_translate import learned, prepared, sentences, translate
from tests.wmt14_archives import write

pytestmark = pytest.mark.slow
MARKED = 10  # every so many lines comes one whose translation is known


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = prepared(tmp_path_factory.mktemp("text"))
    return learned(folder, "--max-update", 150, "--lr", 0.02)


@pytest.fixture
def seed() -> int:
    number = random.SystemRandom().randrange(2**32)
    print(f"seed {number}")  # pytest shows it where the test fails
    return number


def python(module: str, *arguments: object) -> None:
    run("python", "-m", f"nmt_moe.{module}", *arguments)


def test_translate(checkpoint: Path, seed: int, tally: Tally) -> None:
    known = [line.encode() for line in sentences(checkpoint)]
    answers, _ = translate(checkpoint, b"\n".join(known), "--beam", 1)
    assert len(set(answers)) > 10
    lines = [line[:3000] for line in texts.lines(seed, 1_500)]
    lines[::MARKED] = [known[n % len(known)] for n in range(len(lines) // MARKED)]
    found, said = translate(checkpoint, b"\n".join(lines) + b"\n", "--beam", 1)
    assert len(found) == len(lines)
    assert [*found[::MARKED]] == [answers[n % len(answers)] for n in range(len(lines) // MARKED)]
    for line in found:
        assert line == " ".join(line.split()) and len(line.splitlines()) <= 1
    assert re.fullmatch(r"warning: line \d+ is not valid UTF-8: replaced\n", said)
    tally(inputs=len(lines))


def interactive(
    checkpoint: Path, text: bytes, *options: object, **settings: str
) -> subprocess.CompletedProcess[bytes]:
    arguments = [
        *(checkpoint.parents[1] / "bin", "--path", checkpoint),
        *("--user-dir", PLUGIN, "--task", "gnmt_translation", "--cpu", "--beam", 1),
        *("--buffer-size", 500, "--max-tokens", 4000, "--max-len-b", 60, *options),
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""} | settings
    command = preloaded.command("fairseq-interactive", *arguments)
    return subprocess.run(command, input=text, capture_output=True, env=environment, timeout=400)


def spm(checkpoint: Path) -> list[object]:
    model = checkpoint.parent / "sentencepiece.model"
    return ["--bpe", "sentencepiece", "--sentencepiece-model", model]


def answered(finished: subprocess.CompletedProcess[bytes]) -> list[tuple[int, str]]:
    """The numbers and texts of the ``H-`` lines."""
    assert finished.returncode == 0, (finished.stdout + finished.stderr)[-3000:].decode()
    found = re.findall(r"^H-(\d+)\t\S+\t(.*)$", finished.stdout.decode("utf-8"), re.MULTILINE)
    return [(int(number), text) for number, text in found]


def error(finished: subprocess.CompletedProcess[bytes]) -> str:
    return Finished(finished.returncode, finished.stdout.decode(), finished.stderr.decode()).error()


def short(line: str, model: SentencePieceProcessor) -> str:
    """So much of the line that the model takes it: normalised, one character may be 18."""
    return line if len(model.encode(line)) < 1000 else line[:50]


@pytest.mark.parametrize("cut", [True, False], ids=["wordpieces", "words"])
def test_interactive(checkpoint: Path, seed: int, tally: Tally, cut: bool) -> None:
    lines = [line.decode(errors="replace")[:300] for line in texts.lines(seed, 700)]
    if cut:
        model = SentencePieceProcessor(model_file=str(checkpoint.parent / "sentencepiece.model"))
        lines = [short(line, model) for line in lines]
    text = "".join(f"{line}\n" for line in lines)
    found = answered(interactive(checkpoint, text.encode(), *(spm(checkpoint) if cut else ())))
    assert [number for number, _ in found] == [*range(len(lines))]
    tally(inputs=len(lines))


def test_interactive_says_in_one_line_what_it_cannot_read(checkpoint: Path, tally: Tally) -> None:
    good = sentences(checkpoint)[0].encode()
    # Where it is C, Python's standard input keeps what it cannot decode.
    for broken, locale in ((b"\xff", "C"), (b"a\xed\xa0\x80", "C.UTF-8")):
        text = b"\n".join([good, broken, good])
        finished = interactive(checkpoint, text, *spm(checkpoint), LC_ALL=locale)
        assert error(finished).startswith("the input is not UTF-8 text: ")
        tally(inputs=3)
    long = b"\n".join([good, good * 300, good])
    finished = interactive(checkpoint, long, *spm(checkpoint))
    assert error(finished).endswith("skip this example with --skip-invalid-size-inputs-valid-test")
    skipping = [*spm(checkpoint), "--skip-invalid-size-inputs-valid-test"]
    assert [number for number, _ in answered(interactive(checkpoint, long, *skipping))] == [0, 2]


def test_from_raw_text_to_binary_data(tmp_path: Path, seed: int, tally: Tally) -> None:
    """Every line that cleaning keeps arrives in fairseq's data."""
    for language, number in (("en", seed), ("de", seed + 1)):
        (tmp_path / f"raw.{language}").write_bytes(b"\n".join(texts.lines(number, 1_500)) + b"\n")
    clean, cut = tmp_path / "clean", tmp_path / "cut"
    python("corpus.clean", tmp_path / "raw", "--langs", "en", "de", "--out", clean)
    files = [tmp_path / f"clean.{language}" for language in ("en", "de")]
    kept = files[0].read_bytes().count(b"\n")
    assert kept > 50 and kept == files[1].read_bytes().count(b"\n")
    python("corpus.wordpieces", "train", *files, "--vocabulary", 1000, "--out", tmp_path / "model",
           "--coverage", 0.98)  # fmt: skip
    python("corpus.wordpieces", "encode", "--model", tmp_path / "model.model", "--keep-all",
           "--langs", "en", "de", clean, cut)  # fmt: skip
    run("fairseq-preprocess", "--source-lang", "en", "--target-lang", "de", "--trainpref", cut,
        "--srcdict", tmp_path / "model.dict.txt", "--joined-dictionary",
        "--destdir", tmp_path / "bin")  # fmt: skip
    model = wordpieces.load(tmp_path / "model.model")
    for language, file in zip(("en", "de"), files, strict=True):
        data = data_utils.load_indexed_dataset(str(tmp_path / f"bin/train.en-de.{language}"))
        lengths = [
            len(pieces) + 1  # the end of the sentence
            for pieces in model.encode(file.read_text(encoding="utf-8").split("\n")[:-1])
        ]
        assert [len(line) for line in data] == lengths
    tally(inputs=3_000)


def test_sgm_in_archives(tmp_path: Path, seed: int, tally: Tally, capsys) -> None:
    """What is damaged is named, or comes out as lines."""
    chance = random.Random(seed)
    known = load(find("en-de"))
    line = {side: b"a line\n" for side in known.pair}
    corpus = known.train["news-commentary-v9"]
    write(tmp_path / corpus.archive.name, {corpus.members[side]: line[side] for side in line})
    manifest, out = tmp_path / "manifest.json", tmp_path / "out"
    manifest.write_text(re.sub('"md5": "[^"]*"', '"md5": ""', find("en-de").read_text()))
    options = ["--archives", tmp_path, "--corpora", corpus.name, "--out", out]
    worked = 0
    for _ in range(100):
        members: dict[str, dict[str, bytes]] = {}
        for part in (*known.valid.values(), known.test["full"]):
            source = texts.damaged_sgm(chance) if chance.random() < 0.3 else b"<seg id=1>x</seg>"
            target = source if chance.random() < 0.9 else texts.damaged_sgm(chance)
            sides = zip(part.members.values(), (source, target), strict=True)
            members.setdefault(part.archive.name, {}).update(sides)
        for name, content in members.items():
            write(tmp_path / name, content)
        code = wmt14.main(["en-de", "--manifest", str(manifest), *map(str, options)])
        said = capsys.readouterr().err.splitlines()
        assert code == len(said) <= 1, said
        worked += not code
        for split in ("valid", "test") if not code else ():
            sides = [(out / f"{split}.{side}").read_bytes() for side in known.pair]
            assert len({side.decode().count("\n") for side in sides}) == 1
        tally(inputs=len(members))
    assert 10 < worked < 90
