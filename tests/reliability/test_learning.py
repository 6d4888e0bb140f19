"""Models learn to copy and to reverse sequences, from another seed each time.

Through the commands as a user types them, to 98 BLEU on sequences that were not in training.
"""

import random
import re
from pathlib import Path

import pytest

from tests.commands import PLUGIN, run

DIGITS = "0123456789"
MODEL = [
    *("--arch", "lstm_moe_tiny", "--dim", "64", "--lstm-cells", "64", "--dropout", "0"),
    *("--moe-experts", "8", "--moe-k", "2", "--moe-hidden-dim", "64"),
    *("--criterion", "moe_label_smoothed_cross_entropy", "--label-smoothing", "0.1"),
]
TRAINING = [
    *("--optimizer", "moe_adam", "--lr", "0.005", "--lr-scheduler", "warmup_hold_inverse_sqrt"),
    *("--warmup-updates", "100", "--hold-updates", "300", "--decay-power", "1"),
    *("--clip-norm", "1", "--batch-size", "64", "--max-update", "800"),
    *("--validate-interval", "100", "--validate-interval-updates", "200"),
    *("--cpu", "--num-workers", "0", "--no-epoch-checkpoints"),
]
TASKS = {"copy": 1, "reverse": -1}  # steps through the source


def write_corpus(folder: Path, step: int, chance: random.Random) -> None:
    """Different sequences of 3 to 8 digits: 4,000 to learn from, 200 to translate."""
    seen: set[tuple[str, ...]] = set()
    for split, size in {"train": 4000, "valid": 100, "test": 200}.items():
        sources: list[tuple[str, ...]] = []
        while len(sources) < size:
            source = tuple(chance.choices(DIGITS, k=chance.randint(3, 8)))
            if source not in seen:
                seen.add(source)
                sources.append(source)
        for language, order in (("a", 1), ("b", step)):
            text = "".join(" ".join(source[::order]) + "\n" for source in sources)
            (folder / f"{split}.{language}").write_text(text)


@pytest.mark.slow
def test_a_model_learns_with_any_seed(tmp_path, tally):
    seed = random.SystemRandom().randrange(2**31)
    task = [*TASKS][seed % len(TASKS)]
    print(f"seed {seed}, {task}")  # pytest shows it where the test fails
    write_corpus(tmp_path, TASKS[task], random.Random(seed))
    data = tmp_path / "bin"
    prefixes = [f"--{split}pref={tmp_path / split}" for split in ("train", "valid", "test")]
    languages = ["--source-lang", "a", "--target-lang", "b", "--joined-dictionary"]
    run("fairseq-preprocess", *languages, *prefixes, "--destdir", data)
    where = ["--user-dir", PLUGIN, "--save-dir", tmp_path]
    run("fairseq-train", data, *where, *MODEL, *TRAINING, "--seed", seed)
    model = ["--user-dir", PLUGIN, "--path", tmp_path / "checkpoint_best.pt", "--cpu"]
    options = ["--batch-size", 50, "--required-batch-size-multiple", 1]
    found = run("fairseq-generate", data, *model, *options, "--beam", 4).stdout
    lines = {int(n): text for n, text in re.findall(r"^H-(\d+)\t\S+\t(.*)$", found, re.MULTILINE)}
    assert sorted(lines) == list(range(200))
    hypotheses = tmp_path / "hypotheses"
    hypotheses.write_text("".join(lines[number] + "\n" for number in range(200)))
    options = ["-i", hypotheses, "--score-only", "--tokenize", "none", "--force"]
    bleu = float(run("sacrebleu", tmp_path / "test.b", *options).stdout)
    assert bleu >= 98, f"seed {seed}: {bleu} BLEU"
    tally(inputs=200)
