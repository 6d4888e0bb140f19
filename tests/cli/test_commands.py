"""The command ``nmt-moe``: what it lists, how it is mistyped, and that it answers at once."""

import importlib
import json
import random
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from nmt_moe import __version__
from nmt_moe.cli.main import COMMANDS, GROUPS, build_parser, main
from nmt_moe.corpus.wordpieces.model import train
from nmt_moe.runs.claims.machine import peak
from tests.recipes import ROOT

SINCE_THE_DOORS = ("train", "serve", "evaluate", "model")
DOORS = {
    **{words[0]: (words[0],) for words in COMMANDS if words[0] not in SINCE_THE_DOORS},
    **{
        f"corpus.{name}": ("corpus", name)
        for name in (
            *("download", "wmt14", "clean", "wordpieces", "multilingual", "monolingual"),
            *("phrasebook", "multi30k"),
        )
    },
    "runs.claims": ("claims",),
    "runs.progress": ("runs", "progress"),
}
MEASURED = """
import json, resource, runpy, sys
sys.argv = sys.argv[1:]
try:
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
except SystemExit as ended:
    assert not ended.code
used = resource.getrusage(resource.RUSAGE_SELF)
loaded = sorted({"torch", "fairseq", "numpy"} & sys.modules.keys())
print(json.dumps([used.ru_utime + used.ru_stime, loaded]), file=sys.stderr)
"""
MOST_SECONDS = 0.5  # of a processor
MOST_MIB = 60


@pytest.mark.parametrize(
    "words", [*([w] for w in DOORS), *(["", *w] for w in {**COMMANDS, **GROUPS})], ids=" ".join
)
def test_help_answers_at_once(words: list[str]) -> None:
    """With neither torch nor fairseq imported; other programs may slow a measurement."""
    module = f"nmt_moe.{words[0]}".removesuffix(".")
    command = [sys.executable, "-c", MEASURED, module, *words[1:], "--help"]
    for _ in range(3):
        ended = subprocess.run(command, capture_output=True, text=True, check=True)
        seconds, loaded = json.loads(ended.stderr)
        assert ended.stdout.startswith("usage: nmt-moe ") and not loaded
        if seconds <= MOST_SECONDS:
            return
    raise AssertionError(f"{seconds} seconds")


def test_the_list_names_every_command(capsys) -> None:
    assert main(["--help"]) == 0
    listed = capsys.readouterr().out
    for words, (_, line) in COMMANDS.items():
        assert f"  {' '.join(words)} " in listed and line in listed
    assert main(["corpus", "-h"]) == 0
    listed = capsys.readouterr().out
    assert "  wordpieces train " in listed and "translate" not in listed
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"nmt-moe {__version__}\n"


def test_every_argument_says_what_it_is() -> None:
    for words in COMMANDS:
        parser = build_parser(words)
        assert parser.description and all(action.help for action in parser._actions), words
        assert parser.prog == " ".join(["nmt-moe", *words]) and parser.format_help()


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("translat x.pt", "nmt-moe translat: did you mean translate or train?"),
        ("clean", "nmt-moe clean: did you mean corpus clean?"),
        ("generate data", "nmt-moe generate: fairseq-generate --user-dir nmt_moe does that"),
        ("corpus wordpieces tain", "nmt-moe corpus wordpieces tain: did you mean train?"),
        ("checkpoint zzz", "nmt-moe checkpoint zzz: choose from average, inspect, merge, split"),
    ],
)
def test_a_mistyped_command(typed: str, message: str, capsys) -> None:
    assert main(typed.split()) == 1
    said = capsys.readouterr()
    assert said.err == f"error: there is no command {message}\n" and not said.out


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("translate --baem 3 x.pt", "there is no option --baem: did you mean --beam?"),
        (
            "translate x.pt --batch_size=8",
            "there is no option --batch_size: did you mean --batch-size",
        ),
        ("corpus wordpieces train --otu m text", "there is no option --otu: did you mean --out?"),
        ("score a b --lang de --zzz -3", "there is no option --lang: did you mean --target-lang?"),
        ("translate --model x", "there is no option --model: did you mean --sentencepiece-model?"),
        (
            "corpus wordpieces train --vocab_size 9",
            "there is no option --vocab_size: did you mean --vocabulary?",
        ),
        ("plan x --zzz", "there is no option --zzz\n"),
        (
            "corpus multi30k --target ed f",
            "argument --target: there is no 'ed': choose from en, de, fr, cs",
        ),
        ("report x y --split tets", "argument --split: there is no 'tets': did you mean test?"),
        ("score a b", "the following arguments are required: --target-lang"),
    ],
)
def test_a_mistyped_argument(typed: str, message: str, capsys) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(typed.split())
    said = capsys.readouterr()
    assert said.err.startswith("usage: nmt-moe ") and f": error: {message}" in said.err


def test_a_missing_command(capsys) -> None:
    assert main(["checkpoint"]) == 2
    said = capsys.readouterr()
    assert "usage: nmt-moe checkpoint COMMAND ..." in said.err and not said.out


def test_options_with_ranges_and_defaults(capsys) -> None:
    assert main(["options"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    for found in (
        "--arch lstm_moe: --dim DIM width of every layer's input and output",
        "--arch lstm_moe_lm: --dim DIM",
        "MoE layer (at least 0 and less than 1) (default: 0.4)",
        "MoE layer (at least 0 and less than 1) (default: 0.1)",
        "--moe-load-weight MOE_LOAD_WEIGHT weight of CV(load)^2 in the training loss (at least 0)",
        "--optimizer moe_adam: --adam-betas",
        "then keep it at --lr for N updates (at least 0) (default: 8000)",
        "beside those of --task translation: --gnmt-alpha",
    ):
        assert found in shown, found
    assert main(["options", "--arch", "lstm_moe_lm_tiny"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "experts in each MoE layer (at least 1) (default: 8)" in shown
    assert "--encoder-layers" not in shown and "--moe-load-weight" not in shown
    assert main(["options", "--arch", "lstm_moe_tin"]) == 1
    assert "did you mean lstm_moe_tiny" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("typed", "output"),
    [
        ("corpus wordpieces encode --model m.model --langs en de t/train t/train", "t/train.en"),
        ("corpus clean t/train --langs en de --out t/train", "t/train.en"),
        ("corpus monolingual t --out t", "t/train.txt"),
        ("score t/train.en t/train.de --target-lang de --json t/train.de", "t/train.de"),
        ("report a.pt t/train.en --out t/train.en", "t/train.en"),
    ],
)
def test_no_output_replaces_an_input(
    typed: str, output: str, tmp_path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("t").mkdir()
    for name in ("train.en", "train.de", "train.txt", "valid.txt", "test.txt"):
        Path("t", name).write_text("a text\n")
    train([Path("t/train.en")], Path("m"), 10)
    capsys.readouterr()
    assert main(typed.split()) == 1
    assert f"error: {output} is an input: write to another " in capsys.readouterr().err
    assert Path(output).read_text() == "a text\n"


@pytest.mark.parametrize("name", ["checkpoint.average", "score.bleu", "cli.main"])
def test_a_module_that_is_no_command(name: str) -> None:
    words = [sys.executable, "-m", f"nmt_moe.{name}", "--help"]
    ended = subprocess.run(words, capture_output=True, text=True)
    message = f"error: nmt_moe.{name} is no command: 'nmt-moe --help' lists the commands\n"
    assert ended.stderr == message and ended.returncode == 1 and not ended.stdout


def test_the_script_that_is_installed() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    module, name = scripts["nmt-moe"].split(":")
    assert callable(getattr(importlib.import_module(module), name))


INTERRUPTED = """
import os, signal
try:
    os.kill(os.getpid(), signal.SIGINT)
except KeyboardInterrupt:
    raise ImportError("numpy was badly installed") from None
"""


def test_ctrl_c_while_a_command_is_imported(tmp_path: Path) -> None:
    (tmp_path / "stops.py").write_text(INTERRUPTED)
    code = f"""
import importlib, sys
from nmt_moe.cli import main
main.build_parser = lambda words: importlib.import_module("stops")
sys.argv, sys.path = ["nmt-moe", "plan"], [{str(tmp_path)!r}, *sys.path]
sys.exit(main.console())
"""
    found = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        # a shell's background has it ignored
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert (found.returncode, found.stderr) == (130, "error: stopped by Ctrl-C\n")


@pytest.mark.parametrize("workers", [1, 2])
def test_memory_of_cleaning(workers: int, tmp_path: Path) -> None:
    chance = random.Random(1)
    for language in ("en", "de"):
        lines = (" ".join(f"w{chance.randrange(9999)}" for _ in range(20)) for _ in range(20_000))
        (tmp_path / f"text.{language}").write_text("\n".join(lines) + "\n")
    command = ["-m", "nmt_moe", "corpus", "clean", "--langs", "en", "de", "--out", tmp_path / "out"]
    words = [sys.executable, *command, "--workers", workers, tmp_path / "text"]
    code, mib = peak(list(map(str, words)))
    assert code == 0 and mib <= MOST_MIB, mib
    assert (tmp_path / "out.en").read_text().count("\n") > 19_900
