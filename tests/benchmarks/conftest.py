"""What the tests of the benchmarks share."""

import logging
from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """A benchmark that runs in this process is quiet, and says how many threads there are."""
    threads, quiet = torch.get_num_threads(), logging.root.manager.disable
    yield
    logging.disable(quiet)
    torch.set_num_threads(threads)
