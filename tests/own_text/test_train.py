"""``nmt-moe train``: from files to a folder, stopped at any moment, and again with a change."""

import json
import random
import signal
import subprocess
from pathlib import Path

import pytest

from nmt_moe.common.duration import seconds
from nmt_moe.common.errors import UserError
from tests import preloaded
from tests.recipes import environment

TINY = [
    *("--size", "tiny", "--set", "dim=16", "--set", "lstm-cells=16", "--set", "vocabulary=300"),
    *("--set", "moe-hidden-dim=16", "--set", "updates=20", "--measure", "0"),
]


def text(folder: Path, lines: int = 300) -> list[str]:
    """Two aligned files: sentences of numbers, and the same in reverse."""
    chance = random.Random(1)
    words = "one two three four five six seven eight nine ten".split()
    sentences = [chance.choices(words, k=chance.randint(3, 9)) for _ in range(lines)]
    for language, order in (("en", 1), ("de", -1)):
        path = folder / f"text.{language}"
        path.write_text("".join(" ".join(words[::order]) + "\n" for words in sentences))
    return [str(folder / "text.en"), str(folder / "text.de")]


LANGUAGES = ["--source", "en", "--target", "de"]


def start(*arguments: str, languages: list[str] = LANGUAGES, **options) -> subprocess.Popen:
    words = preloaded.command("nmt-moe", "train", *languages, *arguments)
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(words, env=environment(), **streams, **options)


def train(*arguments: str, **options) -> str:
    process = start(*arguments, **options)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    return output


def done(output: str) -> list[str]:
    """The stages that were done now."""
    headings = [line.partition("] ")[2] for line in output.splitlines() if line.startswith("[")]
    return [name for name in headings if ":" not in name]


@pytest.mark.slow
def test_one_command_and_then_a_change(tmp_path: Path) -> None:
    files, out = text(tmp_path), tmp_path / "model"
    given = [*files, "--out", str(out), *TINY]
    first = train(*given, "--commands")
    assert "+ fairseq-train " in first and "update 20: validation perplexity" in first
    assert "--sample 500000" in first  # memory is flat in the corpus
    about = json.loads((out / "model.json").read_text())
    scores = about["scores"][0]
    assert about["directions"] == [["en", "de"]] and about["text"][0]["pairs"] == 300
    assert f"BLEU {scores['scores']['BLEU']['value']:7.2f}" in first and scores["sentences"] > 3
    assert (out / "report.html").is_file() and (out / "README.md").is_file()

    assert not done(train(*given))
    again = train(*given, "--set", "label-smoothing=0.2")
    assert done(again) == ["choices", "training", "average", "scores", "report", "model"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["text.en"], "text.en"),
        (["none.en", "none.de"], "none.en"),
        (["empty.en", "empty.de"], "empty"),
        (["text.en", "text.de", "--upsample", "news=3"], "there is no one text news: choose from"),
        (["text.en", "text.de", "--upsample", "text"], "text: give a file and how often"),
        (["text.en", "text.de", "--set", "beem=3"], "--set beem: no such option"),
        (["text.en", "text.de", "--set", "save_dir=x"], "save-dir: nmt-moe train sees to that"),
        (["text.en", "text.de", "--time", "10s"], "--time is too short for any training: give 3m"),
        (["text.en", "text.de", "--out", "/"], "--out /: name a new folder"),
        (["text.en", "text.de", "--target", "german"], "there is no language 'german'"),
    ],
)
def test_one_line_says_what_is_wrong(tmp_path: Path, given: list[str], message: str) -> None:
    text(tmp_path, 20)
    for language in ("en", "de"):
        (tmp_path / f"empty.{language}").touch()
    process = start("--out", "model", *TINY, *given, cwd=tmp_path)
    output, _ = process.communicate(timeout=300)
    assert process.returncode and "Traceback" not in output
    assert message in output.splitlines()[-1]


@pytest.mark.parametrize(
    ("given", "expected"), [("2h", 7200), ("90m", 5400), ("1h30m", 5400), ("45s", 45)]
)
def test_times(given: str, expected: float) -> None:
    assert seconds(given, "--time") == expected


@pytest.mark.parametrize("given", ["2", "h", "", "two hours"])
def test_what_is_no_time(given: str) -> None:
    with pytest.raises(UserError, match="is no time: give one such as 2h"):
        seconds(given, "--time")


@pytest.mark.slow
def test_both_directions_and_on_from_there(tmp_path: Path) -> None:
    files, both = text(tmp_path), tmp_path / "both"
    assert "de-en, " in train(*files, "--out", str(both), "--both", *TINY)
    assert json.loads((both / "model.json").read_text())["directions"] == [
        ["en", "de"],
        ["de", "en"],
    ]
    more = tmp_path / "more"
    more.mkdir()
    given = [*text(more, 600), "--from", str(both), "--measure", "0"]
    for wrong in (["--both"], ["--size", "small"], ["--set", "vocabulary=900"], ["--out", both]):
        process = start(*given, "--out", "x", *map(str, wrong), languages=[])
        assert wrong[0] in process.communicate(timeout=60)[0] and process.returncode == 1
    given += ["--out", str(tmp_path / "on")]
    output = train(*given, "--set", "updates=5", languages=[])
    assert "sentences that both was scored with:" in output and " before)" in output
    # All of the same text is in it: what was tested is not trained with.
    held = {
        one["source"] for one in json.loads((both / "translations.json").read_text())["sentences"]
    }
    trained = (tmp_path / "on-work/split/train.en").read_text().splitlines()
    assert held.isdisjoint(trained) and trained


@pytest.mark.slow
def test_killed_at_random_moments(tmp_path: Path) -> None:
    """The same scores and translations as undisturbed; Ctrl-C saves the training."""
    files = text(tmp_path)
    given = [*files, *TINY]
    train(*given, "--out", str(tmp_path / "whole"))
    chance = random.Random()
    out, kills = tmp_path / "killed", 0
    while kills < 20:
        process = start(*given, "--out", str(out), start_new_session=True)
        try:
            process.wait(chance.uniform(0.3, 8))
            break
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT if kills % 3 == 2 else signal.SIGKILL)
            process.communicate()
            kills += 1
    train(*given, "--out", str(out))
    scores = "scores/en-de.json"
    whole, killed = (
        json.loads((tmp_path / f"{name}-work" / scores).read_text()) for name in ("whole", "killed")
    )
    assert killed == whole
