"""``recipes/wmt14_score.sh`` as a user runs it: on any text, with a model trained in a minute."""

import json
import re
import shutil
from pathlib import Path

import pytest

from tests.commands import PLUGIN
from tests.commands import run as run_command
from tests.recipes import TRAINING, error, run

RECIPE = "wmt14_score.sh"


def test_help_and_what_is_wrong_at_once(tmp_path: Path) -> None:
    help_text = run(RECIPE, "--help").stdout
    assert help_text.startswith(f"usage: recipes/{RECIPE} CHECKPOINT [TESTSET]")
    assert "which checkpoint?" in error(run(RECIPE))
    assert "unknown option '--clean'" in error(run(RECIPE, "a.pt", "--clean"))
    assert "unknown argument 'more'" in error(run(RECIPE, "a.pt", "full", "more"))
    assert "a colon as the end" in error(run(RECIPE, "a:b.pt"))
    assert "no file AGAINST=nothing" in error(run(RECIPE, "a.pt", AGAINST="nothing"))
    assert f"there is no checkpoint {tmp_path}/a.pt" in error(run(RECIPE, "a.pt", cwd=tmp_path))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of a run of ``quickstart.sh``."""
    folder = tmp_path_factory.mktemp("a run") / "quickstart"
    made = run("quickstart.sh", "de", *TRAINING, "--max-epoch", "2", RUN_DIR=folder)
    assert made.returncode == 0, made.stdout + made.stderr
    return folder / "training" / "checkpoint_best.pt"


def lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").split("\n")[:-1]


def outputs(path: Path, kind: str) -> dict[int, str]:
    """The lines of one kind in what fairseq-generate wrote, by sentence."""
    found = (re.fullmatch(rf"{kind}-(\d+)\t(.*)", line) for line in lines(path))
    return {int(match[1]): match[2] for match in found if match}


@pytest.mark.slow
def test_the_test_set_of_the_corpus(checkpoint: Path) -> None:
    finished = run(RECIPE, checkpoint.name, cwd=checkpoint.parent)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    out = checkpoint.parent / "score-checkpoint_best-test"
    reference = checkpoint.parents[1] / "corpus/en-de/test.de"

    # Nine sentences, no multiple of eight: all of them, and in their order.
    hypotheses = lines(out / "hypotheses.txt")
    assert len(hypotheses) == 9
    scored = outputs(out / "translation/generate-test.txt", "D")
    assert [scored[number].partition("\t")[2] for number in range(9)] == hypotheses
    assert list(scored) != sorted(scored)  # fairseq's own order is by length

    found = json.loads((out / "scores.json").read_text(encoding="utf-8"))
    command = [reference, "-i", out / "hypotheses.txt", "-m", "bleu", "-w", 10]
    theirs = json.loads(run_command("sacrebleu", *command).stdout)
    assert found["scores"][0]["score"] == pytest.approx(theirs["score"])
    assert f"BLEU, detokenised: {theirs['score']:.2f}   {theirs['signature']}" in finished.stdout
    assert "\ntest, 9 sentences\n" in finished.stdout
    assert "BLEU, tokenised, compounds split: " in finished.stdout

    where = ["--user-dir", PLUGIN, "--task", "translation", "--path", checkpoint]
    subset = ["--valid-subset", "test", "--required-batch-size-multiple", 1, "--batch-size", 9]
    validated = run_command("fairseq-validate", out / "binary", *where, *subset)
    bits = float(re.findall(r"nll_loss (\S+)", validated.stdout + validated.stderr)[-1])
    perplexity = found["perplexity"]
    assert perplexity["bits"] / perplexity["pieces"] == pytest.approx(bits, abs=1e-3)
    words = sum(len(line.split()) + 1 for line in lines(reference))
    assert perplexity["words"] == words


@pytest.mark.slow
def test_any_text_against_another_system(checkpoint: Path, tmp_path: Path) -> None:
    source = ["We live in Berlin.", "", "a\rb", "It costs 20\u00a0euros.", "word " * 600]
    target = ["Wir wohnen in Berlin.", "", "a b", "Es kostet 20 漢.", "Wort " * 600]
    for language, text in (("en", source), ("de", target)):
        (tmp_path / f"my text.{language}").write_text(
            "\n".join(text) + "\n", encoding="utf-8", newline=""
        )
    other = tmp_path / "other.txt"
    other.write_text("Wir wohnen in Berlin.\n" * 5)
    settings = {"OUT": "out", "AGAINST": "other.txt", "BEAM": 1, "ALPHA": 0, "BETA": 0}
    arguments = [str(checkpoint), "my text", "--", "--max-len-b", "20"]
    finished = run(RECIPE, *arguments, cwd=tmp_path, **settings)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "== translation, beam 1, alpha 0, beta 0" in finished.stdout
    assert "\nmy text, 5 sentences\n" in finished.stdout
    assert "against other.txt, paired bootstrap with 1,000 resamples" in finished.stdout
    out = tmp_path / "out"
    assert len(lines(out / "hypotheses.txt")) == 5
    steps = outputs(out / "translation/generate-test.txt", "P").values()
    assert max(len(step.split()) for step in steps) <= 21
    found = json.loads((out / "scores.json").read_text(encoding="utf-8"))
    assert found["comparison"]["against"] == "other.txt"

    again = run(RECIPE, *arguments, cwd=tmp_path, **settings)
    assert again.returncode == 0, again.stdout + again.stderr
    assert json.loads((out / "scores.json").read_text(encoding="utf-8")) == found


@pytest.mark.slow
def test_a_folder_that_lacks_something(checkpoint: Path, tmp_path: Path) -> None:
    moved = Path(shutil.copy(checkpoint, tmp_path))
    assert f"{tmp_path}/dict.en.txt is missing: copy it there" in error(run(RECIPE, str(moved)))
    # Two texts of one name do not share a folder, whatever becomes of them.
    for place in ("a", "b"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "text.en").write_text("One.\n")
        (tmp_path / place / "text.de").write_text("Eins.\nZwei.\n")
        stopped = run(RECIPE, str(checkpoint), f"{place}/text", cwd=tmp_path)
        assert "text.en has 1 lines but" in stopped.stderr
    assert len(list(checkpoint.parent.glob("score-checkpoint_best-text-*"))) == 2
    assert "no test set 'filtered'" in error(run(RECIPE, str(checkpoint), "filtered"))
