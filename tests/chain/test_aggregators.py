"""Liquidations whose collateral an aggregator's call sells, on the real market and exchanges.

The aggregator is a stand-in at the transport; what it offers is really there on chain.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path

import pytest

from keeper.app.act import carry_out, plan_liquidation
from keeper.app.chain import open_chain
from keeper.app.checks import check_all
from keeper.chain.aggregators import VALID_S
from keeper.devnet import uniswap
from keeper.devnet.deployment import DeployedUniswap
from keeper.devnet.network import Devnet
from keeper.errors import ConfigError
from keeper.execution import joint
from keeper.execution.joint import JointPreparation
from keeper.execution.liquidator import (
    LIQUIDATE,
    LIQUIDATE_EACH,
    LIQUIDATE_OVER,
    Result,
    decode_results,
)
from keeper.execution.rivals import Rivals
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
from keeper.store.actions import SqlActions
from keeper.store.database import Database
from keeper.units import Base
from tests.chain.aggregating import KEY, THIEF, StandIn, pays, second_exchange, standing_in
from tests.chain.test_cli import Typed, arm
from tests.chain.test_cli import typed as typed  # noqa: PLC0414 - a fixture
from tests.chain.test_flash import _balances, _deploy, _with
from tests.chain.watching import watching

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


@asynccontextmanager
async def mining(devnet: Devnet) -> AsyncIterator[None]:
    """Let a block come every moment."""

    async def mine() -> None:
        while True:
            await asyncio.sleep(0.1)
            await devnet.anvil.mine()

    task = asyncio.create_task(mine())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


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


async def without_pools(house: House) -> Settings:
    """Search an exchange that has no pools, with a liquidator that knows that one."""
    empty = await house.devnet.deployer.deploy("UniswapV3Factory")
    sources = house.settings.chains["devnet"].aggregators
    settings = asking(house.settings, *sources, uniswap_factory=empty, liquidator=None)
    contract = (await _deploy(house.devnet, settings)).contract
    await house.devnet.anvil.mine()
    return asking(settings, *sources, liquidator=contract)


@pytest.mark.parametrize("kind", ["0x", "1inch"])
async def test_what_sells_for_more_is_taken_sent_and_kept(
    house: House, tmp_path: Path, kind: str
) -> None:
    await pays(house.devnet, house.venue, "1.02")
    house.settings = asking(house.settings, aggregator(house.standin, tmp_path, kind))
    keeper = house.devnet.deployment.account("keeper").address
    before = await _balances(house.devnet, keeper)

    async with mining(house.devnet):
        submission, outcome = await house.liquidate(send=True)

    assert isinstance(submission, Submitted), submission
    plan, intent = submission.open_plan.plan, submission.intent
    assert plan.data[:4] == LIQUIDATE_OVER
    assert plan.deadline == intent.block.timestamp + VALID_S  # not kept on sending after it
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


async def test_whoever_lies_costs_nothing_and_is_said(house: House) -> None:
    """One house for all of them: each is asked anew, as by a command of its own."""
    await pays(house.devnet, house.venue, "1.02")
    for lie, words in LIES.items():
        house.standin.lie = lie

        submission, _ = await house.liquidate()

        assert isinstance(submission, Rehearsed), (lie, submission)
        assert submission.plan.data[:4] == LIQUIDATE, lie
        said = submission.intent.reason.partition("; by Uniswap v3, others: ")[2]
        assert said.startswith("0x: "), (lie, said)
        assert words in said, (lie, said)
        assert KEY not in submission.intent.reason, lie


async def test_an_aggregator_that_is_down_costs_nothing(house: House, tmp_path: Path) -> None:
    nobody = aggregator(house.standin, tmp_path, url="http://127.0.0.1:9")

    submission, _ = await house.liquidate(settings=asking(house.settings, nobody))

    assert isinstance(submission, Rehearsed), submission
    assert submission.plan.data[:4] == LIQUIDATE
    assert "0x: it cannot be asked (ClientConnectorError)" in submission.intent.reason


async def test_where_no_pool_sells_it_an_aggregator_still_may(house: House) -> None:
    """The exchange that is searched has no pools: another factory without any."""
    settings = await without_pools(house)
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


async def test_asked_only_otherwise_nobody_waits_whose_pools_can_pay(house: House) -> None:
    settings = asking(
        house.settings,
        *house.settings.chains["devnet"].aggregators,
        aggregators_asked="otherwise",
    )
    await pays(house.devnet, house.venue, "1.02")

    over_pools, _ = await house.liquidate(settings=settings)
    asked = len(house.standin.asked)
    # the pools fall behind the market: their sale would leave nothing, or less than its gas
    there = house.devnet
    symbols = {reserve.asset: reserve.symbol for reserve in there.deployment.reserves}
    prices = {symbol: await there.asset_price(symbol) for symbol in symbols.values()}
    prices["WETH"] *= Decimal("0.9")
    await uniswap.align(there.deployer, there.deployment.uniswap, symbols, prices)
    otherwise, _ = await house.liquidate(settings=settings)

    assert isinstance(over_pools, Rehearsed), over_pools
    assert over_pools.plan.data[:4] == LIQUIDATE
    assert "others:" not in over_pools.intent.reason
    assert asked == 0
    assert isinstance(otherwise, Rehearsed), otherwise
    assert otherwise.plan.data[:4] == LIQUIDATE_OVER
    assert "others: Uniswap v3: Not worth it" in otherwise.intent.reason


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


@pytest.mark.parametrize(
    ("which", "why"),
    [("nothing", "there is no contract"), ("pool", "it is a market"), ("weth", "it is a token")],
)
async def test_what_the_contract_would_not_list_is_said_before_it_is_deployed(
    house: House, tmp_path: Path, which: str, why: str
) -> None:
    there = house.devnet.deployment
    address = {
        "nothing": THIEF,
        "pool": there.pool,
        "weth": there.reserve("WETH").asset,
    }[which]
    bad = aggregator(house.standin, tmp_path, spenders=(address,))

    with pytest.raises(ConfigError, match=f"does not list {address}, {why}: correct targets and"):
        await _deploy(house.devnet, asking(house.settings, bad, liquidator=None))


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


async def test_nobody_is_asked_where_no_sale_could_be_worth_it(house: House) -> None:
    await pays(house.devnet, house.venue, "1.02")
    dear = house.settings.liquidate.model_copy(update={"min_profit_usd": Base(10**14)})
    settings = house.settings.model_copy(update={"liquidate": dear})
    there = house.devnet.deployment
    async with (
        await Database.open(settings.database.url) as database,
        open_chain(settings, settings.select()[0]) as chain,
    ):
        alice, keeper = there.account("alice").address, there.account("keeper").address
        planned = await plan_liquidation(house.settings, chain, chain.market(), alice, keeper)
        submission, _ = await carry_out(settings, chain, database, planned, send=False)

    assert isinstance(submission, Declined)
    assert "is below the floor of 1,000,000.00 USD" in submission.reason
    assert house.standin.asked == []


async def test_a_storm_goes_on_though_the_aggregator_never_answers(house: House) -> None:
    """Nobody is left out for it, and once it failed often enough it is not asked any more."""
    house.standin.lie = "slow"
    async with watching(house.devnet, house.settings) as here:
        for _ in range(6):
            await here.tick()
        submissions = [s for done in here.passes for s in done.submissions]
        outcomes = [o for done in here.passes for o in done.outcomes]
    async with await Database.open(house.settings.database.url) as database:
        shown = await SqlActions(database).last(100)  # what `keeper actions` prints

    sent = [s for s in submissions if isinstance(s, Submitted)]
    assert len(sent) >= 5
    assert any("others: 0x: no answer within 250 ms" in action.reason for action in shown)
    assert all(isinstance(o, Confirmed) for o in outcomes), outcomes
    assert {s.open_plan.plan.data[:4] for s in sent if s.open_plan.plan.data} <= {
        LIQUIDATE,
        LIQUIDATE_EACH,
    }
    asked_alone = [s for s in sent if "0x: no answer within 250 ms" in s.intent.reason]
    assert asked_alone
    assert len(house.standin.asked) < len(sent)


async def test_what_no_pool_sells_goes_alone_over_the_aggregator(
    house: House, tmp_path: Path
) -> None:
    """Several that could share a transaction, were there a pool for them."""
    settings = await without_pools(house)
    await pays(house.devnet, house.venue, "1")
    async with watching(house.devnet, settings) as here:
        for _ in range(8):
            await here.tick()
        submissions = [s for done in here.passes for s in done.submissions]
        outcomes = [o for done in here.passes for o in done.outcomes]

    sent = [s for s in submissions if isinstance(s, Submitted)]
    # the first of a block always goes alone: these do although they are not the first
    at_once = [sum(isinstance(s, Submitted) for s in done.submissions) for done in here.passes]
    assert max(at_once) >= 3, at_once
    assert {s.open_plan.plan.data[:4] for s in sent} == {LIQUIDATE_OVER}
    pairs = {
        (s.intent.collateral.symbol, s.intent.asset.symbol) for s in sent if s.intent.collateral
    }
    assert pairs == {("WETH", "USDC")}  # the only pair that it sells
    assert all(isinstance(o, Confirmed) for o in outcomes), outcomes
    declined = [s.reason for s in submissions if isinstance(s, Declined)]
    assert any("No pool of the exchange buys" in reason for reason in declined)
    weth = house.devnet.deployment.reserve("WETH").asset
    allowance = await house.devnet.deployer.call(
        weth, "TestnetERC20", "allowance", settings.chains["devnet"].liquidator, house.venue.router
    )
    assert int(allowance) == 0


@pytest.mark.parametrize("in_time", [True, False])
async def test_what_would_fail_with_others_is_tried_alone_while_somebody_may_sell_it(
    house: House, monkeypatch: pytest.MonkeyPatch, in_time: bool
) -> None:
    """Of each joint simulation the last order is said to have failed."""
    failed = 0

    def all_but_the_last(answer: bytes, count: int) -> tuple[Result, ...]:
        nonlocal failed
        results = decode_results(answer, count)
        if count == 1:  # what it takes by itself
            return results
        failed += 1
        return (*results[:-1], replace(results[-1], done=False, reason=b""))

    monkeypatch.setattr(joint, "decode_results", all_but_the_last)
    monkeypatch.setattr(Rivals, "may_answer", lambda *_: True)  # however slow the machine is
    if not in_time:
        monkeypatch.setattr(JointPreparation, "asks_others", lambda *_: False)
    async with watching(house.devnet, house.settings) as here:
        for _ in range(6):
            await here.tick()
        submissions = [s for done in here.passes for s in done.submissions]

    sent = [s for s in submissions if isinstance(s, Submitted)]
    assert failed >= 3
    assert len(sent) >= 5
    assert {s.open_plan.plan.data[:4] for s in sent} <= {LIQUIDATE, LIQUIDATE_OVER}
    declined = [s.reason for s in submissions if isinstance(s, Declined)]
    assert any("would revert" in reason for reason in declined) is not in_time, declined


async def test_the_command_shows_what_each_source_would_leave(house: House, typed: Typed) -> None:
    await pays(house.devnet, house.venue, "1.02")
    arm(typed, house.devnet)
    config, there = typed.keeper.config, house.devnet.deployment
    text = config.read_text(encoding="utf-8").partition("[protect.alice]")
    liquidate = "[liquidate]" + text[2].partition("[liquidate]")[2]
    places = (
        f'liquidator = "{house.contract}"\nuniswap_factory = "{there.uniswap.factory}"\n'
        f'uniswap_quoter = "{there.uniswap.quoter}"\n'
        f'aggregators = [{{ kind = "1inch", url = "{house.standin.url}", timeout_ms = 250,'
        f' targets = ["{house.venue.router}"] }}]\n'
    )
    config.write_text(
        text[0].replace("block_time_s = 1\n", f"block_time_s = 1\n{places}") + liquidate,
        encoding="utf-8",
    )
    alice = there.account("alice").address

    said = await typed("liquidate", alice)
    document = (await typed("liquidate", alice, "--json")).json

    [line] = [line for line in said.out.splitlines() if line.startswith("  borrowed        ")]
    assert " WETH goes to 1inch for the " in line
    assert "; by 1inch, others: Uniswap v3 leaves " in line
    assert document["data"].startswith("0x" + LIQUIDATE_OVER.hex())
    assert "; by 1inch, others: Uniswap v3 leaves " in document["borrowed"]
    assert [str(r.headers.get("Authorization")) for r in house.standin.asked] == ["None"] * 2
