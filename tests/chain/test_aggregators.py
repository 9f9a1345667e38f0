"""Liquidations whose collateral an aggregator's call sells, on the real market and exchanges.

The aggregator is a stand-in at the transport; what it offers is really there on chain.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import pytest

from keeper.app.act import carry_out, plan_liquidation
from keeper.app.chain import open_chain
from keeper.app.checks import check_all
from keeper.devnet.deployment import DeployedUniswap
from keeper.devnet.network import Devnet
from keeper.execution.liquidator import LIQUIDATE, LIQUIDATE_OVER
from keeper.model import (
    Address,
    Confirmed,
    Declined,
    Outcome,
    Rehearsed,
    Submission,
    Submitted,
)
from keeper.settings import Aggregator, Settings
from keeper.store.database import Database
from tests.chain.aggregating import KEY, StandIn, pays, second_exchange, standing_in
from tests.chain.test_flash import _balances, _deploy, _with

pytestmark = pytest.mark.chain


@dataclass
class House:
    """Alice below 1 with Ether and a debt of dollars; a liquidator that lists a second exchange."""

    devnet: Devnet
    venue: DeployedUniswap
    standin: StandIn
    settings: Settings
    contract: Address

    async def liquidate(
        self, *, send: bool = False, settings: Settings | None = None
    ) -> tuple[Submission, Outcome | None]:
        """As ``keeper liquidate alice`` does."""
        settings = settings or self.settings
        there = self.devnet.deployment
        alice, keeper = there.account("alice").address, there.account("keeper").address
        async with (
            await Database.open(settings.database.url) as database,
            open_chain(settings, settings.select()[0]) as chain,
        ):
            market = chain.market()
            planned = await plan_liquidation(settings, chain, market, alice, keeper)
            return await carry_out(settings, chain, database, planned, send=send, wait=send)


def aggregator(house: StandIn, folder: Path, kind: str = "0x", **more: object) -> Aggregator:
    """As the operator would write it."""
    key = folder / "key"
    key.write_text(KEY + "\n", encoding="ascii")
    fields = {
        "kind": kind,
        "url": house.url,
        "api_key_file": key,
        "targets": (house.venue.router,),
        "calls_per_second": 100.0,
        "timeout_ms": 250,
    }
    return Aggregator.model_validate(fields | more)


def asking(settings: Settings, *aggregators: Aggregator, **more: object) -> Settings:
    chain = settings.chains["devnet"].model_copy(update={"aggregators": aggregators, **more})
    return settings.model_copy(update={"chains": {"devnet": chain}})


@pytest.fixture
async def house(devnet: Devnet, tmp_path: Path) -> AsyncIterator[House]:
    venue = await second_exchange(devnet)
    async with standing_in(devnet, venue) as standin:
        settings = asking(_with(devnet, tmp_path, None), aggregator(standin, tmp_path))
        contract = (await _deploy(devnet, settings)).contract
        await devnet.anvil.mine()
        await devnet.fall_of("ETH/USD", Decimal("0.79"))
        await devnet.anvil.mine()
        settings = asking(settings, *settings.chains["devnet"].aggregators, liquidator=contract)
        yield House(devnet, venue, standin, settings, contract)


@pytest.mark.parametrize("kind", ["0x", "1inch"])
async def test_what_sells_for_more_is_taken_sent_and_kept(
    house: House, tmp_path: Path, kind: str
) -> None:
    await pays(house.devnet, house.venue, "1.02")
    house.settings = asking(house.settings, aggregator(house.standin, tmp_path, kind))
    keeper = house.devnet.deployment.account("keeper").address
    before = await _balances(house.devnet, keeper)
    await house.devnet.anvil.set_interval_mining(1)

    submission, outcome = await house.liquidate(send=True)

    assert isinstance(submission, Submitted), submission
    plan, intent = submission.open_plan.plan, submission.intent
    assert plan.data[:4] == LIQUIDATE_OVER
    assert f" goes to {kind} for the " in intent.reason
    assert f"; by {kind}, others: Uniswap v3 leaves " in intent.reason
    assert isinstance(outcome, Confirmed), outcome
    after = await _balances(house.devnet, keeper)
    came = Decimal(0)
    for symbol in ("WETH", "USDC"):
        unit = 10 ** house.devnet.deployment.reserve(symbol).decimals
        came += (
            Decimal(after[symbol] - before[symbol]) / unit * await house.devnet.asset_price(symbol)
        )
    # simulated a few blocks earlier: interest and nothing else moved
    assert came * 10**8 == pytest.approx(Decimal(intent.expected_profit), rel=Decimal("0.001"))
    assert set((await _balances(house.devnet, house.contract)).values()) == {0}
    [request] = house.standin.asked
    sent = request.headers.get("0x-api-key") or request.headers["Authorization"]
    assert sent in (KEY, f"Bearer {KEY}")
    assert {request.query.get("taker"), request.query.get("from")} == {house.contract, None}
    assert {request.query.get("txOrigin"), request.query.get("origin")} == {keeper, None}


@pytest.mark.parametrize(
    ("share", "said"), [("0.997", "0x leaves "), ("0.985", "0x: It offers 20,")]
)
async def test_what_sells_for_less_is_not_taken(house: House, share: str, said: str) -> None:
    await pays(house.devnet, house.venue, share)

    submission, _ = await house.liquidate()

    assert isinstance(submission, Rehearsed), submission
    assert submission.plan.data[:4] == LIQUIDATE
    assert f"; by Uniswap v3, others: {said}" in submission.intent.reason


LIES = {
    "slow": "no answer within 250 ms (timeout_ms)",
    "html": "it answered something that is not JSON",
    "error": "HTTP 500: bad key ***",
    "pause": "HTTP 429",
    "endless": "its answer is longer than 256 KiB",
    "elsewhere": "HTTP 302",
    "nobody": "it knows nobody who buys that",
    "target": "to be called, which targets does not list",
    "token": "to be called, which targets does not list",
    "spender": "approved, which spenders does not list",
    "coin": "it wants to be sent the chain's coin",
    "keep": "It would revert: swap too small (0, ",
    "boast": "It would revert: swap too small (",
    "half": "It would revert: swap too small (",
}


@pytest.mark.parametrize("lie", LIES)
async def test_whoever_lies_costs_nothing_and_is_said(house: House, lie: str) -> None:
    await pays(house.devnet, house.venue, "1.02")
    house.standin.lie = lie

    submission, _ = await house.liquidate()

    assert isinstance(submission, Rehearsed), submission
    assert submission.plan.data[:4] == LIQUIDATE
    said = submission.intent.reason.partition("; by Uniswap v3, others: ")[2]
    assert said.startswith("0x: ")
    assert LIES[lie] in said
    assert KEY not in submission.intent.reason


async def test_an_aggregator_that_is_down_costs_nothing(house: House, tmp_path: Path) -> None:
    nobody = aggregator(house.standin, tmp_path, url="http://127.0.0.1:9")

    submission, _ = await house.liquidate(settings=asking(house.settings, nobody))

    assert isinstance(submission, Rehearsed), submission
    assert submission.plan.data[:4] == LIQUIDATE
    assert "0x: it cannot be asked (ClientConnectorError)" in submission.intent.reason


async def test_where_no_pool_sells_it_an_aggregator_still_may(house: House) -> None:
    """The exchange that is searched has no pools: another factory without any."""
    empty = await house.devnet.deployer.deploy("UniswapV3Factory")
    settings = asking(
        house.settings.model_copy(update={}),
        *house.settings.chains["devnet"].aggregators,
        uniswap_factory=empty,
        liquidator=None,
    )
    contract = (await _deploy(house.devnet, settings)).contract
    await house.devnet.anvil.mine()
    settings = asking(settings, *settings.chains["devnet"].aggregators, liquidator=contract)
    await pays(house.devnet, house.venue, "1")

    submission, _ = await house.liquidate(settings=settings)
    house.standin.lie = "boast"
    declined, _ = await house.liquidate(settings=settings)

    assert isinstance(submission, Rehearsed), submission
    assert submission.plan.data[:4] == LIQUIDATE_OVER
    assert "others: Uniswap v3: No pool of the exchange buys" in submission.intent.reason
    assert isinstance(declined, Declined)
    assert "No pool of the exchange buys" in declined.reason
    assert "0x: It would revert: swap too small (" in declined.reason


async def test_what_the_liquidator_does_not_list_is_not_called_and_check_says_so(
    house: House, tmp_path: Path
) -> None:
    """The operator's file lists a router that the contract's owner never did."""
    other = await second_exchange(house.devnet)
    await pays(house.devnet, other, "1.02")
    async with standing_in(house.devnet, other) as standin:
        settings = asking(house.settings, aggregator(standin, tmp_path))
        submission, _ = await house.liquidate(settings=settings)
        bad = [f async for f in check_all(settings) if "aggregator" in f.what]
    good = [f async for f in check_all(house.settings) if "aggregator" in f.what]

    assert isinstance(submission, Rehearsed), submission
    assert submission.plan.data[:4] == LIQUIDATE
    assert "It would revert: target not allowed (0x" in submission.intent.reason
    assert [str(f.state) for f in bad] == ["failed", "failed", "ok"]
    assert "does not list the target" in bad[0].said
    assert f"setTarget({other.router}, true)" in bad[0].remedy
    assert [str(f.state) for f in good] == ["ok"]
    assert " offers " in good[0].said
    assert " USDC for 1.0000 WETH, in " in good[0].said


async def test_check_says_what_is_wrong_with_an_aggregator(house: House, tmp_path: Path) -> None:
    house.standin.lie = "html"
    found = [f async for f in check_all(house.settings) if "aggregator" in f.what]
    off = house.settings.model_copy(
        update={"liquidate": house.settings.liquidate.model_copy(update={"enabled": False})}
    )
    idle = [f async for f in check_all(off) if "aggregator" in f.what]

    assert [(str(f.state), f.said) for f in found] == [
        ("failed", "it answered something that is not JSON.")
    ]
    assert [(str(f.state), f.said) for f in idle] == [
        ("warning", "they are asked for liquidations with borrowed money only")
    ]
