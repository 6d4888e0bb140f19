"""Characters that the vocabulary does not have, through a whole training: the model writes them."""

import random
import re
from pathlib import Path

import pytest

from nmt_moe.corpus.wordpieces import model as wordpieces
from nmt_moe.corpus.wordpieces.__main__ import main
from tests.commands import PLUGIN, run, train
from tests.test_translate import translate

pytestmark = pytest.mark.slow
SPELLED = "½² ö™ 駅 \u2581x می\u200cخ".split()
WORDS = "dog cat bird sees likes old new".split() + SPELLED


def corpus(folder: Path) -> None:
    """Sentences that are translated by themselves; most of their special characters are bytes."""
    chance = random.Random(0)
    for split, size in {"train": 1600, "valid": 20, "test": 40}.items():
        lines = [" ".join(chance.choices(WORDS, k=chance.randint(1, 4))) for _ in range(size)]
        if split == "test":
            lines[0] = "never seen: 犬 <0x41> <unk> 👩\u200d👧"
        for language in ("en", "xx"):
            (folder / f"{split}.{language}").write_text("".join(f"{line}\n" for line in lines))
    (folder / "learn").write_text("dog cat bird sees likes old new\n" * 20)
    wordpieces.train([folder / "learn"], folder / "model", 60)
    for split in ("train", "valid", "test"):
        sides = [str(folder / split), str(folder / f"{split}.p")]
        options = ["--model", f"{folder}/model.model", "--langs", "en", "xx", "--keep-all"]
        assert main(["encode", *options, *sides]) == 0
    prefixes = [f"--{name}pref={folder / name}.p" for name in ("train", "valid", "test")]
    run("fairseq-preprocess", "--source-lang", "en", "--target-lang", "xx", *prefixes,
        "--joined-dictionary", "--srcdict", folder / "model.dict.txt",
        "--destdir", folder / "bin")  # fmt: skip


def test_a_model_reads_and_writes_what_is_spelled_in_bytes(tmp_path: Path) -> None:
    corpus(tmp_path)
    options = ["--max-update", 500, "--lr", 0.005, "--batch-size", 40]
    train(tmp_path / "bin", tmp_path / "run", *options)
    for name in ("dict.en.txt", "dict.xx.txt"):
        (tmp_path / "run" / name).write_text((tmp_path / "bin" / name).read_text())
    model = tmp_path / "run/sentencepiece.model"
    model.write_bytes((tmp_path / "model.model").read_bytes())
    checkpoint = tmp_path / "run/checkpoint_last.pt"
    options = ["--path", checkpoint, "--user-dir", PLUGIN, "--cpu", "--beam", 2]
    lines = (tmp_path / "test.en").read_text().splitlines()
    options += ["--bpe", "sentencepiece", "--sentencepiece-model", model]
    options += ["--required-batch-size-multiple", 1]
    said = run("fairseq-generate", tmp_path / "bin", *options).stdout
    for kind in "TD":
        found = re.findall(rf"^{kind}-(\d+)\t(?:\S+\t)?(.*)$", said, re.MULTILINE)
        texts = [text for _, text in sorted((int(n), text) for n, text in found)]
        assert len(texts) == 40
        assert set(SPELLED) <= set(" ".join(texts).split()), (kind, texts)
        assert kind == "D" or texts == lines
    found, _ = translate(checkpoint, "".join(f"{line}\n" for line in lines).encode())
    assert len(found) == 40 and set(SPELLED) <= set(" ".join(found).split()), found
