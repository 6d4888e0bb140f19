"""The table of a multilingual run: BLEU of each pair, without experts and with them.

Both models have translated one test text, which is that of all pairs, one pair after the other.
``RUN/MODEL/hypotheses.txt`` is divided by the lengths of the pairs' test files into
``RUN/MODEL/PAIR.txt``, each scored alone by sacrebleu.
"""

import statistics
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from fairseq.data import Dictionary

from nmt_moe.common import logged
from nmt_moe.common.door import door
from nmt_moe.common.lines import read_lines
from nmt_moe.common.table import markdown
from nmt_moe.corpus.multilingual.pairs import languages, text_files
from nmt_moe.models.architectures import build, saved_config
from nmt_moe.plan import counts
from nmt_moe.runs import folder
from nmt_moe.runs.pairs import bleu, divided
from nmt_moe.runs.training_log import last_validation

MODELS = ("dense", "moe")
_PERPLEXITY = logged.of_split("valid", logged.PERPLEXITY)


def table(run: Path, pairs: Mapping[str, Path]) -> Iterator[str]:
    """A row for each pair, then the sizes of the models and how they were scored."""
    references = {
        pair: list(read_lines(text_files(folder, "test", pair)[1]))
        for pair, folder in pairs.items()
    }
    translations = {model: divided(run, model, references) for model in MODELS}
    rows, scores, signatures = [], [], {}
    for pair, texts in references.items():
        target = languages(pair)[1]
        figures = []
        for model in MODELS:
            figure, signatures[target] = bleu(translations[model][pair], texts, target)
            figures.append(figure)
        scores.append(figures)
        rows.append([pair, f"{len(texts):,}", *_figures(figures)])
    means = list(map(statistics.fmean, zip(*scores, strict=True)))
    yield from markdown(
        ["pair", "test lines", "dense BLEU", "MoE BLEU", "difference"],
        [*rows, ["mean", "", *_figures(means)]],
    )
    yield ""
    yield from markdown(["", *MODELS], list(_sizes(run)))
    yield ""
    for signature in dict.fromkeys(signatures.values()):
        targets = [target for target, other in signatures.items() if other == signature]
        yield f"BLEU into {', '.join(targets)}, detokenised, case-sensitive: {signature}"


def _figures(scores: list[float]) -> list[str]:
    dense, moe = scores
    return [f"{dense:.2f}", f"{moe:.2f}", f"{moe - dense:+.2f}"]


def _sizes(run: Path) -> Iterator[list[str]]:
    """What the models are and how they were trained, a column for each."""
    symbols = len(Dictionary.load(str(run / "binary" / "dict.src.txt")))
    columns = []
    for name in MODELS:
        checkpoint = run / name / folder.BEST
        cfg = saved_config(checkpoint)
        with torch.device("meta"):
            model = build(cfg, symbols)
        valid = last_validation(folder.log(run / name)) or {}
        columns.append([
            f"{cfg.moe_experts} of width {cfg.moe_hidden_dim}, k = {cfg.moe_k}"
            if str(cfg.feed_forward) == "moe"
            else f"none, width {cfg.moe_k * cfg.moe_hidden_dim}",
            f"{sum(counts.operations(model).values()):,}",
            f"{counts.parameters(model):,}",
            f"{counts.parameters_without_embedding_and_softmax(model):,}",
            str(valid.get(logged.of_split("valid", logged.UPDATES), "-")),
            str(seed(checkpoint)),
            f"{float(valid[_PERPLEXITY]):.2f}" if _PERPLEXITY in valid else "-",
            f"{folder.seconds(run / name):,}",
        ])  # fmt: skip
    titles = (
        "experts, ops per timestep, parameters, without embedding and softmax, updates, seed, "
        "validation perplexity, seconds"
    )
    for title, *cells in zip(titles.split(", "), *columns, strict=True):
        yield [title, *cells]


def seed(checkpoint: Path) -> int:
    """The seed that a checkpoint was trained with; its tensors are not read."""
    saved = torch.load(str(checkpoint), map_location="cpu", mmap=True, weights_only=True)
    return int(saved["cfg"]["common"]["seed"])


main = door(__name__, "runs", "multilingual")
