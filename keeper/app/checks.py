"""What ``keeper check`` looks at, and what each answer means.

A check never ends the next one: whatever it raises becomes its own line.  Nothing is sent and
nothing is signed; the key is opened, as `keeper run` would open it.
"""

import asyncio
import stat
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Final

from keeper.app.chain import relay_of, watched_markets
from keeper.app.check_market import check_market
from keeper.app.finding import Finding, State, failed, ok, warning
from keeper.app.registry import NATIVE
from keeper.app.rules import findings, standings, written
from keeper.app.signing import liquidating_signer_for, signer_for
from keeper.chain.doctor import Grade, examine
from keeper.chain.provider import Limits
from keeper.chain.reader import LensReader
from keeper.chain.rpc import Rpc
from keeper.chain.subscription import Mailbox, Subscription
from keeper.chain.urls import redact
from keeper.errors import ConfigError, DeliveryError, KeeperError, ObservationError
from keeper.model import Address, Asset, BlockRef
from keeper.settings import Chain, Settings
from keeper.store.database import Database
from keeper.store.upkeep import bind_chain, info
from keeper.strategies.text import have
from keeper.units import Raw

LATE_BLOCKS: Final = 10
"""A head older than so many blocks, and than a minute, is late."""
WS_S: Final = 10.0


async def check_all(settings: Settings, chain: str | None = None) -> AsyncIterator[Finding]:
    """Yield a finding for everything that `keeper run` needs, in the order it needs it."""
    genesis: dict[int, BlockRef] = {}
    chains: tuple[Chain, ...] = ()
    try:
        chains = settings.select(chain)
    except ConfigError as error:
        yield failed("configuration", error)
    for each in chains:
        async for finding in _chain(settings, each, genesis):
            yield finding
        async for finding in _relay(each):
            yield finding
    if settings.chains:  # else there is nothing to keep, and looking would make a file
        async for finding in _database(settings, genesis):
            yield finding
        async for finding in _rules(settings, chains):
            yield finding
    async for finding in _telegram(settings):
        yield finding


# --- chain ----------------------------------------------------------------------------------


async def _chain(
    settings: Settings, chain: Chain, genesis: dict[int, BlockRef]
) -> AsyncIterator[Finding]:
    reachable = []
    for url in chain.rpc_urls:
        finding = await _node(chain, url)
        yield finding
        if finding.state is not State.FAILED:
            reachable.append(url)
    answering = []
    async for finding, url in _websockets(chain):
        yield finding
        if finding.state is State.OK:
            answering.append(url)
    owner: Address | None = None
    async for finding, address in _key(settings, chain):
        owner = address or owner
        yield finding
    if not reachable:
        return
    try:
        async with await Rpc.open(
            reachable, chain.chain_id, limits=Limits(calls_per_second=chain.calls_per_second)
        ) as rpc:
            head = await rpc.block("latest")
            async for finding in _able(chain, rpc, answering):
                yield finding
            async for finding in _on_chain(settings, chain, rpc, head, owner):
                yield finding
            genesis[chain.chain_id] = await rpc.block(0)
    except KeeperError as error:
        yield failed(f"{chain.name}: reading", error)


async def _on_chain(
    settings: Settings, chain: Chain, rpc: Rpc, head: BlockRef, owner: Address | None
) -> AsyncIterator[Finding]:
    if owner is not None:
        yield await _gas(settings, chain, rpc, owner)
    try:
        markets = watched_markets(settings, chain)
    except ConfigError as error:
        yield failed(f"{chain.name}: markets", error)
        return
    reader = LensReader(rpc)
    for market in markets:
        async for finding in check_market(
            settings,
            chain=chain,
            rpc=rpc,
            reader=reader,
            market=market,
            head=head,
            owner=owner,
        ):
            yield finding


async def _node(chain: Chain, url: str) -> Finding:
    what = f"{chain.name}: node {redact(url)}"
    began_at = time.monotonic()
    try:
        async with await Rpc.open((url,), chain.chain_id, attempts=1) as rpc:
            head = await rpc.block("latest")
            took_ms = int((time.monotonic() - began_at) * 1000)
    except ConfigError as error:
        return failed(what, error)
    except KeeperError as error:
        return failed(what, error, "correct rpc_urls of the chain, or wait for the node")
    age_s = max(0, int(time.time()) - head.timestamp)
    said = f"chain {chain.chain_id}, block {head.number:,}, {age_s} s old, answered in {took_ms} ms"
    if age_s > max(60.0, LATE_BLOCKS * chain.block_time_s):
        return warning(what, said, "the head is late: is the node in sync?")
    return ok(what, said)


async def _able(chain: Chain, rpc: Rpc, ws_urls: Sequence[str]) -> AsyncIterator[Finding]:
    """Say what nodes that answer cannot do, and what that costs; `keeper run` logs the same."""
    yield _history(chain)
    found_all = await examine(rpc, ws_urls or None, block_time_s=chain.block_time_s, now=None)
    for found in found_all:
        if found.grade is not Grade.OK:
            what = f"{chain.name}: node {found.node}"
            yield Finding(state=State(found.grade), what=what, said=found.says)


def _history(chain: Chain) -> Finding:
    """Say how logs that a node leaves out of history would be noticed."""
    what = f"{chain.name}: history"
    if chain.nodes_needed > 1:
        return ok(what, "each range of logs is asked of two nodes")
    second = "with a second one in rpc_urls all logs are compared"
    match chain.history_check:
        case "sampled":
            said = "told by one node, a block in 2,000 is held against its header and receipts"
            return ok(what, f"{said}; {second}")
        case "full":
            said = (
                "told by one node, each block is held against its header: slow, a request a block"
            )
            return ok(what, f"{said}; {second}")
        case _:
            said = "told by one node and believed: a borrower whose logs it leaves out is not found"
            return warning(what, said, f'set history_check to "sampled"; {second}')


async def _websockets(chain: Chain) -> AsyncIterator[tuple[Finding, str]]:
    """Yield what is to be said of each URL, and the URL."""
    if not chain.pushing:
        found = warning(
            f"{chain.name}: WebSocket",
            "none is configured, so new blocks are polled for over HTTP",
            "set ws_urls to hear of a block as soon as the node does",
        )
        yield found, ""
    for url in chain.pushing:
        what = (
            f"{chain.name}: {'heads over' if url.startswith('ipc:') else 'WebSocket'} {redact(url)}"
        )
        try:
            async with asyncio.timeout(WS_S):
                await Subscription((url,), chain.chain_id, Mailbox()).check()
        except ConfigError as error:
            found = failed(what, error)
        except TimeoutError:
            found = failed(what, f"did not answer within {WS_S:g} s", "correct ws_urls")
        except KeeperError as error:
            found = failed(what, error, "correct ws_urls; without any, blocks are polled for")
        else:
            found = ok(what, f"chain {chain.chain_id}, it answers")
        yield found, url


async def _relay(chain: Chain) -> AsyncIterator[Finding]:
    """Ask the private relay for something harmless, where there is one."""
    if chain.relay_url is None:
        return
    what = f"{chain.name}: relay"
    try:
        relay = relay_of(chain)
        assert relay is not None
        async with relay:
            await relay.check()
    except KeeperError as error:
        yield failed(what, error, "correct relay_url, or leave it out")
        return
    after = chain.relay_public_after_blocks
    then = "never to the public pool" if after is None else f"to all after {after} blocks"
    yield ok(what, f"{relay.name} answers; {', '.join(chain.relay_kinds)} go there, {then}")


# --- key and money ----------------------------------------------------------------------------


async def _key(settings: Settings, chain: Chain) -> AsyncIterator[tuple[Finding, Address | None]]:
    signing = settings.signing
    what = f"{chain.name}: key"
    armed = signing.armed(chain.chain_id)
    try:
        signer = await signer_for(settings, chain)
    except ConfigError as error:
        yield failed(what, error), None
        return
    if signer is None:
        yield ok(what, "none: it watches and sends nothing"), None
        return
    said = f"{signer.address}, {'armed' if armed else 'not armed: it rehearses and sends nothing'}"
    yield ok(what, said), signer.address
    try:
        second = await liquidating_signer_for(settings, chain)
    except ConfigError as error:
        yield failed(f"{chain.name}: liquidating key", error), None
    else:
        if second is not None:
            yield ok(f"{chain.name}: liquidating key", second.address), None
    for name, file in (
        ("signing.keystore", signing.keystore),
        ("signing.passphrase_file", signing.passphrase_file),
        ("signing.liquidate_keystore", signing.liquidate_keystore),
        ("signing.liquidate_passphrase_file", signing.liquidate_passphrase_file),
        *(
            (f"{chain.name}: {each.kind}.api_key_file", each.api_key_file)
            for each in chain.aggregators
        ),
    ):
        loose = None if file is None else await asyncio.to_thread(_readable_by_others, file)
        if loose:
            yield warning(name, loose, f"chmod 600 {file}"), None
    if armed and await asyncio.to_thread(signing.kill_switch_file.exists):
        yield (
            failed(
                "signing.kill_switch_file",
                f"{signing.kill_switch_file} is there, so nothing is signed",
                "remove it when it is safe to send again",
            ),
            None,
        )


def _readable_by_others(file: Path) -> str:
    try:
        mode = file.stat().st_mode
    except OSError as error:
        return f"{file} cannot be looked at: {error.strerror}"
    others = mode & (stat.S_IRWXG | stat.S_IRWXO)
    return f"others may read or change {file}" if others else ""


async def _gas(settings: Settings, chain: Chain, rpc: Rpc, owner: Address) -> Finding:
    what = f"{chain.name}: gas"
    try:
        held = await rpc.balance(owner)
    except ObservationError as error:
        return failed(what, error)
    coin = NATIVE.get(chain.chain_id, "WETH").removeprefix("W")
    said = have(Raw(held), Asset(address=owner, symbol=coin, decimals=18))
    least = settings.signing.min_gas_balance_eth
    if held < least and settings.signing.armed(chain.chain_id):
        least_said = have(Raw(least), Asset(address=owner, symbol=coin, decimals=18))
        return failed(
            what,
            f"{said}, below signing.min_gas_balance_eth ({least_said}): nothing will be signed",
            f"send some to {owner}",
        )
    return ok(what, f"{said} in {owner}")


# --- market -----------------------------------------------------------------------------------


# --- database and Telegram --------------------------------------------------------------------


async def _database(settings: Settings, genesis: dict[int, BlockRef]) -> AsyncIterator[Finding]:
    try:
        async with await Database.open(settings.database.url) as database:
            told = await info(database)
            said = f"{told.shown}, {told.engine}, schema {told.revision}, {told.size_bytes:,} bytes"
            yield ok("database", said)
            if told.open_plans:
                yield warning(
                    "database: journal",
                    f"{told.open_plans} transactions are on their way",
                    "`keeper run` follows them to their end; `keeper actions` lists them",
                )
            for chain_id, block in genesis.items():
                try:
                    await bind_chain(database, chain_id, block.hash)
                except ConfigError as error:
                    yield failed(f"database: chain {chain_id}", error)
    except KeeperError as error:
        yield failed("database", error)


async def _rules(settings: Settings, chains: Sequence[Chain]) -> AsyncIterator[Finding]:
    """Say how every rule reads; nothing where there are none, or no database to look into."""
    try:
        async with await Database.open(settings.database.url) as database:
            there = await written(settings, database)
    except KeeperError:
        return  # said of the database itself already
    if there.rules or there.unread or there.unwatched:
        for finding in findings(await standings(settings, chains, there)):
            yield finding


async def _telegram(settings: Settings) -> AsyncIterator[Finding]:
    token = settings.telegram.token
    if token is None:
        yield ok("telegram", "off: messages go to the log; set telegram.token to switch it on")
        return
    from telegram.error import BadRequest, Forbidden, TelegramError  # noqa: PLC0415 - only with a token

    from keeper.notify.telegram import TelegramApi  # noqa: PLC0415 - only where Telegram is configured: it is slow to import

    try:
        api = TelegramApi(token.get_secret_value(), settings.telegram.api_url)
    except ConfigError as error:
        yield failed("telegram", error)
        return
    async with api:
        try:
            yield ok("telegram", f"the bot is @{await api.identify()}")
        except (ConfigError, DeliveryError) as error:
            yield failed("telegram", error)
            return
        chats = tuple(
            dict.fromkeys((*settings.telegram.operator_chats, *settings.telegram.allowed_chats))
        )
        if not settings.telegram.operator_chats:
            yield warning(
                "telegram: operators",
                "nobody hears about oracles and faults",
                "set telegram.operator_chats",
            )
        for chat in chats:
            what = f"telegram: chat {chat}"
            try:
                await api.bot.send_chat_action(chat_id=chat, action="typing")
            except (BadRequest, Forbidden) as error:
                yield failed(
                    what,
                    f"the bot may not write there: {api.redact(str(error))}",
                    "send the bot /start from that chat, or correct the number",
                )
            except TelegramError as error:
                yield warning(what, f"could not be asked: {api.redact(str(error))}")
            else:
                yield ok(what, "the bot may write there")
