"""Public tickers of exchanges: where they are, and what their answers mean.  No account, no key.

Source: the exchanges' own documentation: Coinbase Exchange ``/products/{id}/ticker``, Kraken
``/0/public/Ticker``, Bitstamp ``/api/v2/ticker/{pair}/``.  All quote in US dollars.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from keeper.errors import BadAnswer
from keeper.oracles.abi import clean
from keeper.units import Base

HIGHEST: Final = Decimal(10**15)
"""Dollars: more is no price of anything."""

TICKERS: Final[Mapping[str, str]] = {
    "WETH": "ETH",
    "WBTC": "BTC",
    "cbBTC": "BTC",
    "tBTC": "BTC",
    "USDC": "USDC",
    "USDT": "USDT",
    "DAI": "DAI",
    "LINK": "LINK",
    "AAVE": "AAVE",
    "UNI": "UNI",
    "CRV": "CRV",
    "MKR": "MKR",
    "LDO": "LDO",
    "ARB": "ARB",
    "OP": "OP",
    "WAVAX": "AVAX",
    "WPOL": "POL",
}
"""What exchanges call what a market lists, by symbol; others only as the configuration says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One exchange."""

    name: str
    host: str
    """``https://...`` without a path."""
    path: Callable[[str], str]
    """From a ticker such as ``ETH``."""
    last: Callable[[Any, str], object]
    """The last price in its answer about a ticker; may raise whatever nonsense makes it raise."""


KRAKEN_NAMES: Final = {"BTC": "XBT"}


def _kraken_last(answer: Any, ticker: str) -> object:
    """Kraken alone says which pair it speaks of, under its older name or its newer."""
    ((pair, said),) = answer["result"].items()
    name = KRAKEN_NAMES.get(ticker, ticker)
    if pair not in (f"{name}USD", f"{name}ZUSD", f"X{name}ZUSD"):
        raise BadAnswer(f"it answered about the pair {clean(str(pair), 24)}, not {name}USD")
    return said["c"][0]


EXCHANGES: Final[Mapping[str, Exchange]] = {
    "coinbase": Exchange(
        name="coinbase",
        host="https://api.exchange.coinbase.com",
        path=lambda ticker: f"/products/{ticker}-USD/ticker",
        last=lambda answer, _: answer["price"],
    ),
    "kraken": Exchange(
        name="kraken",
        host="https://api.kraken.com",
        path=lambda ticker: f"/0/public/Ticker?pair={KRAKEN_NAMES.get(ticker, ticker)}USD",
        last=_kraken_last,
    ),
    "bitstamp": Exchange(
        name="bitstamp",
        host="https://www.bitstamp.net",
        path=lambda ticker: f"/api/v2/ticker/{ticker.lower()}usd/",
        last=lambda answer, _: answer["last"],
    ),
}


def price_in(exchange: Exchange, body: bytes, ticker: str) -> Base:
    """Return the last price in an answer about `ticker`, base units (8 decimals of dollars),
    floored.

    Raises BadAnswer for anything that is no price, and for that of another pair where the exchange
    names it.
    """
    try:
        said = exchange.last(json.loads(body), ticker)
        price = Decimal(said) if isinstance(said, str) else Decimal(repr(said))
    except (ValueError, LookupError, TypeError, AttributeError, InvalidOperation):
        raise BadAnswer("it answered something that is no ticker") from None
    except RecursionError:
        raise BadAnswer("it answered something nested without end") from None
    if not price.is_finite() or not 0 < price < HIGHEST:
        raise BadAnswer("it answered a number that is no price")
    return Base(int(price * 10**8))
