"""Asks exchanges again and again and remembers what each said last, and when.

One that is down, slow, or answers nonsense is `Silent` with the reason and costs nothing else:
each request has its own time limit and size limit, and no error leaves `run`.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import aiohttp
import structlog

from keeper.bodies import TooLong, whole
from keeper.errors import BadAnswer
from keeper.model import Quote, Silent
from keeper.reference.exchanges import Exchange, price_in
from keeper.units import Base

log = structlog.get_logger(__name__)

TIMEOUT_S: Final = 5.0
MOST_BYTES: Final = 64 * 1024
AT_ONCE: Final = 4
"""Requests in flight to one exchange."""
TOO_MANY: Final = 429
OK: Final = 200

Said = tuple[Base, float]
"""Price, and the monotonic second it was said at."""


class Board:
    """The last price of each ticker on each exchange."""

    def __init__(
        self,
        exchanges: Sequence[Exchange],
        tickers: Mapping[str, str],
        *,
        every_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`tickers`: what exchanges call an asset, by its symbol."""
        self._exchanges = tuple(exchanges)
        self._tickers = dict(tickers)
        self._every_s = every_s
        self._clock = clock
        self._said: dict[tuple[str, str], Said] = {}
        self._why: dict[tuple[str, str], str] = {}
        self._down: set[str] = set()

    def quotes(self) -> Mapping[str, tuple[Quote | Silent, ...]]:
        """Return what each exchange says of each symbol, with its age: whether that is too old is
        for whoever combines them to judge."""
        now = self._clock()
        return {
            symbol: tuple(self._one(exchange.name, ticker, now) for exchange in self._exchanges)
            for symbol, ticker in self._tickers.items()
        }

    async def run(self) -> None:
        """Ask for ever, every `every_s` seconds."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(TIMEOUT_S)) as session:
            while True:
                await self.ask(session)
                await asyncio.sleep(self._every_s)

    async def ask_once(self) -> None:
        """Ask each exchange for each ticker, once."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(TIMEOUT_S)) as session:
            await self.ask(session)

    async def ask(self, session: aiohttp.ClientSession) -> None:
        """Ask all exchanges at the same time."""
        await asyncio.gather(*(self._ask_all(session, one) for one in self._exchanges))

    async def _ask_all(self, session: aiohttp.ClientSession, exchange: Exchange) -> None:
        slots = asyncio.Semaphore(AT_ONCE)

        async def ask(ticker: str) -> None:
            async with slots:
                await self._ask(session, exchange, ticker)

        tickers = tuple(dict.fromkeys(self._tickers.values()))
        await asyncio.gather(*map(ask, tickers))
        silent = [t for t in tickers if (exchange.name, t) in self._why]
        if len(silent) == len(tickers) and exchange.name not in self._down and tickers:
            self._down.add(exchange.name)
            why = self._why[exchange.name, tickers[0]]
            log.warning("exchange.silent", exchange=exchange.name, reason=why)
        elif len(silent) < len(tickers) and exchange.name in self._down:
            self._down.discard(exchange.name)
            log.info("exchange.heard", exchange=exchange.name)

    async def _ask(self, session: aiohttp.ClientSession, exchange: Exchange, ticker: str) -> None:
        key = (exchange.name, ticker)
        try:
            url = exchange.host + exchange.path(ticker)
            async with session.get(url, allow_redirects=False) as answer:
                body = await _body(answer)
            self._said[key] = (price_in(exchange, body, ticker), self._clock())
            self._why.pop(key, None)
        except BadAnswer as error:
            self._why[key] = str(error)
        except TimeoutError:
            self._why[key] = f"it did not answer within {TIMEOUT_S:g} s"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            self._why[key] = f"it cannot be reached ({type(error).__name__})"

    def _one(self, exchange: str, ticker: str, now: float) -> Quote | Silent:
        """The last price, however the last question ended: its age says how much it is worth."""
        key = (exchange, ticker)
        if key not in self._said:
            return Silent(source=exchange, reason=self._why.get(key, "it was not asked yet"))
        price, at = self._said[key]
        return Quote(source=exchange, price=price, age_s=int(now - at))


async def _body(answer: aiohttp.ClientResponse) -> bytes:
    """Return the answer's bytes.  Raises BadAnswer for another status and for too many."""
    if answer.status == TOO_MANY:
        raise BadAnswer("it asks for fewer requests: raise references.every_s")
    if answer.status != OK:
        raise BadAnswer(f"it answered HTTP status {answer.status}")
    try:
        return await whole(answer, MOST_BYTES)
    except TooLong as error:
        raise BadAnswer(f"it answered {error}") from error
