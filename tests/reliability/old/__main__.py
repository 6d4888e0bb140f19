"""Make the models to keep of this version: ``python -m tests.reliability.old``."""

import argparse
import io
import json
import random
import tempfile
from importlib.metadata import version
from pathlib import Path

import sentencepiece
import torch

from tests.reliability.old.use import (
    FOLDER,
    KEPT,
    LANGUAGES,
    evaluate,
    is_language_model,
    pack,
    prepare,
    resume,
    train,
    translate,
    unpack,
)

UPDATES = 300
_LARGEST = 100_000  # bytes of a checkpoint
_WORDS = "red blue big old new dog cat bird sees the".split()
_BALANCED = ["--moe-gating", "strictly_balanced"]
_GROUPS = ["--moe-experts", "8", "--moe-groups", "4"]
_OTHER = ["--encoder-bidirectional", "--attention", "additive", "--attention-residual"]
_MODEL = [
    *("--dim", "8", "--moe-experts", "4", "--moe-k", "2", "--moe-hidden-dim", "8"),
    *("--dropout", "0"),  # processors of Intel draw it in another way
]
_TRAINING = [
    *("--criterion", "moe_label_smoothed_cross_entropy", "--label-smoothing", "0.1"),
    *("--lr", "0.02", "--batch-size", "20", "--seed", "1", "--cpu", "--num-workers", "0"),
    *("--required-batch-size-multiple", "1", "--clip-norm", "1"),
    *("--no-epoch-checkpoints", "--disable-validation"),
    *("--log-format", "json", "--log-interval", "1"),
]
_MOE_ADAM = ["--optimizer", "moe_adam", "--lr-scheduler", "warmup_hold_inverse_sqrt"]
_MOE_ADAM += ["--warmup-updates", "20", "--hold-updates", "200"]
_ADAM = ["--optimizer", "adam"]
_TRANSLATION = ["--source-lang", LANGUAGES[0], "--target-lang", LANGUAGES[1]]
_TRANSLATION += ["--arch", "lstm_moe_tiny", *_MODEL, *_TRAINING]
_LANGUAGE = ["--task", "language_modeling", "--sample-break-mode", "eos"]
_LANGUAGE += ["--arch", "lstm_moe_lm_tiny", *_MODEL, "--lstm-cells", "12", *_TRAINING]
KINDS = {
    "translation": [*_TRANSLATION, "--lstm-cells", "12", *_MOE_ADAM],
    "hierarchical": [*_TRANSLATION, "--lstm-cells", "8", *_GROUPS, *_ADAM],
    "strictly_balanced": [*_TRANSLATION, "--lstm-cells", "12", *_BALANCED, *_OTHER, *_MOE_ADAM],
    "language_model": [*_LANGUAGE, *_GROUPS, *_BALANCED, *_MOE_ADAM],
}
"""The command of each training."""


def write_text(release: Path) -> None:
    """Sentences, their words in reverse, their pieces and the dictionary."""
    chance = random.Random(0)
    for split, size in {"train": 100, "test": 40}.items():
        lines = [chance.choices(_WORDS, k=chance.randint(1, 5)) for _ in range(size)]
        for language, step in zip(LANGUAGES, (1, -1), strict=True):
            text = "".join(" ".join(words[::step]) + "\n" for words in lines)
            (release / f"{split}.{language}").write_text(text)
    content = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        # Not by the names of files: the model would have the folders of this machine in it.
        sentence_iterator=iter((release / f"train.{LANGUAGES[0]}").read_text().splitlines()),
        model_writer=content,
        vocab_size=30,
        hard_vocab_limit=False,
        normalization_rule_name="identity",  # the table of the usual one is large
        minloglevel=2,
    )
    (release / "sentencepiece.model").write_bytes(content.getvalue())
    model = sentencepiece.SentencePieceProcessor(str(release / "sentencepiece.model"))
    pieces = [model.id_to_piece(number) for number in range(3, model.get_piece_size())]
    (release / "dict.txt").write_text("".join(f"{piece} 1\n" for piece in pieces))


def make(release: Path, work: Path) -> None:
    """Fill the folder of a release."""
    write_text(release)
    prepare(release, work)
    for kind, options in KINDS.items():
        model = release / kind
        model.mkdir()
        save = work / f"{kind} trained"
        train(options, UPDATES, save, work)
        size = pack(save / "checkpoint_last.pt", model / KEPT)
        if size > _LARGEST:
            raise SystemExit(f"{kind}: {size:,} bytes are too many to keep")
        checkpoint = unpack(model, work)
        expected = {
            "options": options,
            "translations": [] if is_language_model(options) else translate(release, checkpoint),
            "bits per piece": evaluate(options, checkpoint, work),
            "resumed losses": resume(options, checkpoint, work),
        }
        text = json.dumps(expected, indent=1, ensure_ascii=False)
        (model / "expected.json").write_text(text + "\n")
        print(f"{kind}: {size:,} bytes, {expected['bits per piece']} bits per piece")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.reliability.old", description=__doc__)
    parser.add_argument(
        "--out", type=Path, default=FOLDER / version("nmt-moe"), help="a new folder"
    )
    release = parser.parse_args().out
    if release.exists():
        raise SystemExit(f"{release} is there: what was released stays as it is")
    release.mkdir(parents=True)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as work:
        make(release, Path(work))


if __name__ == "__main__":
    main()
