"""``--patience`` counts on where a training goes on, and a training that it ended is done."""

from pathlib import Path

from tests.commands import train


def test_patience_counts_on(data: Path, tmp_path: Path) -> None:
    """The first validation is the best; after three more without a better one the training ends."""
    given = ["--lr", "0", "--patience", "3", "--max-tokens", "4000"]
    first = train(data, tmp_path, *given, "--max-epoch", "2")
    assert len(first.logs("valid")) == 2 and "early stop" not in first.stdout
    then = train(data, tmp_path, *given, "--max-epoch", "9")
    assert [line["epoch"] for line in then.logs("valid")] == [3, 4]
    assert "early stop since valid performance hasn't improved for last 3 runs" in then.stdout
    again = train(data, tmp_path, *given, "--max-epoch", "9")
    assert not again.logs("valid") and "and --patience ended" in again.stdout
