"""What moves while a devnet is up: what somebody types, a line each, and feeds that report.

A price moves as a round of its feed, and what the exchange pools pay moves with it: a liquidation
whose collateral is sold there stays possible.

A feed takes one round a block, so words and feeds have their turns: whoever has sent a round waits
for its block before the next begins.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

from keeper.alerts.numbers import health_text
from keeper.devnet.deployment import DeployedFeed
from keeper.devnet.network import Devnet
from keeper.errors import ConfigError
from keeper.model import Address
from keeper.units import WAD, Wad

HELP: Final = """\
  price ETH/USD -20%    move a feed, and the exchange with it; or to a price: price ETH/USD 2500
  wait 2h               let chain time pass: 90s, 30m, 2h, 7d
  mine 3                mine blocks at once
  freeze USDC/USD       let a feed grow old, thaw USDC/USD lets it report again
  feeds                 what every feed answers, and since when
  positions             how many there are, how many below 1, and the worst
  help                  this
  quit                  end the devnet, as Ctrl-C does"""

MOST_BLOCKS: Final = 1_000
MOST_WAIT_S: Final = 400 * 86_400
NEXT_BLOCK_S: Final = 120.0
WORST: Final = 5
FURTHEST: Final = Decimal(100)
"""A price moves to no more than so many times, and no less than one part in so many."""

_CHANGE: Final = re.compile(r"([+-]\d{1,6}(?:\.\d{1,8})?)\s*%")
_PRICE: Final = re.compile(r"\d[\d,_]{0,20}(?:\.\d{1,18})?")
_SPAN: Final = re.compile(r"(\d{1,9})\s*([smhd])")
_UNITS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}

ENDS: Final = ("quit", "exit")
"""What ends a devnet; whoever reads the lines does it."""

Line = Callable[["Typed", str], Awaitable[str]]


class Typed:
    """Carries out one line after the other, and lets feeds report in between."""

    def __init__(self, devnet: Devnet, frozen: set[str]) -> None:
        """`frozen`: feeds that do not report again by themselves; changed by what is typed."""
        self.devnet = devnet
        self.frozen = frozen
        self._turn = asyncio.Lock()

    async def carry_out(self, line: str) -> str:
        """Do what `line` says and return what to answer; nothing for an empty one.

        Raises ConfigError for what cannot be done, and the errors of the node.
        """
        word, _, rest = line.strip().partition(" ")
        if not word:
            return ""
        said = _WORDS.get(word.lower())
        if said is None:
            raise ConfigError(f"{word[:40]!r} is no word here: {', '.join((*_WORDS, ENDS[0]))}.")
        if rest.strip() and word.lower() in _ALONE:
            raise ConfigError(f"{word.lower()} stands alone, without {rest.strip()[:40]!r}.")
        async with self._turn:
            return await said(self, rest.strip())

    async def report(self) -> None:
        """Let each feed that is not frozen answer again what it does, at half its heartbeat.

        Raises the errors of the node.
        """
        devnet = self.devnet
        async with self._turn:
            now, before = await devnet.anvil.timestamp(), await devnet.anvil.block_number()
            due = [
                feed.name
                for feed in devnet.deployment.feeds
                if feed.name not in self.frozen
                and now - await self._reported_at(feed) > feed.heartbeat_s // 2
            ]
            for name in due:
                await devnet.push_price(name, await devnet.price(name))
            if due:
                await self._mined_after(before)

    async def price(self, rest: str) -> str:
        """``ETH/USD -20%`` or ``WETH 2,500``."""
        name, _, to = rest.partition(" ")
        feed = self._feed(name)
        before = await self.devnet.price(feed.name)
        left = share_of(before, to.strip())
        now = await self.devnet.fall_of(feed.name, left)
        await self._mined_after(await self.devnet.anvil.block_number())
        if await self.devnet.price(feed.name) != now:  # one round a block
            await self.devnet.push_price(feed.name, now)
            await self._mined_after(await self.devnet.anvil.block_number())
        said = await self.devnet.price(feed.name)
        return f"{feed.name}: {said:,.2f} instead of {before:,.2f}"

    async def wait(self, rest: str) -> str:
        """``2h``."""
        match = _SPAN.fullmatch(rest.lower())
        seconds = int(match[1]) * _UNITS[match[2]] if match else 0
        if not 0 < seconds <= MOST_WAIT_S:
            raise ConfigError(f"wait takes a time such as 90s, 30m, 2h or 7d, not {rest[:40]!r}.")
        anvil = self.devnet.anvil
        await anvil.increase_time(seconds)
        await anvil.mine()
        now = datetime.fromtimestamp(await anvil.timestamp(), UTC)
        return f"block {await anvil.block_number()}, {now:%Y-%m-%d %H:%M:%S} UTC by the chain"

    async def mine(self, rest: str) -> str:
        """``3``, or nothing for one."""
        blocks = int(rest or 1) if re.fullmatch(r"\d{0,9}", rest) else 0
        if not 0 < blocks <= MOST_BLOCKS:
            raise ConfigError(f"mine takes 1 to {MOST_BLOCKS:,} blocks, not {rest[:40]!r}.")
        await self.devnet.anvil.mine(blocks)
        return f"block {await self.devnet.anvil.block_number()}"

    async def freeze(self, rest: str) -> str:
        """``USDC/USD``."""
        feed = self._feed(rest)
        self.frozen.add(feed.name)
        return f"{feed.name} reports no more by itself; its heartbeat is {feed.heartbeat_s:,} s"

    async def thaw(self, rest: str) -> str:
        """``USDC/USD``."""
        feed = self._feed(rest)
        self.frozen.discard(feed.name)
        before = await self.devnet.anvil.block_number()
        await self.devnet.push_price(feed.name, await self.devnet.price(feed.name))
        await self._mined_after(before)
        return f"{feed.name} reports again"

    async def feeds(self, _: str) -> str:
        """Return a line for each."""
        now = await self.devnet.anvil.timestamp()
        lines = []
        for feed in self.devnet.deployment.feeds:
            age_s = now - await self._reported_at(feed)
            price = await self.devnet.price(feed.name)
            still = ", frozen" if feed.name in self.frozen else ""
            lines.append(f"  {feed.name:<12}{price:>16,.4f}  {age_s:>7,} s old{still}")
        return "\n".join(lines)

    async def positions(self, _: str) -> str:
        """Return how they are, by the Pool's own word."""
        borrowers = [borrower.address for borrower in self.devnet.borrowers]
        said = zip(borrowers, await self.devnet.account_data_of(borrowers), strict=True)
        return worst({account: data[5] for account, data in said if data[1]})

    async def help(self, _: str) -> str:
        """Return what can be typed."""
        return HELP

    async def _reported_at(self, feed: DeployedFeed) -> int:
        """When it answered last, by the chain."""
        answer = await self.devnet.deployer.call(
            feed.proxy, "EACAggregatorProxy", "latestRoundData"
        )
        return int(answer[3])

    def _feed(self, name: str) -> DeployedFeed:
        try:
            return self.devnet.deployment.feed(name)
        except KeyError:
            there = ", ".join(feed.name for feed in self.devnet.deployment.feeds)
            said = (
                f"has no feed {name[:40]!r}, it has {there}" if name else f"has {there}: name one"
            )
            raise ConfigError(f"The devnet {said}.") from None

    async def _mined_after(self, block: int) -> None:
        """Wait for a block after `block`, unless each transaction has its own."""
        if await self.devnet.anvil.automine():
            return
        async with asyncio.timeout(NEXT_BLOCK_S):
            while await self.devnet.anvil.block_number() <= block:  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0.05)


_WORDS: Final[Mapping[str, Line]] = {
    "price": Typed.price,
    "wait": Typed.wait,
    "mine": Typed.mine,
    "freeze": Typed.freeze,
    "thaw": Typed.thaw,
    "feeds": Typed.feeds,
    "positions": Typed.positions,
    "help": Typed.help,
}
_ALONE: Final = ("feeds", "positions", "help")


def share_of(price: Decimal, to: str) -> Decimal:
    """Return what is left of `price` after ``-20%`` or at ``2,500``.  Raises ConfigError."""
    if match := _CHANGE.fullmatch(to):
        left = 1 + Decimal(match[1]) / 100
    elif match := _PRICE.fullmatch(to):
        left = Decimal(to.replace(",", "").replace("_", "")) / price
        if not left:
            raise ConfigError("A price moves by -20% or to 2500: to more than 0.")
    elif not to:
        raise ConfigError("A price moves by -20% or to 2500: say which.")
    else:
        raise ConfigError(f"A price moves by -20% or to 2500, not by {to[:40]!r}.")
    if not 1 / FURTHEST <= left <= FURTHEST:
        raise ConfigError(f"A price moves by {FURTHEST} times at the most; {to[:40]} is further.")
    return left


def worst(healths: Mapping[Address, int]) -> str:
    """Return how many of the health factors, wad, are below 1, and a line for each of the worst."""
    below = sum(health < WAD for health in healths.values())
    lines = [f"  {len(healths):,} with debt, {below:,} below 1; the worst:"]
    for account, health in sorted(healths.items(), key=lambda one: one[1])[:WORST]:
        lines.append(f"  {account}  {health_text(Wad(health))}")
    return "\n".join(lines)
