"""The claim about several languages in one model: BLEU of each pair of languages."""

import itertools
import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from nmt_moe.common.errors import UserError
from nmt_moe.common.files import atomic_write
from nmt_moe.common.lines import read_lines
from nmt_moe.corpus import multi30k
from nmt_moe.corpus.multilingual.pairs import languages, text_files
from nmt_moe.runs.claims.grid import Grid
from nmt_moe.runs.claims.language_models import measure
from nmt_moe.runs.claims.translations import URL, generate
from nmt_moe.runs.folder import BEST
from nmt_moe.runs.pairs import bleu, divided
from nmt_moe.runs.steps import Stage, into, train

LANGUAGES = ["--source-lang", "src", "--target-lang", "tgt"]
_MIX = ["python", "-m", "nmt_moe.corpus.multilingual"]
_SEED = "1"  # of the text: all trainings have the same


def run(grid: Grid, words: Sequence[str], clean: bool) -> None:
    """Train all cells on Multi30k's text between all pairs of languages.

    Raises:
        UserError: no such folder or languages, or a run of others.
    """
    if words:
        raise UserError(f"unknown argument '{words[0]}': see {grid.claim}.sh --help")
    given, folder = grid.settings, grid.run.path
    pairs = given["PAIRS"].split()
    for language in itertools.chain.from_iterable(map(languages, pairs)):
        if language not in multi30k.LANGUAGES:
            known = ", ".join(multi30k.LANGUAGES)
            raise UserError(f"PAIRS names '{language}', which Multi30k has not: {known}")
    text = Path(given["MULTI30K"]).absolute() if given["MULTI30K"] else None
    if text:
        multi30k.find(text, "train.en")
    url = grid.environment.get("MULTI30K_URL") or URL
    grid.open(clean, f"from={text or url}", f"pairs={' '.join(pairs)}")
    before = None
    if text is None:
        before, text = "download", folder / "download/dataset"
        grid.stage("download", None, ["clone", url, "name their folder, MULTI30K=/path/to/folder"])
    corpora = {pair: folder / "corpus" / pair for pair in pairs}

    def prepare(_: Path) -> None:
        for pair, out in corpora.items():
            multi30k.prepare(text, *languages(pair), out)

    grid.run.stage("corpus", prepare, before)
    named, pieces = [f"{pair}={path}" for pair, path in corpora.items()], folder / "wordpieces"
    mixed = ["--model", f"{pieces}/model.model", "--out", str(pieces), "--max-pieces", "100"]
    grid.stage(
        "wordpieces", "corpus",
        [*_MIX, "learn", "--vocabulary", given["VOCABULARY"], "--out", f"{pieces}/model", *named],
        [*_MIX, "mix", *mixed, "--seed", _SEED, *named],
    )  # fmt: skip
    grid.stage("binary", "wordpieces", ["binary", *LANGUAGES, "--joined-dictionary"])

    def training(stage: Stage, options: Sequence[str]) -> None:
        train(stage, *LANGUAGES, *grid.common, *options)
        if stage.run.node == 0:
            measure(stage, "--task", "translation")
            generate(stage, "fairseq", "test", "fairseq", LANGUAGES)
            score(stage, corpora)
            look(stage)

    grid.train(training, grid.typed())


def score(stage: Stage, corpora: Mapping[str, Path]) -> None:
    """BLEU of each pair and their mean, detokenised and cased, in ``pairs.json``."""
    references = {
        pair: list(read_lines(text_files(folder, "test", pair)[1]))
        for pair, folder in corpora.items()
    }
    found = divided(stage.folder, "fairseq", references)
    scores = {
        pair: round(bleu(lines, references[pair], languages(pair)[1])[0], 2)
        for pair, lines in found.items()
    }
    with atomic_write([stage.folder / "pairs.json"]) as [file]:
        json.dump({"mean": round(statistics.fmean(scores.values()), 3)} | scores, file)


def look(stage: Stage) -> None:
    """What the choice of an expert says of the language to translate into, in bits, by layer, in
    ``experts.json``; nothing of a model without experts."""
    data = [str(stage.folder / BEST), str(stage.run.path / "binary")]
    into(stage, "report.json", "nmt-moe", "report", *data, "--json", "--device", "cpu")
    layers = json.loads((stage.folder / "report.json").read_text("utf-8"))["layers"]
    found = {
        f"{layer['name']} {name}": round(layer["information"]["label"][name], 4)
        for layer in layers
        for name in ("bits", "shuffled", "entropy")
    }
    with atomic_write([stage.folder / "experts.json"]) as [file]:
        json.dump(found, file)
