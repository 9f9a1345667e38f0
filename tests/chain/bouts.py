"""One world against the contracts: every account valued, every liquidation carried out.

Health by `getUserAccountData`, liquidations by `liquidationCall` in `eth_simulateV1`, each for
itself.  The liquidator is given what it pays with, and takes aTokens, so that the collateral's cash
need not be there; the amounts are the same.
"""

from dataclasses import dataclass
from typing import Any

from eth_abi.abi import encode
from eth_utils.crypto import keccak

from keeper.devnet.abi import encode_call
from keeper.devnet.implant import found
from keeper.devnet.network import Devnet
from keeper.model import Address, Holdings, Liquidation, MarketId, Side
from keeper.protocols.aave_v3.adapter import AaveV3
from keeper.protocols.aave_v3.view import View
from keeper.units import UINT256_MAX, WAD, Raw
from tests.chain.differential import Seen, approve_everything, block_of, liquidated, run, simulate
from tests.chain.worlds import World, settle

LATER_S = 12


@dataclass
class Tally:
    """What was compared over all worlds, each of it equal."""

    worlds: int = 0
    compared: int = 0
    below: int = 0
    without_debt: int = 0
    in_e_mode: int = 0
    liquidated: int = 0
    refused: int = 0

    def __str__(self) -> str:
        return (
            f"{self.worlds} worlds, {self.compared} accounts equal to the wei "
            f"({self.below} below 1, {self.without_debt} without debt, {self.in_e_mode} in an "
            f"e-mode), {self.liquidated} liquidations equal to the wei, {self.refused} refused "
            f"by both"
        )


async def bout(devnet: Devnet, world: World, tally: Tally, *, liquidate: int = 12) -> None:
    """Settle `world` and compare; at most `liquidate` pairs are liquidated."""
    keeper = await approve_everything(devnet)
    await _endow(devnet, keeper)
    wanted = await settle(devnet, world)
    seen = await _seen(devnet, [one.holdings.account for one in wanted])
    assert not seen.observed.unreadable
    for one in wanted:
        assert seen.holdings[one.holdings.account] == one.holdings
    await _compare(devnet, seen, tally)
    await _liquidate(devnet, keeper, seen, tally, liquidate)
    tally.worlds += 1


async def _seen(devnet: Devnet, accounts: list[Address]) -> Seen:
    empty = await _bare(devnet)
    observed = await run(
        devnet.anvil,
        empty.adapter.observe(empty.market, accounts, lambda _: None),
        empty.block,
    )
    return Seen(empty.adapter, empty.market, observed, empty.block)


async def _bare(devnet: Devnet) -> Seen:
    adapter = AaveV3(
        MarketId(chain_id=31337, name="devnet", protocol="aave_v3"),
        devnet.deployment.addresses_provider,
    )
    block = await block_of(devnet.anvil)
    market = await run(devnet.anvil, adapter.discover(), block)
    observed = await run(devnet.anvil, adapter.observe(market, (), lambda _: None), block)
    return Seen(adapter, market, observed, block)


async def _compare(devnet: Devnet, seen: Seen, tally: Tally) -> None:
    accounts = list(seen.holdings)
    theirs = await devnet.account_data_of(accounts, hex(seen.block.number))
    view = seen.view()
    for account, said in zip(accounts, theirs, strict=True):
        holdings = seen.holdings[account]
        ours = view.contract_health(holdings)
        assert (ours.collateral, ours.debt, ours.health_factor) == (said[0], said[1], said[5]), (
            holdings,
            view.explain(holdings),
        )
        tally.compared += 1
        tally.below += said[5] < WAD
        tally.without_debt += said[1] == 0
        tally.in_e_mode += holdings.e_mode in seen.market.e_modes


async def _liquidate(devnet: Devnet, keeper: Address, now: Seen, tally: Tally, most: int) -> None:
    at = now.block.timestamp + LATER_S
    view = now.view(at)
    tried = 0
    for holdings in now.holdings.values():
        for of in view.liquidations(holdings):
            for cut in (of, view.liquidation_at_most(holdings, of, Raw(of.debt_to_cover // 3 + 1))):
                if cut is None or tried >= most:
                    continue
                tried += 1
                await _one(devnet, keeper, view, at, holdings, cut)
                tally.liquidated += 1
        if not view.liquidations(holdings):
            tally.refused += await _refused(devnet, keeper, view, at, holdings)


async def _one(
    devnet: Devnet, keeper: Address, view: View, at: int, holdings: Holdings, cut: Liquidation
) -> None:
    call = _call(devnet, holdings, cut.collateral.asset.address, cut.debt.asset.address, cut.amount)
    [result] = await simulate(devnet, at, (keeper, devnet.deployment.pool, call))
    assert result["status"] == "0x1", (result["returnData"], cut, view.explain(holdings))
    theirs = liquidated(result)
    assert theirs == (cut.debt_to_cover, cut.seized), (theirs, cut, view.explain(holdings))


async def _refused(devnet: Devnet, keeper: Address, view: View, at: int, holdings: Holdings) -> int:
    """Where we see nothing to liquidate, the Pool refuses too, or gives nothing for it."""
    legs = [
        (view.reserves[c.reserve].asset.address, view.reserves[d.reserve].asset.address)
        for c in holdings.entries
        for d in holdings.entries
        if c.side is Side.COLLATERAL and d.side is Side.DEBT
    ]
    for collateral, debt in legs[:1]:
        call = _call(devnet, holdings, collateral, debt, UINT256_MAX)
        [result] = await simulate(devnet, at, (keeper, devnet.deployment.pool, call))
        worthless = result["status"] == "0x1" and liquidated(result)[1] == 0
        assert worthless or result["status"] == "0x0", (liquidated(result), view.explain(holdings))
    return len(legs[:1])


def _call(
    devnet: Devnet, holdings: Holdings, collateral: Address, debt: Address, amount: int
) -> bytes:
    pool = devnet.artifacts.get("IPool")
    arguments: tuple[Any, ...] = (collateral, debt, holdings.account, amount, True)
    return encode_call(pool, "liquidationCall", *arguments)


async def _endow(devnet: Devnet, keeper: Address) -> None:
    """Give the liquidator plenty of every asset, by writing its balance."""
    for reserve in devnet.deployment.reserves:
        token = devnet.artifacts.get("TestnetERC20")
        data = encode_call(token, "balanceOf", keeper)

        def slot(place: int) -> int:
            return int.from_bytes(keccak(encode(["address", "uint256"], [keeper, place])), "big")

        place = await found(devnet.anvil, reserve.asset, data, slot, range(10))
        await devnet.anvil.set_storage_at(reserve.asset, slot(place), 2**120)
