"""The process under a devnet, for the rows that need the whole keeper."""

from collections.abc import Iterator

import pytest

from keeper.devnet.network import Stage, start
from tests.faults.rows import POSITIONS


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    """Started once; each trial puts it back."""
    started = start(POSITIONS)
    yield started
    started.stop()
