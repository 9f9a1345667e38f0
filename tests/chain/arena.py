"""A chain of its own that drawn worlds are put onto, one after the other."""

import asyncio
from dataclasses import replace

from hypothesis import HealthCheck, Phase, given, settings

from keeper.devnet.deploy_v3_0 import deploy_v3_0
from keeper.devnet.network import Devnet, Stage
from keeper.devnet.toolchain import Toolchain
from tests.chain.bouts import Tally, bout
from tests.chain.worlds import World, worlds

RELEASES = ("3.6", "3.0.2")


class Arena:
    """Takes worlds on one release of Aave v3 and keeps the tally."""

    def __init__(self, stage: Stage, toolchain: Toolchain, release: str) -> None:
        self.stage, self.toolchain, self.release = stage, toolchain, release
        self.tally = Tally()

    def play(self, count: int, holders: int) -> None:
        """Draw `count` worlds of `holders` accounts, the same each time.  Fails at a difference."""

        @settings(
            max_examples=count,
            deadline=None,
            derandomize=True,
            database=None,
            phases=(Phase.generate,),
            suppress_health_check=list(HealthCheck),
        )
        @given(worlds(holders))
        def one(world: World) -> None:
            asyncio.run(self._take(world))

        one()

    async def _take(self, world: World) -> None:
        async with self.stage.devnet() as devnet:
            before = await devnet.anvil.snapshot()
            try:
                there = devnet
                if self.release == "3.0.2":
                    old = await deploy_v3_0(devnet.deployer, devnet.deployment)
                    there = Devnet(devnet.anvil, replace(old, borrowers=()), self.toolchain)
                await bout(there, world, self.tally)
            finally:
                await devnet.anvil.set_automine(on=True)
                await devnet.anvil.revert(before)
