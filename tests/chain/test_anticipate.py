"""Oracle updates and changes of parameters that wait to be mined, on the real protocol."""

import asyncio
import contextlib
import copy
import time
from collections.abc import AsyncIterator, MutableMapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from keeper.app.anticipate import Anticipation
from keeper.chain.pending import PendingTransactions, PendingTx
from keeper.devnet.network import Devnet
from keeper.model import Act, Address, PositionId, Rehearsed, Watch
from keeper.settings import load
from keeper.store.database import Database
from keeper.store.outbox import SqlOutbox
from keeper.store.watches import SqlWatches
from tests.chain.test_incidents import BLOCK_S, Scene, Stagehand
from tests.chain.test_incidents import stagehand as stagehand  # noqa: PLC0414 - a fixture
from tests.chain.test_lookahead import Governance, look_ahead, outbox, pool_health, watch
from tests.chain.watching import MARKET, settings_of, watching

pytestmark = pytest.mark.chain

PENDING = {"KEEPER__CHAINS__DEVNET__PENDING": "true", "KEEPER__CHAINS__DEVNET__BLOCK_TIME_S": "12"}


def anticipation(scene: Scene) -> Anticipation:
    return Anticipation(
        chain=scene.chain,
        engine=scene.engine,
        executor=scene.engine._executor,  # type: ignore[arg-type]
        ahead=look_ahead(scene),
    )


@asynccontextmanager
async def waiting(scene: Scene) -> AsyncIterator[tuple[Anticipation, "asyncio.Queue[PendingTx]"]]:
    """What waits from here on, as the node tells it; mining stops until the end."""
    there = anticipation(scene)
    heard: asyncio.Queue[PendingTx] = asyncio.Queue()
    config = scene.chain.config
    subscription = PendingTransactions(
        config.ws_urls, config.chain_id, concerns=there.concerns, take=heard.put_nowait
    )
    task = asyncio.create_task(subscription.run())
    await scene.devnet.anvil.set_automine(on=False)
    try:
        async with asyncio.timeout(10):
            while not subscription.connected:  # noqa: ASYNC110 - it has no event
                await asyncio.sleep(0.01)
        yield there, heard
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await scene.devnet.anvil.set_automine(on=True)


async def next_block(scene: Scene, seconds: int = BLOCK_S) -> None:
    await scene.devnet.anvil.set_time(scene.seen.timestamp + seconds)
    await scene.devnet.anvil.mine()


async def requests(scene: Scene, method: str) -> int:
    return scene.chain.rpc.counts.get(method, 0)


async def test_an_update_that_waits_is_decided_on_and_simulated_and_nothing_is_sent_for_it(
    stagehand: Stagehand,
) -> None:
    scene = await stagehand.scene(**PENDING)
    bob = scene.devnet.deployment.account("bob").address
    price = await scene.devnet.price("BTC/USD")

    async with waiting(scene) as (there, heard):
        await scene.devnet.push_price("BTC/USD", (price * 95 / 100).quantize(price))
        pending = await asyncio.wait_for(heard.get(), 10)
        found = await there.consider(pending)
        sent_before = await requests(scene, "eth_sendRawTransaction")

        assert found is not None
        assert found.block.timestamp == scene.seen.timestamp + BLOCK_S
        assert bob in {intent.position.account for intent, _ in found.intents}
        assert sent_before == 0
        assert scene.last is not None
        assert not any(isinstance(d, Act) for d in scene.last.decisions)

        simulated_before = await requests(scene, "eth_simulateV1")
        await next_block(scene)
        done = await scene.look()

    mine = [s for s in done.submissions if s.intent.position.account == bob]
    assert isinstance(mine[0], Rehearsed)
    anticipated = {
        intent.position.account: (intent.kind, intent.amount) for intent, _ in found.intents
    }
    landed = {s.intent.position.account: (s.intent.kind, s.intent.amount) for s in done.submissions}
    assert landed == anticipated, "the same to the wei"
    assert await requests(scene, "eth_simulateV1") == simulated_before


async def test_what_lands_at_another_second_is_simulated_anew(stagehand: Stagehand) -> None:
    scene = await stagehand.scene(**PENDING)
    price = await scene.devnet.price("BTC/USD")

    async with waiting(scene) as (there, heard):
        await scene.devnet.push_price("BTC/USD", (price * 95 / 100).quantize(price))
        await there.consider(await asyncio.wait_for(heard.get(), 10))
        before = await requests(scene, "eth_simulateV1")
        await next_block(scene, BLOCK_S + 1)
        done = await scene.look()

    assert any(isinstance(s, Rehearsed) for s in done.submissions)
    assert await requests(scene, "eth_simulateV1") > before


async def test_anticipating_leaves_no_trace_in_book_oracles_or_pace(stagehand: Stagehand) -> None:
    scene = await stagehand.scene(**PENDING)
    [market] = scene.engine.markets
    price = await scene.devnet.price("ETH/USD")
    decider = scene.engine._decider
    healthy = PositionId(market=market.id, account=Address("0x" + "5a" * 20))
    decider.pace._waits[healthy] = (10**9, "declined")
    paced = copy.deepcopy(decider.pace)

    async with waiting(scene) as (there, heard):
        await scene.devnet.push_price("ETH/USD", (price / 2).quantize(price))
        found = await there.consider(await asyncio.wait_for(heard.get(), 10))
        assert decider.pace == paced
        await scene.devnet.anvil.drop_all_transactions()
        await next_block(scene)
        done = await scene.look()

    assert found is not None
    assert len(found.endangered) > 3
    assert not scene.endangered("WETH")
    assert all(not price.suspicions for price in scene.engine.readings[MARKET].prices)
    assert not any(isinstance(d, Act) for d in done.decisions)
    assert market.book.get(scene.devnet.deployment.account("bob").address) is not None


async def test_what_is_not_ours_is_not_even_queued(stagehand: Stagehand) -> None:
    scene = await stagehand.scene(**PENDING)
    whale = scene.devnet.deployment.account("whale").address

    async with waiting(scene) as (_, heard):
        await scene.devnet.anvil.send(
            whale, scene.devnet.deployment.pool, b"\x12\x34\x56\x78", gas=100_000
        )
        await scene.devnet.push_price("ETH/USD", "3500")
        pending = await asyncio.wait_for(heard.get(), 10)

    assert pending.runs.to == scene.devnet.deployment.feed("ETH/USD").aggregator
    assert heard.empty()


async def test_a_change_of_parameters_that_waits_is_foretold(stagehand: Stagehand) -> None:
    scene = await stagehand.scene(**PENDING)
    bob = scene.devnet.deployment.account("bob").address
    await watch(scene, bob, "bob")
    await scene.after(BLOCK_S)
    governance = Governance(scene.devnet, bob)

    async with waiting(scene) as (there, heard):
        await scene.devnet.anvil.send(
            scene.devnet.deployer.sender, *governance.threshold("WBTC", 7_000)
        )
        assert await there.consider(await asyncio.wait_for(heard.get(), 10)) is None

    [text] = await outbox(scene)
    assert "bob: health factor would become 1." in text
    assert "pending, in any block" in text
    assert await pool_health(scene, bob) > 0


async def test_a_running_keeper_foretells_what_is_queued_and_gets_ready_for_what_waits(
    devnet: Devnet, tmp_path: Path
) -> None:
    governance = await Governance.installed(devnet)
    bob = devnet.deployment.account("bob").address
    await governance.queue(governance.threshold("WBTC", 7_000))
    settings_of(devnet, tmp_path, f'[[watch]]\naddress = "{bob}"\nlabel = "bob"\n')
    chain = "KEEPER__CHAINS__DEVNET__"
    variables = {
        chain + "PAYLOADS_CONTROLLER": governance.controller,
        chain + "PENDING": "true",
        "KEEPER__ORACLES__QUEUE_EVERY_S": "1",
    }
    settings = load(tmp_path / "keeper.toml", variables, env_file=None)
    async with await Database.open(settings.database.url) as database:
        await SqlWatches(database).add(Watch(chat="log:owner", account=bob, label="bob"))

    with capture_logs() as logs:
        async with watching(devnet, settings) as here:
            await here.until(lambda: said(logs, "parameters.foreseen", affected=1))
            await devnet.push_price("BTC/USD", await devnet.price("BTC/USD"))
            await here.until(lambda: said(logs, "update.anticipated", endangered=0))
            await here.tick()

    assert not said(logs, "update.unanticipated")
    async with await Database.open(settings.database.url) as database:
        rows = await SqlOutbox(database).due(time.time() + 10**6, 1_000)
    foretold = [r.message.text for r in rows if r.message.kind == "change"]
    assert any("bob: health factor would become 1." in text for text in foretold)


def said(logs: list[MutableMapping[str, Any]], event: str, **fields: object) -> bool:
    return any(
        entry["event"] == event and all(entry.get(k) == v for k, v in fields.items())
        for entry in logs
    )
