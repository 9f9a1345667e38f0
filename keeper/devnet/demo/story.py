"""What happens to the chain.  Blocks are mined by hand, so that each tick is one pass to watch."""

import asyncio
import time
from dataclasses import dataclass, field
from decimal import Decimal

from keeper.app.service import Service
from keeper.devnet.bot_api import BotApi
from keeper.devnet.demo.house import ALICE, BOB, CAROL, House
from keeper.devnet.demo.show import Show
from keeper.devnet.network import Devnet
from keeper.engine.passes import Pass
from keeper.errors import KeeperError
from keeper.model import Hash
from keeper.notify.languages import speech_of
from keeper.store.outbox import SqlOutbox
from keeper.store.people import SqlPeople

BLOCK_S = 12
PATIENCE_S = 30.0
STALE_S = 3_900
"""Longer than ETH/USD's heartbeat and the grace together."""
REORG_DEPTH = 3


@dataclass(slots=True)
class Chronicle:
    """What the keeper did, pass by pass."""

    passes: list[Pass] = field(default_factory=list)
    mined_at: dict[Hash, float] = field(default_factory=dict)
    """When the story asked for each block, monotonic seconds."""
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def take(self, _: str, done: Pass) -> None:
        """Note one pass."""
        self.passes.append(done)
        self.news.set()


class Story:
    """Moves the chain and waits until the keeper has seen it."""

    def __init__(
        self,
        *,
        devnet: Devnet,
        house: House,
        service: Service,
        chronicle: Chronicle,
        bot: BotApi,
        show: Show,
        outbox: SqlOutbox,
        people: SqlPeople,
    ) -> None:
        """The service runs already."""
        self._devnet = devnet
        self._house = house
        self._service = service
        self._chronicle = chronicle
        self._bot = bot
        self._show = show
        self._outbox = outbox
        self._people = people
        self._start_price = Decimal(0)

    async def tell(self) -> None:
        """The whole story, from quiet blocks to the last settled transaction."""
        say = speech_of(self._house.settings.telegram.language)
        self._start_price = await self._devnet.price("ETH/USD")
        await self._devnet.anvil.set_automine(on=False)
        self._show.chapter("Quiet blocks: everybody is read, nobody is disturbed")
        await self._introduce()
        await self.ticks(3)
        await self._heard()

        self._show.chapter("ETH falls in steps")
        for percent in (97, 94, 91):
            await self._eth_at(percent)
        await self._heard()
        seen = say.plural(
            "Acknowledged one alert: no reminders until it is worse or over.",
            "Acknowledged {n} alerts: no reminders until it is worse or over.",
            1,
        )
        await self._carol_taps(f"({say('warning')} <", say("Ack"), seen)

        self._show.chapter("Alice comes near the edge and is topped up")
        await self._eth_at(88)
        await self.ticks(2)
        await self._reorg()
        await self._until_idle()
        await self._heard()

        self._show.chapter("Carol is asked, and answers by two taps")
        confirm = say("Confirm within 60 s.")
        await self._carol_taps(f"({say('critical')} <", say("Top up..."), confirm)
        await self._carol_taps(confirm, say("Confirm (60 s)"), "tx 0x")
        await self._until_idle()
        for _ in range(12):
            await self.tick(60)
        await self._heard()

        self._show.chapter("ETH/USD stops answering: health that uses it is unknown")
        await self._stale()
        await self._heard()

        self._show.chapter("The feed answers again, lower: Bob's debt is repaid")
        await self._eth_at(86)
        await self._until_idle()
        await self._heard()

        self._show.chapter("Crash, while Carol wants to be left alone")
        await self._carol_says("/quiet 00:00-23:59", "00:00")
        await self._eth_at(70)
        await self._until_idle()
        await self._heard()

        self._show.chapter("Calm: what was cured is said once")
        await self._refresh()
        for _ in range(14):
            await self.tick(60)
        await self._until_idle()
        kept_back = await self._people.held(str(CAROL))
        await self._carol_says("/quiet off", say("No quiet hours."))
        if kept_back:  # who is in danger is told all the same
            await self._carol_hears(say("Digest"))
        await self._heard()

    # --- time ---------------------------------------------------------------------------------

    async def ticks(self, count: int) -> None:
        """Mine that many blocks, each seen by the keeper."""
        for _ in range(count):
            await self.tick()

    async def tick(self, seconds: int = BLOCK_S) -> Pass:
        """Mine one block and wait until the keeper has taken it."""
        anvil = self._devnet.anvil
        await anvil.set_time(await anvil.timestamp() + seconds)
        began = time.monotonic()
        await anvil.mine()
        done = await self._seen()
        self._chronicle.mined_at[done.block.hash] = began
        return done

    async def _seen(self) -> Pass:
        """Wait for the pass on the chain's present head."""
        header = await self._devnet.anvil.rpc("eth_getBlockByNumber", "latest", False)  # noqa: FBT003 - positional in the call's encoding
        until = time.monotonic() + PATIENCE_S
        while True:
            last = self._chronicle.passes[-1] if self._chronicle.passes else None
            if last is not None and last.block.hash == header["hash"]:
                await self._show.passed(last)
                return last
            if time.monotonic() > until:
                raise KeeperError(
                    f"The keeper did not take block {int(header['number'], 16):,} "
                    f"within {PATIENCE_S:.0f} s."
                )
            self._chronicle.news.clear()
            try:
                await asyncio.wait_for(self._chronicle.news.wait(), 1.0)
            except TimeoutError:
                continue

    async def _until_idle(self, most: int = 40) -> None:
        """Mine until nothing is on its way and a whole pass wanted nothing."""
        for _ in range(most):
            done = await self.tick()
            executor = self._service.watchers[0].executor
            if executor is not None and not executor.open_intents() and not done.submissions:
                return
        raise KeeperError(f"The keeper was not done after {most} blocks.")

    async def _heard(self) -> None:
        """Wait until every message was acknowledged: one a second goes to each chat."""
        until = time.monotonic() + PATIENCE_S
        while (await self._outbox.counts()).pending and time.monotonic() < until:
            self._service.wake()
            self._show.messages()
            await asyncio.sleep(0.1)
        self._show.messages()

    # --- events -------------------------------------------------------------------------------

    async def _introduce(self) -> None:
        """Three borrowers write to the bot, as they would."""
        if self._house.telegram_is_real:
            return
        accounts = self._devnet.deployment
        for chat, address, label, told in (
            (ALICE, accounts.account("alice").address, "alice", "1.30/1.15/1.05"),
            (BOB, accounts.account("bob").address, "bob", "1.30/1.15/1.05"),
            (CAROL, self._house.carol, "carol", "1.25/1.17/1.12"),
        ):
            await self._bot.say(chat, f"/watch {address} {label} {told}")
            await self._bot.heard(chat, label, within_s=PATIENCE_S)

    async def _carol_says(self, text: str, answer: str) -> None:
        """Carol writes to the bot, and is answered."""
        if not self._house.telegram_is_real:
            await self._bot.say(CAROL, text)
            await self._carol_hears(answer)

    async def _carol_taps(self, message: str, label: str, answer: str) -> None:
        """Carol taps a button under the last message that says `message`, and is answered."""
        if self._house.telegram_is_real:
            return
        await self._carol_hears(message)
        said = [s for s in self._bot.sent if s.chat_id == CAROL and message in s.text and s.buttons]
        self._show.event(f"Carol taps {label}")
        await self._bot.press(said[-1], label)
        await self._carol_hears(answer)

    async def _carol_hears(self, containing: str) -> None:
        if self._house.telegram_is_real:
            return
        try:
            await self._bot.heard(CAROL, containing, within_s=PATIENCE_S)
        except TimeoutError:
            raise KeeperError(
                f"Carol was not told {containing!r} within {PATIENCE_S:.0f} s."
            ) from None

    async def _eth_at(self, percent: int) -> None:
        """ETH/USD answers this much of its first price, and the exchange; two blocks pass."""
        left = self._start_price * percent / 100 / await self._devnet.price("ETH/USD")
        price = await self._devnet.fall_of("ETH/USD", left)
        self._show.price("ETH/USD", price, percent - 100)
        await self.ticks(2)

    async def _reorg(self) -> None:
        """The last three blocks are replaced by others without their transactions."""
        await self._devnet.anvil.reorg(REORG_DEPTH)
        self._show.event(f"the last {REORG_DEPTH} blocks are reorganised away")
        await self.ticks(3)

    async def _stale(self) -> None:
        """Time passes; every feed but ETH/USD answers."""
        await self._refresh("ETH/USD")
        self._show.event(f"{STALE_S // 60} minutes pass without a round of ETH/USD")
        await self.tick(STALE_S)
        await self.ticks(3)

    async def _refresh(self, *but: str) -> None:
        """Every feed answers its present price again, `but` these."""
        await self._devnet.refresh_feeds(*but)
