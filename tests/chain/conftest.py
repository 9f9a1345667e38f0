"""One devnet for all chain tests; each test finds it as it was at first.

`devnet` snapshots before the test and reverts after it.  A test that kills, pauses or otherwise
spoils Anvil starts one of its own from `toolchain`; should it spoil this one all the same, the
next test finds it started again on the same port.
"""

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import pytest

from keeper.devnet.deploy_v3_0 import deploy_v3_0
from keeper.devnet.deployment import Deployment
from keeper.devnet.network import BASE_FEE_WEI, Devnet, Stage, start
from keeper.devnet.seed import seed
from keeper.devnet.toolchain import Toolchain, ensure
from keeper.errors import RpcError
from tests.chain.going_back import head_of, still

POSITIONS = 60


@pytest.fixture(scope="session")
def toolchain() -> Toolchain:
    """Anvil and the compiled contracts; brought and compiled on first use."""
    return ensure()


@pytest.fixture(scope="session")
def stage(toolchain: Toolchain) -> Iterator[Stage]:
    """The process under the shared devnet."""
    started = start(POSITIONS)
    yield started
    started.stop()


@pytest.fixture(scope="session")
def deployment(stage: Stage) -> Deployment:
    """What is deployed on the shared devnet, and its URLs."""
    return stage.deployment


@pytest.fixture
async def devnet(stage: Stage) -> AsyncIterator[Devnet]:
    """The shared devnet: ``.deployment``, ``.anvil``, ``.borrowers``, ``.push_price()``."""
    if not stage.process.alive:
        stage.restart()
    async with stage.devnet() as opened:
        anvil = opened.anvil
        before = await head_of(anvil)
        snapshot = await anvil.snapshot()
        yield opened
        try:
            await still(anvil)
            await anvil.revert(snapshot)
            await anvil.set_automine(on=True)
            await anvil.set_next_base_fee(BASE_FEE_WEI)
            same = await head_of(anvil) == before
        except RpcError:
            same = False
    if not same:
        stage.restart()


@pytest.fixture
async def devnet_v3_0(devnet: Devnet, toolchain: Toolchain) -> Devnet:
    """Aave v3.0.2 (POOL_REVISION 1) on the same chain, with 40 borrowers of another crowd."""
    old = await deploy_v3_0(devnet.deployer, devnet.deployment)
    borrowers = await seed(devnet.anvil, devnet.artifacts, old, 40, 7)
    return Devnet(devnet.anvil, replace(old, borrowers=borrowers), toolchain)


@pytest.fixture(params=["devnet", "devnet_v3_0"])
def either(request: pytest.FixtureRequest) -> Devnet:
    """Both ends of the arithmetic by revision: 3.6 with 60 accounts, 3.0.2 with 40."""
    found: Devnet = request.getfixturevalue(request.param)
    return found
