"""Programs that end while fairseq prepares batches: exit code 0, and soon."""

import subprocess
import sys

import pytest

ENDS_WITHIN_AN_EPOCH = """
import atexit
import time

import torch
from fairseq.data.iterators import BufferedIterator

atexit.register(lambda: print(time.monotonic() - until))  # after what the plugin registers
import nmt_moe.plugin


class Batches:
    def __len__(self):
        return 1_000_000

    def __iter__(self):
        while True:
            batch = torch.zeros(3)
            for _ in range(200):  # mostly inside torch
                batch.copy_(torch.ones(3))
            yield batch


batches = BufferedIterator({room}, Batches())
next(batches)
until = time.monotonic() + 0.1
while time.monotonic() < until:
    pass
"""


@pytest.mark.parametrize(
    "room",
    [
        pytest.param(1, id="waits for room", marks=pytest.mark.slow),
        pytest.param(1_000_000, id="prepares"),
    ],
)
def test_a_program_that_ends_within_an_epoch_is_not_aborted(room):
    program = ENDS_WITHIN_AN_EPOCH.replace("{room}", str(room))
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=60)
    assert ended.returncode == 0, ended.stderr
    assert float(ended.stdout) < 5
