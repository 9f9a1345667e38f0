"""C4, C7, C14, C18: what nodes, forks and clocks do to the whole keeper, armed, on real Aave."""

import asyncio
import contextlib
import random
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from eth_account import Account
from eth_utils.crypto import keccak

from keeper.devnet.demo.verdict import out_of_order
from keeper.devnet.network import BASE_FEE_WEI, Devnet, Stage
from keeper.devnet.toolchain import ensure
from keeper.engine import engine as engine_module
from keeper.engine import oracles as oracles_module
from keeper.engine.market import WatchedMarket
from keeper.engine.passes import Pass
from keeper.errors import ConfigError, RpcError
from keeper.execution import node as node_module
from keeper.execution.node import Footing, footing
from keeper.model import Act, Address, BlockRef, Declined, FeedState, Intent, Side, Submitted
from keeper.oracles.judge import judge
from keeper.strategies.queue import queue
from keeper.units import WAD
from tests.chain.going_back import head_of, still
from tests.chain.watching import (
    MARKET,
    Crowd,
    Watching,
    approve_everything,
    differences_from_the_pool,
    replayed,
    settings_of,
    watching,
)
from tests.faults.campaign import Campaign, Trial
from tests.faults.proxy import Proxy
from tests.faults.rig import planted

LIQUIDATION_CALL: Final = (
    "0x"
    + keccak(text="LiquidationCall(address,address,address,uint256,uint256,address,bool)").hex()
)
JUMP_S: Final = 600


@asynccontextmanager
async def devnet_of(stage: Stage) -> AsyncIterator[Devnet]:
    """The devnet as it was at first; made anew where a reorg has spoilt the way back."""
    async with stage.devnet() as devnet:
        anvil = devnet.anvil
        before = await head_of(anvil)
        snapshot = await anvil.snapshot()
        try:
            yield devnet
        except BaseException:
            stage.restart()
            raise
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


@asynccontextmanager
async def armed(
    devnet: Devnet, trial: Trial, count: int = 1
) -> AsyncIterator[tuple[Watching, list[Proxy], Path]]:
    """An armed keeper that sees the devnet through `count` proxies."""
    key = devnet.deployment.account("keeper").private_key
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        await approve_everything(devnet, settings_of(devnet, folder, _arming(key), "approving"))
        async with contextlib.AsyncExitStack() as stack:
            proxies = [
                await stack.enter_async_context(
                    Proxy(devnet.anvil.http_url, random.Random(trial.chance.random()))
                )
                for _ in range(count)
            ]
            seen = Devnet(
                devnet.anvil,
                replace(
                    devnet.deployment,
                    rpc_url='", "'.join(proxy.url for proxy in proxies),  # into a TOML list
                    ws_url=proxies[0].ws_url,
                ),
                ensure(),
            )
            settings = settings_of(
                seen, folder, _arming(key, await nonce_of(devnet)), f"keeper-{time.monotonic_ns()}"
            )
            async with watching(devnet, settings) as here:
                yield here, proxies, folder


def _arming(key: str, adopt: int | None = None) -> str:
    return f"""
[oracles]
max_jump_percent = 60
[liquidate]
enabled = true
min_profit_usd = "1"
[signing]
armed_chain_ids = [31337]
private_key = "{key}"
max_per_tx_usd = "2000000"
max_per_day_usd = "100000000"
max_gas_per_tx_eth = "0.5"
max_gas_per_day_eth = "20"
{"" if adopt is None else f"adopt_nonce = {adopt}"}
"""


async def nonce_of(devnet: Devnet) -> int:
    keeper = devnet.deployment.account("keeper").address
    return int(await devnet.anvil.rpc("eth_getTransactionCount", keeper, "latest"), 16)


async def shock(devnet: Devnet, per_mille: int) -> None:
    price = await devnet.price("ETH/USD")
    await devnet.push_price("ETH/USD", price * per_mille / 1000)


def _submitted(passes: Sequence[Pass]) -> list[Intent]:
    return [s.intent for done in passes for s in done.submissions if isinstance(s, Submitted)]


# --- C4: another chain --------------------------------------------------------------------------


async def c4(stage: Stage, trial: Trial) -> None:
    """The node answers for another chain, from the start or from one block to the next."""
    async with devnet_of(stage) as devnet:
        if trial.chance.random() < 0.25:
            await _c4_at_the_start(devnet, trial)
            return
        async with armed(devnet, trial) as (here, [proxy], _):
            for _ in range(trial.chance.randint(0, 2)):
                await here.tick()
            nonce = await nonce_of(devnet)
            proxy.lies.chain_id = trial.chance.choice((1, 8453, 1337))
            trial.suffered["chain id changed"] = 1
            if trial.chance.random() < 0.5:
                await proxy.close_sockets()
            await shock(devnet, trial.chance.randint(850, 930))
            for _ in range(3):
                await devnet.anvil.set_time(await devnet.anvil.timestamp() + 12)
                await devnet.anvil.mine()
                await asyncio.sleep(0.5)  # time to do what it should not
            if sent := await nonce_of(devnet) - nonce:
                trial.violations.append(f"{sent} transactions were signed and mined")


async def _c4_at_the_start(devnet: Devnet, trial: Trial) -> None:
    nonce = await nonce_of(devnet)
    trial.suffered["chain id wrong at the start"] = 1
    try:
        async with Proxy(devnet.anvil.http_url, random.Random(1)) as proxy:
            proxy.lies.chain_id = 1
            with tempfile.TemporaryDirectory() as name:
                key = devnet.deployment.account("keeper").private_key
                there = replace(devnet.deployment, rpc_url=proxy.url, ws_url=proxy.ws_url)
                seen = Devnet(devnet.anvil, there, ensure())
                async with watching(devnet, settings_of(seen, Path(name), _arming(key))):
                    trial.violations.append("a node of another chain was taken at the start")
    except ConfigError:
        pass
    if await nonce_of(devnet) != nonce:
        trial.violations.append("something was signed at the start")


@contextmanager
def no_look_at_the_chain_id() -> Iterator[None]:
    good = footing

    async def blind(node: Any, address: Address, block: BlockRef) -> Footing:
        return replace(await good(node, address, block), chain_id=31337)

    with planted(node_module, "footing", blind):
        yield


# --- C7: reorgs ---------------------------------------------------------------------------------


async def c7(stage: Stage, trial: Trial) -> None:
    """A reorg of 1 to 64 blocks while transactions are on their way, whatever becomes of them."""
    async with devnet_of(stage) as devnet, armed(devnet, trial) as (here, _, folder):
        crowd = Crowd(devnet, trial.chance.randrange(2**32))
        began = here.passes[-1].block.number
        await crowd.act(8)
        await here.tick()
        await shock(devnet, trial.chance.randint(900, 940))
        await here.tick()
        for _ in range(trial.chance.randint(1, 3)):
            await crowd.act(6)
            await here.tick()
        deep = trial.chance.random() < 0.3
        depth = trial.chance.randint(8, 64) if deep else trial.chance.randint(1, 7)
        depth = min(depth, await devnet.anvil.block_number() - began + (50 if deep else 0))
        fate = trial.chance.choice(("dropped", "the same again", "another with its nonce"))
        trial.suffered = {f"reorg of {'8 to 64' if deep else '1 to 7'}": 1, fate: 1}
        await devnet.anvil.reorg(depth, await _fated(devnet, fate, depth))
        for _ in range(6):
            await here.tick()
        trial.violations += await _book(devnet, here, folder)
        trial.violations += await _duplicates(devnet, here, began - 64)


async def _fated(devnet: Devnet, fate: str, depth: int) -> list[tuple[Any, int]]:
    """What the reorganised blocks hold of the keeper's transactions."""
    if fate == "dropped":
        return []
    keeper = devnet.deployment.account("keeper")
    head = await devnet.anvil.block_number()
    found: list[tuple[Any, int]] = []
    for index, number in enumerate(range(head - depth + 1, head + 1)):
        block = await devnet.anvil.rpc("eth_getBlockByNumber", hex(number), True)
        for tx in block["transactions"]:
            if tx["from"].lower() != keeper.address:
                continue
            if fate == "the same again":
                raw = await devnet.anvil.rpc("eth_getRawTransactionByHash", tx["hash"])
            else:
                signed = Account.sign_transaction(
                    {
                        "chainId": 31337,
                        "nonce": int(tx["nonce"], 16),
                        "to": b"\x7e" * 20,
                        "value": 1,
                        "gas": 21_000,
                        "maxFeePerGas": 10**11,
                        "maxPriorityFeePerGas": 10**9,
                        "type": 2,
                    },
                    keeper.private_key,
                )
                raw = "0x" + signed.raw_transaction.hex().removeprefix("0x")
            found.append((raw, index))
    return found


async def _book(devnet: Devnet, here: Watching, folder: Path) -> list[str]:
    """How the book differs from one that is made now, and from the Pool."""
    fresh = await replayed(devnet, folder)
    ours = here.holdings
    found = [
        f"{a} is held otherwise than by a fresh replay" for a in fresh if ours.get(a) != fresh[a]
    ]
    found += [
        f"{a} has a debt that a fresh replay does not know"
        for a in ours.keys() - fresh.keys()
        if any(entry.side is Side.DEBT for entry in ours[a].entries)
    ]
    found += await differences_from_the_pool(here)
    repaired = sum(len(r.repaired) for done in here.passes for r in done.readings)
    if repaired:
        found.append(f"the sweep had to repair {repaired} accounts")
    return found


async def _duplicates(devnet: Devnet, here: Watching, since: int) -> list[str]:
    """Positions that the chain saw liquidated more often than the keeper decided to."""
    logs = await devnet.anvil.rpc(
        "eth_getLogs",
        {
            "address": devnet.deployment.pool,
            "fromBlock": hex(max(0, since)),
            "topics": [LIQUIDATION_CALL],
        },
    )
    decided: dict[str, set[str]] = {}
    for intent in _submitted(here.passes):
        decided.setdefault(intent.position.account, set()).add(intent.intent_id)
    done: dict[str, int] = {}
    for log in logs:
        account = "0x" + log["topics"][3][-40:]
        done[account] = done.get(account, 0) + 1
    return [
        f"{account} was liquidated {count} times for {len(decided.get(account, ()))} decisions"
        f" ({'; '.join(_became(here.passes, account))})"
        for account, count in done.items()
        if count > len(decided.get(account, ()))
    ]


def _became(passes: Sequence[Pass], account: str) -> Iterator[str]:
    """Say what the passes know of an account's intents, and which blocks they were of."""
    yield "blocks " + ", ".join(str(done.block.number) for done in passes[-8:])
    for done in passes:
        for one in done.submissions:
            if one.intent.position.account == account:
                why = one.reason if isinstance(one, Declined) else ""
                yield f"{done.block.number} {one.intent.intent_id} {type(one).__name__} {why}"


@contextmanager
def reorgs_are_not_undone() -> Iterator[None]:
    def deaf(self: WatchedMarket[Any, Any], block: BlockRef) -> None:
        del self, block

    with planted(WatchedMarket, "unhear", deaf):
        yield


# --- C14: clocks --------------------------------------------------------------------------------


async def c14(stage: Stage, trial: Trial) -> None:
    """This machine's clock jumps by up to ten minutes, forth and back, between blocks."""
    real, offset = time.time, [0.0]

    def jumping() -> float:
        return real() + offset[0]

    async with devnet_of(stage) as devnet, armed(devnet, trial) as (here, _, folder):
        with planted(time, "time", jumping):
            for _ in range(6):
                offset[0] = trial.chance.choice((-JUMP_S, -7, 0, 61, JUMP_S))
                trial.suffered["jumps"] = trial.suffered.get("jumps", 0) + 1
                done = await here.tick()
                for reading in done.readings:
                    trial.violations += [
                        f"{v.feed.description} is {v.state} by this machine's clock"
                        for v in reading.feeds
                        if v.state is not FeedState.USABLE
                    ]
            if here.watcher.last_pass_at is None or (
                abs(time.monotonic() - here.watcher.last_pass_at) > 30
            ):
                trial.violations.append("the age of the last pass is not monotonic time")
        trial.violations += await _book(devnet, here, folder)


@contextmanager
def prices_age_by_the_wall_clock() -> Iterator[None]:
    good = judge

    def by_the_wall(feed: Any, reading: Any, block: BlockRef, rules: Any, **more: Any) -> Any:
        return good(feed, reading, replace(block, timestamp=int(time.time())), rules, **more)

    with planted(oracles_module, "judge", by_the_wall):
        yield


# --- C18: everything at once --------------------------------------------------------------------


async def c18(stage: Stage, trial: Trial) -> None:
    """Ether falls so far that most positions are in danger in the same block."""
    async with devnet_of(stage) as devnet, armed(devnet, trial) as (here, _, folder):
        await shock(devnet, trial.chance.randint(550, 800))
        await here.tick()
        reading = here.engine.readings[MARKET]
        dangerous = {
            account
            for account, holdings in here.holdings.items()
            if reading.view.contract_health(holdings).health_factor < WAD
        }
        trial.suffered["dangerous at once"] = len(dangerous)
        for _ in range(4):
            await here.tick()
        trial.violations += out_of_order(here.passes)
        for done in here.passes:
            trial.figures.setdefault("decision_s", []).append(done.decision_s)
        judged = {
            (d.intent.position if isinstance(d, Act) else d.position).account
            for done in here.passes
            for d in done.decisions
        }
        if forgotten := dangerous - judged:
            trial.violations.append(f"{len(forgotten)} dangerous accounts were not decided about")
        trial.violations += await _book(devnet, here, folder)
        trial.violations += await _duplicates(devnet, here, 0)


@contextmanager
def smallest_first() -> Iterator[None]:
    with planted(engine_module, "queue", lambda intents: tuple(reversed(queue(intents)))):
        yield


HOUSE: Final = (
    Campaign(
        id="C4",
        what="another chain id, at the start or from one block to the next",
        stage="devnet",
        run=c4,
        bug=no_look_at_the_chain_id,
        bug_is="the chain id is not looked at before a signature",
    ),
    Campaign(
        id="C7",
        what="reorgs of 1 to 64 blocks; transactions dropped, mined again, replaced",
        stage="devnet",
        run=c7,
        bug=reorgs_are_not_undone,
        bug_is="orphaned blocks are not taken back",
    ),
    Campaign(
        id="C14",
        what="this machine's clock jumps by ten minutes",
        stage="devnet",
        run=c14,
        bug=prices_age_by_the_wall_clock,
        bug_is="oracle ages are told by the wall clock",
    ),
    Campaign(
        id="C18",
        what="most positions in danger in the same block",
        stage="devnet",
        run=c18,
        bug=smallest_first,
        bug_is="the smallest is sent first",
    ),
)
