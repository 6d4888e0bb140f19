"""What the tests of the habits share: the models that the rows use, made once for all processes."""

import pytest

from tests.conftest import Shared
from tests.fairseq.habits import Tried


@pytest.fixture(scope="module")
def ours(shared: Shared, tmp_path_factory: pytest.TempPathFactory) -> Tried:
    tried = Tried("ours", tmp_path_factory.mktemp("habits"))
    tried.prepared = shared("habits", tried.prepare)
    return tried
