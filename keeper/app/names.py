"""What accounts are called: names looked up when they are watched, and kept beside the lookup.

A name is resolved once, when somebody watches it; its address is what is watched.  Where the name
points elsewhere later, its chat is told and nothing follows it.  Reverse names are looked up in the
background and shown from memory: a slow or failing lookup delays no reply and no alert.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final

import structlog

from keeper.alerts.numbers import plain, short
from keeper.alerts.speech import SpeechOf, english
from keeper.app.watcher import Watcher
from keeper.chain.names import Names, NoAddress, Resolved
from keeper.chain.reader import LensReader
from keeper.chain.rpc import Rpc
from keeper.errors import KeeperError, ObservationError
from keeper.model import Address, Message, Severity, Watch
from keeper.notify.words import checksummed
from keeper.settings import Settings
from keeper.store.names import NamedWatch, SqlNames
from keeper.store.outbox import SqlOutbox

log = structlog.get_logger()

LOOKUP_S: Final = 20.0
"""After which a person is told that a lookup failed."""
EXPIRES_S: Final = 3600.0
MOST: Final = 10_000
ROUND_S: Final = 60.0
CHECK_S: Final = 900.0
"""How often names that are watched are looked up again."""
SHOWN: Final = 17
"""Characters of a name beside an address: both fit into a label."""


async def resolved(settings: Settings, word: str) -> Resolved:
    """Return what a name points to now, for a command that asks and goes.  Raises `NoAddress`."""
    for chain in settings.select():
        if chain.names_registry is not None:
            try:
                async with await Rpc.open(chain.rpc_urls, chain.chain_id, attempts=1) as rpc:
                    return await Names(rpc, LensReader(rpc), chain.names_registry).resolve(word)
            except ObservationError as error:
                raise NoAddress(
                    "{said} could not be looked up: try again, or send the 0x address ({reason}).",
                    said=plain(word, 60),
                    reason=plain(str(error), 120).rstrip("."),
                ) from error
    raise NoAddress(
        "{said} is a name, and no chain here has names: send the account's 0x address.",
        said=plain(word, 60),
    )


class NameBook:
    """Names and addresses of people, as the chain says."""

    def __init__(
        self,
        watchers: Callable[[], Iterable[Watcher]],
        store: SqlNames,
        outbox: SqlOutbox,
        *,
        speech: SpeechOf = english,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`watchers`: asked anew each time, chains open and close.  `clock`: monotonic seconds."""
        self._watchers = watchers
        self._store = store
        self._outbox = outbox
        self._speech = speech
        self._clock = clock
        self._known: dict[Address, tuple[float, str]] = {}
        self._wanted: dict[Address, None] = {}
        self._waked = asyncio.Event()

    async def resolve(self, word: str) -> Resolved:
        """Return what a name points to now.  Raises `NoAddress`."""
        names = self._names()
        said = plain(word, 60)
        if names is None:
            raise NoAddress(
                "{said} is a name, and no chain here has names: send the account's 0x address.",
                said=said,
            )
        try:
            async with asyncio.timeout(LOOKUP_S):
                return await names.resolve(word)
        except TimeoutError:
            raise NoAddress(
                "{said} could not be looked up in time: try again, or send the 0x address.",
                said=said,
            ) from None

    async def keep(self, chat: str, name: str, account: Address) -> None:
        """Remember that a chat watches an account by this name."""
        await self._store.keep(NamedWatch(chat=chat, account=account, name=name))

    def known(self, account: Address) -> str:
        """Return an account's own name from memory, and have it looked up if it is not there."""
        at, name = self._known.get(account, (0.0, ""))
        if account not in self._known or self._clock() - at >= EXPIRES_S:
            self._wanted[account] = None
            self._waked.set()
        return "" if at and self._clock() - at >= 2 * EXPIRES_S else name

    def shown(self, watches: Iterable[Watch]) -> tuple[Watch, ...]:
        """Return watches with their accounts' own names where people gave none."""
        return tuple(
            replace(one, label=f"{plain(name, SHOWN)} {short(one.account)}")
            if not one.label and (name := self.known(one.account))
            else one
            for one in watches
        )

    async def run(self) -> None:
        """Look up what is wanted, and what is watched by name, until cancelled."""
        checked_at = self._clock()
        while True:
            self._waked.clear()
            await self._look_up()
            if self._clock() - checked_at >= CHECK_S:
                checked_at = self._clock()
                await self.check()
            try:
                async with asyncio.timeout(ROUND_S):
                    await self._waked.wait()
            except TimeoutError:
                continue

    async def _look_up(self) -> None:
        names = self._names()
        while names is not None and self._wanted:
            account = next(iter(self._wanted))
            del self._wanted[account]
            try:
                async with asyncio.timeout(LOOKUP_S):
                    name = await names.name_of(account)
            except (KeeperError, TimeoutError) as error:
                log.info("name.unread", account=account, reason=str(error))
                name = ""
            while len(self._known) >= MOST:
                del self._known[next(iter(self._known))]
            self._known[account] = (self._clock(), name)

    async def check(self) -> None:
        """Tell whoever watches a name that points elsewhere now; once for each such place."""
        names = self._names()
        if names is None:
            return
        for one in await self._store.all():
            try:
                async with asyncio.timeout(LOOKUP_S):
                    now: Address | str = (await names.resolve(one.name)).account
            except NoAddress as error:
                if error.__cause__ is not None:  # no node answered: nothing is known
                    continue
                now = ""
            except TimeoutError:
                continue
            if now == (one.told or one.account):
                continue
            log.warning("name.moved", chat=one.chat, name=one.name, account=one.account, now=now)
            if now != one.account:
                await self._outbox.put((self._moved(one, now),))
            await self._store.keep(replace(one, told=now or "nobody"))

    def _moved(self, one: NamedWatch, now: str) -> Message:
        say = self._speech(one.chat)
        values = {"name": one.name, "was": checksummed(one.account)}
        if now:
            text = say(
                "{name} points to {now} now. I still watch {was}: /watch {name} watches the new "
                "one too.",
                now=checksummed(Address(now)),
                **values,
            )
        else:
            text = say("{name} points to no account any more. I still watch {was}.", **values)
        return Message(
            key=f"name/{one.name}#{one.account}.{now}@{one.chat}",
            chat=one.chat,
            severity=Severity.WARNING,
            kind="fired",
            text=f"⚠️ {text}",
        )

    def _names(self) -> Names | None:
        """Return the first chain that is open and has a registry."""
        for watcher in self._watchers():
            registry = watcher.config.names_registry
            if registry is not None and watcher.chain is not None:
                return Names(watcher.chain.rpc, watcher.chain.reader, registry)
        return None
