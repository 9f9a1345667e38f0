"""Parameters that change, or will, on the real protocol: what it makes of watched positions.

Governance is a timelock of the devnet's own with the interface of Aave's PayloadsController; what
it carries out are the real calls of PoolConfigurator and AaveOracle.
"""

import json
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from keeper.alerts.machine import DEFAULT_THRESHOLDS, Policy
from keeper.alerts.numbers import health_text
from keeper.app.lookahead import LookAhead, foresee, foresee_queued, queue_of
from keeper.devnet.abi import encode_call
from keeper.devnet.anvil import until_mined
from keeper.devnet.network import Devnet
from keeper.engine.chronicle import Telling
from keeper.errors import BadAnswer, JournalError, SimulationReverted
from keeper.model import Address, Changed, Message, PassRecord, Supposed, Watch
from keeper.store.outbox import SqlOutbox
from keeper.store.records import SqlRecords
from keeper.store.watches import SqlWatches
from tests.chain.test_incidents import BLOCK_S, Scene, Stagehand
from tests.chain.test_incidents import stagehand as stagehand  # noqa: PLC0414 - a fixture
from tests.chain.test_oracles_command import keeper
from tests.chain.watching import MARKET

pytestmark = pytest.mark.chain

DELAY_S = 86_400


class Governance:
    """A timelock that is pool admin: what it queues is carried out by anybody after a day."""

    def __init__(self, devnet: Devnet, controller: Address) -> None:
        self.devnet = devnet
        self.controller = controller

    @classmethod
    async def installed(cls, devnet: Devnet) -> "Governance":
        controller = await devnet.deployer.deploy("PayloadsController", DELAY_S)
        acl = devnet.deployment.acl_manager
        await devnet.deployer.send(acl, "ACLManager", "addPoolAdmin", controller)
        return cls(devnet, controller)

    def call(self, contract: str, function: str, *arguments: Any) -> tuple[Address, bytes]:
        there = self.devnet.deployment
        to = there.oracle if contract == "AaveOracle" else there.configurator
        return to, encode_call(self.devnet.artifacts.get(contract), function, *arguments)

    def threshold(self, symbol: str, bps: int) -> tuple[Address, bytes]:
        reserve = self.devnet.deployment.reserve(symbol)
        return self.call(
            "IPoolConfigurator", "configureReserveAsCollateral",
            reserve.asset, min(reserve.ltv_bps, bps - 100), bps, reserve.liquidation_bonus_bps,
        )  # fmt: skip

    async def queue(self, *calls: tuple[Address, bytes]) -> int:
        ids: int = await self.devnet.deployer.call(
            self.controller, "PayloadsController", "getPayloadsCount"
        )
        targets, data = [to for to, _ in calls], [data for _, data in calls]
        await self._send("createPayload", targets, data)
        await self._send("queuePayload", ids)
        return ids

    async def execute(self, number: int) -> None:
        await self._send("executePayload", number)

    async def cancel(self, number: int) -> None:
        await self._send("cancelPayload", number)

    async def _send(self, function: str, *arguments: Any) -> None:
        await self.devnet.deployer.send(self.controller, "PayloadsController", function, *arguments)


async def watch(scene: Scene, account: Address, label: str) -> None:
    store = SqlWatches(scene.database)
    await store.add(Watch(chat="log:owner", account=account, label=label))


async def pool_health(scene: Scene, account: Address, block: str = "latest") -> int:
    return (await scene.devnet.account_data(account, block))[5]


def changed(scene: Scene) -> Changed:
    found = scene.engine.readings[MARKET].changed
    assert found is not None
    return found


def told(messages: tuple[Message, ...], chat: str) -> list[str]:
    return [m.text for m in messages if m.chat == chat and m.kind == "change"]


async def happens(scene: Scene, call: tuple[Address, bytes]) -> None:
    """The deployer, who is pool admin, makes the call in the next block."""
    await scene.devnet.anvil.set_time(await scene.devnet.anvil.timestamp() + BLOCK_S)
    sent = await scene.devnet.anvil.send(scene.devnet.deployer.sender, *call)
    if await scene.devnet.anvil.automine():
        await until_mined(scene.devnet.anvil, sent)


def look_ahead(scene: Scene, records: SqlRecords | None = None) -> LookAhead:
    records = records or SqlRecords(scene.database)
    return LookAhead(
        chain=scene.chain,
        engine=scene.engine,
        records=records,
        telling=Telling(operators=("log:",), thresholds=DEFAULT_THRESHOLDS, policy=Policy()),
    )


async def outbox(scene: Scene) -> list[str]:
    """What is said of changes and not delivered yet, by the owner's chat."""
    rows = await SqlOutbox(scene.database).due(time.time() + 10**6, 1_000)
    return [
        row.message.text
        for row in rows
        if row.message.kind == "change" and row.message.chat == "log:owner"
    ]


# --- what happened --------------------------------------------------------------------------


async def test_a_lower_threshold_is_told_at_its_block_with_health_before_and_after(
    stagehand: Stagehand,
) -> None:
    scene = await stagehand.scene()
    bob = scene.devnet.deployment.account("bob").address
    await watch(scene, bob, "bob")
    governance = await Governance.installed(scene.devnet)
    await scene.after(BLOCK_S)
    before = await pool_health(scene, bob)
    await happens(scene, governance.threshold("WBTC", 7_300))

    done = await scene.look()

    found = changed(scene)
    effect = next(e for e in found.effects if e.position.account == bob)
    assert effect.after == await pool_health(scene, bob, hex(done.block.number))
    assert 0 <= before - effect.before < 10**13, "but for the interest of one block"
    assert [str(change) for change in found.changes] == [
        "WBTC: liquidation threshold 78.00 % -> 73.00 %",
        "WBTC: loan to value 73.00 % -> 72.00 %",
    ]
    [text] = told(done.messages, "log:owner")
    first, *rest = text.splitlines()
    shown = health_text(effect.after)
    assert first == f"🟡 bob: health factor 1.246 -> {shown}, parameters changed"
    assert "WBTC: liquidation threshold 78.00 % -> 73.00 %" in rest
    again = await scene.after(BLOCK_S)
    assert told(again.messages, "log:owner") == []
    assert scene.engine.readings[MARKET].changed is None


async def test_another_price_source_is_told_as_the_cause_of_the_health_it_makes(
    stagehand: Stagehand,
) -> None:
    scene = await stagehand.scene()
    devnet, bob = scene.devnet, scene.devnet.deployment.account("bob").address
    await watch(scene, bob, "bob")
    await scene.after(BLOCK_S)
    was = devnet.deployment.reserve("WBTC").source
    source = await devnet.deployer.deploy("FixedPrice", 90_000 * 10**8, "BTC, written down")
    await scene.look()
    wbtc = devnet.deployment.reserve("WBTC").asset
    set_sources = encode_call(
        devnet.artifacts.get("AaveOracle"), "setAssetSources", [wbtc], [source]
    )
    await happens(scene, (devnet.deployment.oracle, set_sources))

    done = await scene.look()

    effect = next(e for e in changed(scene).effects if e.position.account == bob)
    assert effect.after == await pool_health(scene, bob, hex(done.block.number))
    assert [str(change) for change in changed(scene).changes] == [
        f"WBTC: price source {was} -> {source}"
    ]
    [text] = told(done.messages, "log:owner")
    assert "WBTC: price source" in text


async def test_a_price_that_moves_in_the_same_block_is_no_part_of_what_the_change_did(
    stagehand: Stagehand,
) -> None:
    scene = await stagehand.scene()
    devnet, bob = scene.devnet, scene.devnet.deployment.account("bob").address
    await watch(scene, bob, "bob")
    governance = await Governance.installed(devnet)
    await scene.after(BLOCK_S)
    await devnet.anvil.set_automine(on=False)
    await happens(scene, governance.threshold("WBTC", 7_700))
    price = await devnet.price("BTC/USD")
    await devnet.push_price("BTC/USD", (price * 98 / 100).quantize(price))
    await devnet.anvil.mine()
    await devnet.anvil.set_automine(on=True)

    done = await scene.look()

    [effect] = [e for e in changed(scene).effects if e.position.account == bob]
    assert effect.after == await pool_health(scene, bob, hex(done.block.number))
    # both factors are at the new price: the lower threshold alone takes less than a hundredth
    assert 0 < (effect.before - effect.after) * 100 < effect.before


async def test_a_price_cap_that_is_moved_in_place_is_told_as_the_cause(
    stagehand: Stagehand,
) -> None:
    """The risk admin lets a staked token's cap grow from today's ratio: the price leaps."""
    scene = await stagehand.scene()
    devnet, there = scene.devnet, scene.devnet.deployment
    wsteth = there.reserve("wstETH")
    someone = next(b.address for b in devnet.borrowers if b.kind == "e_mode")
    await watch(scene, someone, "looper")
    ratio = Decimal(
        await devnet.deployer.call(there.ratio_provider, "RatioProvider", "ratio")
    ).scaleb(-18)
    await devnet.set_ratio(ratio * Decimal("1.05"))
    capped = await scene.after(BLOCK_S)
    assert scene.engine.readings[MARKET].changed is None
    other = await devnet.deployer.deploy(
        "RatioAdapter", there.feed("ETH/USD").proxy, there.ratio_provider, 968, "wstETH / USD"
    )
    code = await devnet.anvil.rpc("eth_getCode", other, "latest")
    await devnet.anvil.set_code(wsteth.source, bytes.fromhex(code[2:]))

    done = await scene.after(BLOCK_S)

    [change] = changed(scene).changes
    assert change.subject == "wstETH"
    assert change.parameter == "price cap grows from a ratio of"
    assert int(change.was) < int(change.now)
    [effect] = changed(scene).effects
    assert effect.after == await pool_health(scene, someone, hex(done.block.number))
    before = await pool_health(scene, someone, hex(capped.block.number))
    assert abs(effect.before - before) < 10**13, "but for the interest of one block"
    assert effect.after > effect.before


# --- what will ------------------------------------------------------------------------------


async def test_a_queued_payload_says_what_health_would_become_and_then_it_does(
    stagehand: Stagehand,
) -> None:
    scene = await stagehand.scene()
    devnet, bob = scene.devnet, scene.devnet.deployment.account("bob").address
    await watch(scene, bob, "bob")
    governance = await Governance.installed(devnet)
    number = await governance.queue(
        governance.threshold("WBTC", 7_000), governance.threshold("WETH", 7_500)
    )
    await scene.after(BLOCK_S)
    ahead = look_ahead(scene)

    [foreseen] = await ahead.look(governance.controller)

    assert foreseen.changed is not None
    [effect] = [e for e in foreseen.changed.effects if e.position.account == bob]
    [text] = await outbox(scene)
    assert text.startswith("🟠 bob: health factor would become 1.1")
    assert ", is 1.2" in text.partition("\n")[0]
    assert "payload 0: queued, from " in text
    assert await ahead.look(governance.controller) == ()
    assert len(await outbox(scene)) == 1
    health = await pool_health(scene, bob)
    assert abs(effect.before - health) * 1000 < health, "a day of interest at the most"

    await devnet.anvil.set_time(foreseen.outlook.from_s or 0)
    await governance.execute(number)
    assert await pool_health(scene, bob) == effect.after, "to the wei, at that very second"
    await scene.look()
    assert any("parameters changed" in text for text in await outbox(scene))


class FailsOnce(SqlRecords):
    """A database that does not take the first pass that it is given."""

    failed = False

    async def record(self, record: PassRecord) -> None:
        if not self.failed:
            self.failed = True
            raise JournalError("the database did not take records.record (disk full)")
        await super().record(record)


async def test_a_warning_that_could_not_be_written_is_told_at_the_next_look(
    stagehand: Stagehand,
) -> None:
    scene = await stagehand.scene()
    await watch(scene, scene.devnet.deployment.account("bob").address, "bob")
    governance = await Governance.installed(scene.devnet)
    await governance.queue(governance.threshold("WBTC", 7_000))
    await scene.after(BLOCK_S)
    ahead = look_ahead(scene, FailsOnce(scene.database))

    with pytest.raises(JournalError, match="disk full"):
        await ahead.look(governance.controller)
    assert await outbox(scene) == []
    await ahead.look(governance.controller)

    [text] = await outbox(scene)
    assert "bob: health factor would become 1." in text


async def test_an_e_mode_and_caps_are_foretold_to_the_wei_for_whoever_they_concern(
    stagehand: Stagehand,
) -> None:
    scene = await stagehand.scene()
    devnet = scene.devnet
    someone = next(b.address for b in devnet.borrowers if b.kind == "e_mode")
    await watch(scene, someone, "looper")
    governance = await Governance.installed(devnet)
    weth = devnet.deployment.reserve("WETH").asset
    number = await governance.queue(
        governance.call("IPoolConfigurator", "setEModeCategory", 1, 9_000, 9_200, 10_200, "ETH"),
        governance.call("IPoolConfigurator", "setSupplyCap", weth, 2_999_999),
    )
    done = await scene.after(BLOCK_S)
    [queued] = await queue_of(scene.chain, governance.controller, done.block)
    [market] = scene.engine.markets

    foreseen = await foresee_queued(scene.chain, market, queued, market.watched)

    assert foreseen.changed is not None
    said = [str(change) for change in foreseen.changed.changes]
    assert "WETH: supply cap 3,000,000 -> 2,999,999" in said
    assert any(line.startswith("e-mode 1") and line.endswith("-> 92.00 %") for line in said)
    [effect] = foreseen.changed.effects
    assert effect.position.account == someone
    await devnet.anvil.set_time(queued.from_s)
    await governance.execute(number)
    assert await pool_health(scene, someone) == effect.after < effect.before


async def test_a_call_that_moves_a_price_without_a_new_source_is_foretold(
    stagehand: Stagehand,
) -> None:
    scene = await stagehand.scene()
    devnet, there = scene.devnet, scene.devnet.deployment
    someone = next(b.address for b in devnet.borrowers if b.kind == "e_mode")
    await watch(scene, someone, "looper")
    done = await scene.after(BLOCK_S)
    data = encode_call(devnet.artifacts.get("RatioProvider"), "setRatio", 11 * 10**17)
    runs = Supposed(sender=devnet.deployer.sender, to=there.ratio_provider, data=data)
    [market] = scene.engine.markets

    found = await foresee(scene.chain, market, (runs,), accounts=market.watched)

    assert found is not None
    [change] = found.changes
    assert (change.subject, change.parameter) == ("wstETH", "price")
    [effect] = found.effects
    await devnet.anvil.set_time(done.block.timestamp + 1)
    sent = await devnet.anvil.send(runs.sender, runs.to, runs.data)
    await until_mined(devnet.anvil, sent)
    health = await pool_health(scene, someone)
    assert effect.after < effect.before
    assert abs(effect.after - health) * 10**6 < health, "a second of interest more or less"


async def test_what_is_cancelled_or_executed_is_queued_no_more(stagehand: Stagehand) -> None:
    scene = await stagehand.scene()
    governance = await Governance.installed(scene.devnet)
    kept = await governance.queue(governance.threshold("WBTC", 7_700))
    gone = await governance.queue(governance.threshold("WBTC", 7_600))
    done = await governance.queue(governance.threshold("WBTC", 7_500))
    await governance.cancel(gone)
    await scene.pass_time(DELAY_S + 1)
    await governance.execute(done)

    head = await scene.chain.rpc.block("latest")
    queue = await queue_of(scene.chain, governance.controller, head)

    assert [queued.name for queued in queue] == [f"payload {kept}"]


async def test_a_payload_that_would_fail_foretells_nothing(stagehand: Stagehand) -> None:
    scene = await stagehand.scene()
    governance = await Governance.installed(scene.devnet)
    await governance.queue(governance.threshold("WBTC", 20_000))
    done = await scene.after(BLOCK_S)
    [queued] = await queue_of(scene.chain, governance.controller, done.block)

    [market] = scene.engine.markets
    foreseen = await foresee_queued(scene.chain, market, queued, frozenset())

    assert foreseen.changed is None
    assert foreseen.fails.startswith(f"A call of {governance.controller} would revert")


async def test_a_call_by_somebody_without_the_role_would_revert(stagehand: Stagehand) -> None:
    scene = await stagehand.scene()
    to, data = Governance(scene.devnet, Address("0x" + "00" * 20)).threshold("WBTC", 7_000)
    stranger = Supposed(sender=Address("0x" + "5e" * 20), to=to, data=data)
    [market] = scene.engine.markets

    with pytest.raises(SimulationReverted, match="would revert"):
        await foresee(scene.chain, market, (stranger,), accounts=frozenset())


async def test_a_controller_that_is_none_is_said_by_its_name(stagehand: Stagehand) -> None:
    scene = await stagehand.scene()
    pool = scene.devnet.deployment.pool

    with pytest.raises(BadAnswer, match=f"getPayloadsCount of {pool}"):
        await queue_of(scene.chain, pool, scene.seen)


async def test_the_command_prints_what_is_queued_and_what_a_call_of_ones_own_would_do(
    devnet: Devnet, tmp_path: Path
) -> None:
    governance = await Governance.installed(devnet)
    await governance.queue(governance.threshold("WBTC", 7_000))
    bob = devnet.deployment.account("bob").address
    controller = {"KEEPER__CHAINS__DEVNET__PAYLOADS_CONTROLLER": governance.controller}
    to, data = governance.threshold("WETH", 7_000)
    own = ("--from", devnet.deployer.sender, "--to", to, "--data", "0x" + data.hex())

    queued = await keeper(devnet, tmp_path, "foresee", bob, **controller)
    called = json.loads(await keeper(devnet, tmp_path, "foresee", bob, *own, "--json"))

    assert "payload 0, aave-v3-devnet: queued, from " in queued
    assert "WBTC: liquidation threshold 78.00 % -> 70.00 %" in queued
    assert "would become" in queued
    [foreseen] = called["chains"][0]["foreseen"]
    assert foreseen["changes"][0] == {
        "subject": "WETH", "parameter": "liquidation threshold", "was": "83.00 %", "now": "70.00 %"
    }  # fmt: skip
    [position] = foreseen["positions"]
    assert position["address"] == bob
    assert int(position["would_become_wad"]) < int(position["health_factor_wad"])
