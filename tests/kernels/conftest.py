"""What the tests of the code in C share."""

from collections.abc import Iterator

import pytest

from nmt_moe.kernels.cpu.extension import library

INSTRUCTIONS = ["any", "avx2", "avx512"]


@pytest.fixture(params=range(len(INSTRUCTIONS)), ids=INSTRUCTIONS)
def instructions(request: pytest.FixtureRequest) -> Iterator[None]:
    """Each kind of instructions that is here."""
    if library.experts_instructions(request.param) != request.param:
        library.experts_instructions(len(INSTRUCTIONS))
        pytest.skip("not on this machine")
    yield
    library.experts_instructions(len(INSTRUCTIONS))
