"""Worlds drawn by hypothesis on the deployed v3.6 and v3.0.2: every account to the wei.

A short form, the same each time; `./run bench X2` is the long one.
"""

import pytest

from keeper.devnet.network import start
from keeper.devnet.toolchain import Toolchain
from tests.chain.arena import RELEASES, Arena

pytestmark = pytest.mark.chain

WORLDS, HOLDERS = 8, 30


@pytest.mark.parametrize("release", RELEASES)
def test_every_account_of_every_world_is_valued_and_liquidated_as_the_pool_does(
    release: str, toolchain: Toolchain
) -> None:
    stage = start(0)
    try:
        arena = Arena(stage, toolchain, release)
        arena.play(WORLDS, HOLDERS)
    finally:
        stage.stop()

    print(f"Aave v{release}: {arena.tally}")  # noqa: T201 - how many were compared is the point
    assert arena.tally.compared == WORLDS * HOLDERS
    assert arena.tally.below > 40
    assert arena.tally.in_e_mode > 40
    assert arena.tally.liquidated > 40
    assert arena.tally.refused > 10
