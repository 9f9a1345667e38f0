"""How much the Pool takes under a supply cap: found by trying, against what the view says."""

import pytest

from keeper.devnet.abi import encode_call
from keeper.devnet.network import Devnet
from keeper.model import Address, Assessed, Holdings, IntentKind, Leg, Side
from keeper.protocols.aave_v3.view import View
from keeper.units import Raw, Wad
from tests.chain.differential import Seen, approve_everything, intent, see, simulate

pytestmark = pytest.mark.chain

A_FEW = 5
"""Raw units that the view may say too little."""


async def scarce(devnet: Devnet, asset: Address, a_token: Address) -> None:
    """Withdraw most of what is there, so that the rest earns, and leave 300 tokens of room."""
    there = devnet.deployment
    whale, admin = there.account("whale").address, there.account("deployer").address
    cash = await devnet.deployer.call(asset, "TestnetERC20", "balanceOf", a_token)
    taken = (asset, cash - cash // 20, whale)
    await devnet.as_account(whale, there.pool, "IPool", "withdraw", *taken)
    supplied = await devnet.deployer.call(a_token, "TestnetERC20", "totalSupply")
    old = there.protocol == "aave_v3_0"
    contract = "v3.0.2/PoolConfigurator" if old else "PoolConfiguratorInstance"
    cap = supplied // 10**6 + 300
    await devnet.as_account(admin, there.configurator, contract, "setSupplyCap", asset, cap)


def supplier(seen: Seen, view: View, reserve: int) -> tuple[Holdings, Leg, Wad]:
    """An account with debt that supplies it, and its health factor."""
    for holdings in seen.holdings.values():
        said = view.assess(holdings)
        if not isinstance(said, Assessed) or not said.debt:
            continue
        for leg in said.legs:
            if leg.reserve == reserve and leg.side is Side.COLLATERAL:
                return holdings, leg, said.health_factor
    raise AssertionError("nobody supplies it")


@pytest.mark.parametrize("after_s", [12, 3_617, 86_413])
async def test_the_room_under_a_supply_cap_is_never_more_than_the_pool_takes(
    either: Devnet, after_s: int
) -> None:
    there, keeper = either.deployment, await approve_everything(either)
    reserve = there.reserve("USDC")
    await scarce(either, reserve.asset, reserve.a_token)
    seen = await see(either)
    at = seen.block.timestamp + after_s
    view = seen.view(at)
    room = view.reserves[reserve.reserve].headroom
    assert room is not None

    async def takes(amount: int) -> bool:
        data = encode_call(
            either.artifacts.get("IPool"), "supply", reserve.asset, amount, keeper, 0
        )
        [done] = await simulate(either, at, (keeper, there.pool, data))
        return bool(done["status"] == "0x1")

    assert room > 200 * 10**6
    assert await takes(room)
    assert not await takes(room + A_FEW)

    holdings, leg, health = supplier(seen, view, reserve.reserve)
    reached, too_far = health, Wad(health * 100)
    while too_far - reached > 1:  # the best health that a supply still reaches
        middle = Wad((reached + too_far) // 2)
        if view.supply_to_reach(holdings, leg, middle) is None:
            too_far = middle
        else:
            reached = middle
    amount = view.supply_to_reach(holdings, leg, reached)
    assert amount is not None
    assert room - amount < 10**6
    wanted = intent(IntentKind.TOP_UP, holdings.account, seen, asset=leg.asset, amount=Raw(amount))
    [done] = await simulate(either, at, (keeper, *view.encode(wanted)))
    assert done["status"] == "0x1", done
