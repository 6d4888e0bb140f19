"""The trainings of a claim, as recipes/claims start them."""

import os
from collections.abc import Sequence
from pathlib import Path

from nmt_moe.common.errors import UserError
from nmt_moe.runs.claims import language_models, multilingual, translations
from nmt_moe.runs.claims.grid import Grid


def train(table: Path, given: Sequence[str]) -> None:
    """Train the grid of a table.

    Args:
        table: of the claim.
        given: ``[--clean] [FILE...] [-- FAIRSEQ_TRAIN_OPTIONS]``

    Raises:
        UserError: there is something else, or it does not fit the run that is there.
    """
    end = given.index("--") if "--" in given else len(given)
    words = [word for word in given[:end] if word != "--clean"]
    for word in words:
        if word.startswith("-"):
            raise UserError(f"unknown option '{word}': see {table.stem}.sh --help")
    grid = Grid.read(table, os.environ, given[end + 1 :])
    kinds = {"TRAIN": translations, "PAIRS": multilingual}
    kind = next((kinds[name] for name in kinds if name in grid.settings), language_models)
    kind.run(grid, words, "--clean" in given[:end])
