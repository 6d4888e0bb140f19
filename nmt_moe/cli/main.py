"""``nmt-moe``: the table of its commands, and how one of them is found and run."""

import argparse
import importlib
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from types import FrameType

from nmt_moe import __version__
from nmt_moe.cli.arguments import Command, parser
from nmt_moe.common.errors import UserError, exit_code, say, suggestion

Words = tuple[str, ...]

COMMANDS: dict[Words, tuple[str, str]] = {
    ("train",): ("train:Train", "train a translator of your own text, from files to a folder"),
    ("translate",): ("translate:Translate", "translate text, line by line"),
    ("serve",): ("serve:Serve", "a page to translate on, and LibreTranslate's protocol"),
    ("evaluate",): ("evaluate:Evaluate", "translate a text with a model, and score that"),
    ("score",): ("score:Score", "BLEU, chrF and perplexity of a translation"),
    ("report",): ("report:Report", "a page about what the experts of a model do, or about curves"),
    ("plan",): ("plan:Plan", "operations, parameters, memory and traffic of an architecture"),
    ("options",): ("options:Options", "what fairseq-train takes for these models, with ranges"),
    ("model", "info"): ("model:Info", "check a model's folder, and show what it is"),
    ("model", "pack"): ("model:Pack", "make one file of a model's folder"),
    ("model", "unpack"): ("model:Unpack", "make a model's folder of such a file"),
    ("model", "shortlist"): ("shortlist:Learn", "learn which pieces translations may need"),
    ("checkpoint", "average"): ("checkpoint:Average", "the mean of the weights of several"),
    ("checkpoint", "inspect"): ("checkpoint:Inspect", "show what a checkpoint or a part is"),
    ("checkpoint", "merge"): ("checkpoint:Merge", "make one complete checkpoint of parts"),
    ("checkpoint", "split"): ("checkpoint:Split", "make the parts for a number of processes"),
    ("corpus", "download"): ("archives:Download", "get the archives of WMT'14"),
    ("corpus", "wmt14"): ("archives:Wmt14", "write the text of WMT'14's archives"),
    ("corpus", "import"): ("importing:Import", "any usual parallel text into files of lines"),
    ("corpus", "clean"): ("clean:Clean", "clean parallel text, and count what each rule did"),
    ("corpus", "wordpieces", "train"): ("wordpieces:Train", "learn a vocabulary"),
    ("corpus", "wordpieces", "encode"): ("wordpieces:Encode", "write text as pieces"),
    ("corpus", "wordpieces", "count"): ("wordpieces:Count", "a table of sizes and unknown rates"),
    ("corpus", "multilingual", "pairs"): ("multilingual:Pairs", "pairs of the phrasebook"),
    ("corpus", "multilingual", "learn"): ("multilingual:Learn", "learn pieces of all languages"),
    ("corpus", "multilingual", "mix"): ("multilingual:Mix", "write several pairs as pieces"),
    ("corpus", "monolingual"): ("texts:Monolingual", "divide text in one language into three sets"),
    ("corpus", "phrasebook"): ("phrasebook:Phrasebook", "generate parallel text on this machine"),
    ("corpus", "multi30k"): ("texts:Multi30k", "write the splits of Multi30k as plain text"),
    ("corpus", "sizes"): ("wordpieces:Count", "the same as corpus wordpieces count"),
    ("claims", "check"): ("claims:Check", "test all that is said of results on their logs"),
    ("claims", "show"): ("claims:Show", "table and picture of results anew, from their logs"),
    ("claims", "collect"): ("claims:Collect", "add the trainings of a run's folder to results"),
    ("claims", "gates"): (
        "claims:Gates",
        "measure what the gates' noise does to the experts' load",
    ),
    ("claims", "machine"): ("claims:Machine", "print what runs here, as JSON"),
    ("claims", "peak"): ("claims:Peak", "run a command and note the memory it needs"),
    ("claims", "run"): ("claims:Run", "train the grid of a table, as recipes/claims do"),
    ("claims", "search"): ("search:Search", "find the best settings of a training by validation"),
    ("claims", "tried"): ("search:Tried", "print what a search has tried, the best first"),
    ("claims", "test"): ("opened:Test", "translate a test text once, and record the scores"),
    ("runs", "open"): ("runs:Open", "make or reopen the folder of a run"),
    ("runs", "lock"): ("runs:Lock", "let no other recipe work in it"),
    ("runs", "stage"): ("runs:Stage", "do a stage of a run, unless it is done"),
    ("runs", "step"): ("runs:Step", "do a step of a stage by itself"),
    ("runs", "table"): ("runs:Table", "make what a command prints the table of a run"),
    ("runs", "progress"): ("runs:Progress", "a filter: what a training's log says, in short lines"),
    ("runs", "summary"): ("runs:Summary", "scores, seconds and balance of a finished run"),
    ("runs", "series"): ("runs:Series", "a table that compares the trainings of a run"),
    ("runs", "multilingual"): ("runs:Multilingual", "the BLEU of each pair of languages of a run"),
    ("runs", "testset"): ("runs:Testset", "find what a checkpoint is scored with"),
}
"""Of each command the module and class in :mod:`nmt_moe.cli`, and a line of help."""

GROUPS: dict[Words, str] = {
    (): "Sparsely-gated mixtures of experts for machine translation, a fairseq plugin.",
    (
        "model",
    ): "A model's folder: weights, dictionaries, wordpieces and card, all that translates.",
    ("checkpoint",): "Checkpoints of trainings whose experts are spread over processes: with "
    "--moe-sharded-checkpoint each\nprocess writes its part, checkpoint_last-rank-0.pt and so on.",
    (
        "corpus",
    ): "Text for training: download, import, clean, cut into pieces, put together, generate.",
    ("corpus", "wordpieces"): "Learn a vocabulary of wordpieces, cut text into them, count them.",
    ("corpus", "multilingual"): "Put several pairs of languages together, for one model.",
    ("claims",): "Logs, table and picture of a claim, from the trainings of recipes/claims.",
    ("runs",): "The folder of a run, RUN_DIR: what the recipes do in it, and what they tell of it.",
}
"""What the commands that begin with these words are for."""


def command(words: Words) -> type[Command]:
    """The class of a command."""
    module, name = COMMANDS[words][0].split(":")
    found: type[Command] = getattr(importlib.import_module(f"nmt_moe.cli.{module}"), name)
    return found


def build_parser(words: Words) -> argparse.ArgumentParser:
    """The parser of a command."""
    return parser(command(words), " ".join(["nmt-moe", *words]))


def listing(group: Words) -> Iterator[str]:
    """The lines that name the commands of a group."""
    typed = " ".join(["nmt-moe", *group])
    yield f"usage: {typed} COMMAND ..."
    yield f"\n{GROUPS[group]}\n"
    names = {" ".join(words): line for words, (_, line) in _below(group).items()}
    for name, line in names.items():
        yield f"  {name:{max(map(len, names))}}  {line}"
    yield f"\n'{typed} COMMAND --help' shows what a command takes."


def _below(group: Words) -> dict[Words, tuple[str, str]]:
    """The commands of a group, by the rest of their words."""
    size = len(group)
    return {words[size:]: found for words, found in COMMANDS.items() if words[:size] == group}


def find(given: Sequence[str]) -> Words:
    """The longest beginning of what was given that names a command or a group."""
    words: Words = ()
    for word in given:
        if words in COMMANDS or not _below((*words, word)):
            break
        words += (word,)
    return words


def _unknown(group: Words, word: str) -> UserError:
    below = _below(group)
    deeper = [" ".join(words) for words in below if word in words[1:]]
    hint = f"did you mean {' or '.join(deeper)}?"
    if not deeper:
        hint = suggestion(word, dict.fromkeys(words[0] for words in below))
    if not group and word in ("generate", "interactive", "preprocess"):
        hint = f"fairseq-{word} --user-dir nmt_moe does that"
    return UserError(f"there is no command {' '.join(['nmt-moe', *group, word])}: {hint}")


def main(arguments: Sequence[str] | None = None, own_process: bool = False) -> int:
    """Run what the arguments name.

    Args:
        arguments: as they are typed after ``nmt-moe``.
        own_process: whether this process does nothing else.

    Returns:
        The exit code.
    """
    given = sys.argv[1:] if arguments is None else list(arguments)
    code = 0

    def run() -> None:
        nonlocal code
        words = find(given)
        rest = given[len(words) :]
        if words in COMMANDS:
            parser = build_parser(words)
            in_order = "--" in rest or any(
                action.nargs == argparse.REMAINDER for action in parser._actions
            )
            # A file may be named after options, too.
            parsed = (parser.parse_args if in_order else parser.parse_intermixed_args)(rest)
            chosen = command(words)(**vars(parsed))
            if own_process:
                chosen.in_own_process()
            code = chosen.run() or 0
        elif not rest:
            print("\n".join(listing(words)), file=sys.stderr)
            code = 2
        elif rest[0] in ("-h", "--help", "help"):
            print("\n".join(listing(words)))
        elif rest[0] in ("--version", "version"):
            print(f"nmt-moe {__version__}")
        else:
            raise _unknown(words, rest[0])

    return exit_code(run) or code


def console() -> int:
    """The console script."""
    # Python sets no handler where a shell lets it ignore Ctrl-C.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)
    return main(own_process=True)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Ctrl-C, of which numpy makes an ImportError while it is loaded, and importlib nothing."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            say("stopped by Ctrl-C")
            os._exit(130)
        frame = frame.f_back
    raise KeyboardInterrupt
