"""README.md, docs/ and the other texts: fresh tables, links that lead somewhere, valid commands."""

import ast
import json
import re
import shlex
import subprocess
import tomllib
from collections.abc import Callable, Iterator
from functools import cache
from itertools import groupby
from pathlib import Path
from string import Template
from types import ModuleType

import pytest
from fairseq import options
from fairseq.dataclass.initialize import hydra_init
from hydra import compose, initialize_config_dir
from hydra._internal.utils import get_args
from hydra.errors import HydraException

import nmt_moe.plugin  # registers what the commands name
from nmt_moe.cli.main import COMMANDS, GROUPS, build_parser, find
from nmt_moe.common.errors import UserError
from nmt_moe.common.ranges import name_of
from nmt_moe.models.fairseq_options import OPTIONS
from tests.benchmarks.commands import load
from tests.recipes import ROOT
from tests.scripts import script

README = ROOT / "README.md"
TEXTS = [README, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")]
PARSERS: dict[str, Callable[[], object]] = {
    "fairseq-train": options.get_training_parser,
    "fairseq-generate": options.get_generation_parser,
    "fairseq-interactive": options.get_interactive_generation_parser,
    "fairseq-eval-lm": options.get_eval_lm_parser,
    "fairseq-preprocess": options.get_preprocessing_parser,
}
SHELL = {"source", "cp", "for", "done", "make", "pre-commit"}
SETTINGS = {"OMP_NUM_THREADS"}  # of any command
FOLDERS = (
    "nmt_moe",
    "hydra_plugins",
    "recipes",
    "tests",
    "benchmarks",
    "docs",
    "results",
    "requirements",
)


def generate() -> ModuleType:
    return script("docs/generate.py")


def test_generated_parts_are_fresh() -> None:
    stale = [str(path.relative_to(ROOT)) for path in generate().stale()]
    assert not stale, "run python docs/generate.py"


def test_a_stale_part_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- generated: figures docs/paper.json#balance -->\n1\n<!-- end -->\n")
    monkeypatch.setattr(generate(), "DOCUMENTS", [page])
    assert "| 0.01, 0.01 " in generate().stale()[page]


SPEED = re.compile(
    r"\d [\w-]*tokens/s|\d (?:tokens|sentences|words|wordpieces|pairs|updates) (?:per|a) second"
    r"|\d [KMGT]i?B/s|\d [KMGT]FLOPS?\b|\d [KMGT]FLOP/s"
    r"|\d times (?:as fast|as slow|as long|faster|slower)|\d ?% (?:faster|slower|of (?:the )?peak)"
    r"|\d (?:ms|milliseconds)\b|\d (?:minutes|hours|seconds) on (?:one|two|a|\d+) "
)


def typed_figures(text: str) -> list[str]:
    """Figures of speed that nobody's file has: outside what is generated, and outside commands."""
    text = generate().PART.sub("", text)
    text = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    return SPEED.findall(" ".join(text.split()))


def test_figures_of_speed_come_from_files() -> None:
    for path in generate().DOCUMENTS:
        assert not typed_figures(path.read_text()), path.name
    for line in (
        "Idle, it has 16 to 25 GB/s.",
        "It trains 414 target-tokens/s, or 20 sentences per second.",
        "A search is 1.40 times\nfaster than fairseq's.",
        "An update takes 0.04 ms.",
        "The recipe takes 66 minutes on one core, 12% slower.",
    ):
        assert typed_figures(line), line
    assert not typed_figures(
        "<!-- generated: measured lstm -->\n3 times faster\n<!-- end -->\n```\n4 GB/s\n```\n"
    )


def test_files_of_speed_are_those_that_all_of_them_write(monkeypatch: pytest.MonkeyPatch) -> None:
    every = load(monkeypatch, "all")
    known = every.CPU | every.CPU_BF16 | every.CUDA
    # Those of another processor lie in a folder of its own.
    written = {path.name for path in generate().BENCHMARKS.rglob("*.*")}
    assert written <= {"benchmarks.svg", *(f"{name}.json" for name in known)}
    shown = "".join(path.read_text() for path in generate().DOCUMENTS)
    for name in known:
        assert re.search(rf"^<!-- generated: (?:measured|layers) {name} -->$", shown, re.MULTILINE)
        found = generate().results_of(name)
        assert found is None or found.get("rounds", 5) >= 5, name


def test_a_table_of_speed_says_what_it_was_measured_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    about = dict(device="A", cores=4, threads=2, python="3", torch="2", date="1 May", commit="f")
    found = {"title": "Some", "machine": about, "rounds": 7, "idle": False}
    found |= {"heads": ["x", "y"], "rows": [["1", "2"]], "watch": {"why": "others took 1.0"}}
    found |= {"notes": ["other", "limits: copy 3.0 GB/s"]}
    (tmp_path / "some.json").write_text(json.dumps(found))
    monkeypatch.setattr(generate(), "BENCHMARKS", tmp_path)
    shown = generate().measured("some y")
    assert shown.endswith(
        "Some: A, 4 cores, 2 threads, Python 3, torch 2, 1 May, 7 rounds; not idle (others took "
        "1.0). Limits: copy 3.0 GB/s."
    )
    assert shown.startswith("| x ") and "|   1 |" not in shown.partition("\n\n")[0]
    assert generate().measured("none") == generate().layers("none") == "Not measured."


def test_the_readme_is_read_in_three_minutes() -> None:
    assert len(README.read_text().splitlines()) <= 150


def test_the_version_is_named_everywhere() -> None:
    [heading] = re.findall(r"^## \[(\d.*)\]$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)[
        :1
    ]
    [citation] = re.findall(r"^version: (.*)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert heading == citation == project["version"] == nmt_moe.__version__


def test_each_page_is_listed() -> None:
    """In the README, and in the navigation of the site."""
    texts = [README.read_text(), (ROOT / "mkdocs.yml").read_text()]
    for page in (ROOT / "docs").glob("*.md"):
        assert all(re.search(rf"\b{page.name}\b", text) for text in texts), page.name


def anchors(path: Path) -> set[str]:
    """The names that GitHub gives to the headings of a text."""
    text = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.DOTALL | re.MULTILINE)
    heads = re.findall(r"^#+ +(.+?) *$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", path.read_text()):
        if link.startswith("https://"):
            continue
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_names_exist(path: Path) -> None:
    """Files of the repository, targets of make, and options of ours or of fairseq's models."""
    text = path.read_text()
    for name in re.findall(rf"(?<![\w./-])(?:{'|'.join(FOLDERS)})/[\w./-]*\w/?", text):
        assert (ROOT / name).exists(), name
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:`|^|= )make ([\w-]+)", text, re.MULTILINE)) <= targets
    known = (ROOT / "docs" / "options.md").read_text()
    theirs = [name for option in OPTIONS for name in option.names.split()]
    known += " ".join(f"`{name_of(name)}`" for name in theirs)
    for option in re.findall(r"--(?:moe|attention|gnmt)[a-z-]*\w", text):
        assert f"`{option}`" in known, option
    for typed in re.findall(r"`nmt-moe((?: [a-z][a-z0-9]+)+)(?=[ `])", text):
        words = (*typed.split(),)
        assert any(name[: len(words)] == words[: len(name)] for name in COMMANDS), typed


def test_the_readme_has_all_commands() -> None:
    rows = re.findall(r"^\| `nmt-moe.*\|$", README.read_text(), re.MULTILINE)
    for words in COMMANDS:
        row = [row for row in rows if f"`nmt-moe {words[0]}`" in row]
        assert len(row) == 1 and all(f"`{word}`" in row[0] for word in words[1:2]), words


def commands(path: Path) -> Iterator[list[str]]:
    """The words of each command of a text, with the variables of its blocks put in."""
    variables: dict[str, str] = {}
    for block in re.findall(r"^```bash\n(.*?)^```", path.read_text(), re.DOTALL | re.MULTILINE):
        for line in block.replace("\\\n", " ").splitlines():
            lexer = shlex.shlex(line, posix=True, punctuation_chars="<>&|;")
            lexer.whitespace_split = True
            for between, group in groupby(lexer, {"&&", ";", "|"}.__contains__):
                words = [*group]
                if between:
                    continue
                if all("=" in word for word in words):
                    variables |= dict(word.split("=", 1) for word in words)
                elif words := words[words[:1] == ["do"] :]:
                    yield [Template(word).safe_substitute(variables) for word in words]


def without_redirections(words: list[str]) -> list[str]:
    """The arguments alone."""
    ends = [number for number, word in enumerate(words) if word in ("<", ">")]
    return words[: min(ends, default=len(words))]


@cache
def help_of(recipe: str) -> str:
    """What a recipe says of itself."""
    command = ["bash", ROOT / recipe, "--help"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def check_recipe(settings: list[str], words: list[str]) -> None:
    """The settings and options of a recipe are in its help."""
    recipe, *arguments = words
    assert (ROOT / recipe).exists(), recipe
    if not recipe.endswith(".sh"):
        return
    own = arguments[: arguments.index("--")] if "--" in arguments else arguments
    if recipe == "recipes/launch.sh":
        own = []
        check(arguments)
    for word in [setting.partition("=")[0] for setting in settings]:
        assert word in SETTINGS or re.search(rf"\b{word}\b", help_of(recipe)), (recipe, word)
    for word in own:
        assert not word.startswith("-") or word in help_of(recipe), (recipe, word)


def check(words: list[str]) -> None:
    """A command exists, and takes these arguments."""
    settings = [word for word in words if re.match(r"[A-Z_0-9]+=", word)]
    command, *arguments = without_redirections(words[len(settings) :])
    if command.startswith(("recipes/", "benchmarks/")):
        check_recipe(settings, [command, *arguments])
    elif command == "nmt-moe":
        [found] = [words for words in COMMANDS if (*arguments[: len(words)],) == words]
        build_parser(found).parse_args(arguments[len(found) :])
    elif command == "fairseq-preprocess":
        PARSERS[command]().parse_args(arguments)
    elif command in PARSERS:
        options.parse_args_and_arch(PARSERS[command](), arguments)
    elif command == "fairseq-hydra-train":
        given = get_args(arguments)
        hydra_init(given.config_name)
        with initialize_config_dir(str(ROOT / given.config_dir), version_base="1.1"):
            compose(given.config_name, [] if given.multirun else given.overrides)
    elif command.endswith("python"):
        assert arguments[0] == "-m" or (ROOT / arguments[0]).exists(), arguments
    elif command == "sbatch":
        check(arguments[[word.startswith("-") for word in arguments].index(False) + 1 :])
    else:
        assert command in SHELL, command


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_commands_are_valid(path: Path) -> None:
    for words in commands(path):
        try:
            check(words)
        except (Exception, SystemExit) as error:
            raise AssertionError(f"{path.name}: {shlex.join(words)}: {error}") from error


def texts_in_code() -> Iterator[tuple[str, str]]:
    """Each string of the package and each line of the recipes, with where it is."""
    for path in (ROOT / "nmt_moe").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield f"{path.name}:{node.lineno}", " ".join(node.value.split())
    for path in (ROOT / "recipes").rglob("*.sh"):
        yield from ((path.name, line) for line in path.read_text().splitlines())


def wrong_commands(text: str) -> list[str]:
    """What cannot be typed as a text has it: no command, or one without its first words."""
    typed = [(*words.split(),) for words in re.findall(r"\bnmt-moe((?: [a-z][a-z0-9]*)+)", text)]
    wrong = [" ".join(w) for w in typed if find(w) not in COMMANDS and w not in GROUPS]
    ends = {" ".join(words[1:]) for words in COMMANDS if words[2:]}
    return wrong + [name for name in re.findall(r"['`]([a-z0-9 ]+)['`]", text) if name in ends]


def test_commands_that_messages_name_exist() -> None:
    found = {where: wrong for where, text in texts_in_code() if (wrong := wrong_commands(text))}
    assert not found
    assert wrong_commands("type 'wordpieces train', nmt-moe corpus clen, nmt-moe plan it") == [
        *("corpus clen", "wordpieces train"),
    ]


def test_an_invalid_command_is_found() -> None:
    for line in (
        "fairseq-train data --user-dir nmt_moe --arch lstm_moe --moe-expert 4 x",
        "TEXTS=x recipes/lm.sh",
        "recipes/lm.sh --clear",
        "recipes/no.sh",
        "nmt-moe translate --beams 3 model.pt",
        "nmt-moe corpus words",
        "fairseq-hydra-train --config-dir recipes/hydra --config-name translation model.dropot=0.2",
        "unknown",
    ):
        with pytest.raises((AssertionError, SystemExit, UserError, ValueError, HydraException)):
            check(line.split())


def test_the_python_of_the_readme_runs() -> None:
    [block] = re.findall(r"^```python\n(.*?)^```", README.read_text(), re.DOTALL | re.MULTILINE)
    exec(block, {})
