"""``keeper oracles --history``: what a feed answered and an asset was worth, as the store has it.

No node is asked.  Rounds are those that were seen: of a feed that answers every block one a minute
is kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keeper.cli.output import amount, checksummed, emit, escape, table
from keeper.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console

    from keeper.settings import Chain, Settings
    from keeper.store.history import PricePoint, RoundPoint

BARS = "▁▂▃▄▅▆▇█"
WIDTH = 60
SHOWN = 20
MOST = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What the store has of one name."""

    name: str
    rounds: "tuple[RoundPoint, ...]"
    prices: "tuple[PricePoint, ...]"
    """Of the market's asset of that name."""
    market: str
    since: int
    """The time that was asked for, seconds since the epoch."""
    until: int


async def read_history(
    settings: "Settings", chains: "Sequence[Chain]", wanted: str, since_s: int
) -> tuple[Found, ...]:
    """Return what is kept of feeds and assets called `wanted`.  Raises ConfigError if nothing."""
    from keeper.store.database import Database
    from keeper.store.history import SqlHistory

    found: list[Found] = []
    there: set[str] = set()
    key = _key(wanted)
    async with await Database.open(settings.database.url) as database:
        history = SqlHistory(database)
        until = int(database.now())
        since = until - since_s
        for chain in chains:
            for feed, name in await history.feeds(chain.chain_id):
                there.add(name)
                if key in (_key(name), _key(feed)):
                    rounds = await history.rounds(chain.chain_id, feed, since=since, limit=MOST)
                    found.append(
                        Found(
                            name=name, rounds=rounds, prices=(), market=chain.name,
                            since=since, until=until,
                        )
                    )  # fmt: skip
            for market in chain.market_ids():
                for asset, symbol in await history.assets(market):
                    there.add(symbol)
                    if key in (_key(symbol), _key(asset)):
                        prices = await history.prices(market, asset=asset, since=since, limit=MOST)
                        found.append(
                            Found(
                                name=symbol, rounds=(), prices=prices, market=market.name,
                                since=since, until=until,
                            )
                        )  # fmt: skip
    if not found:
        known = ", ".join(sorted(there)) or "nothing yet: it is kept while `keeper run` runs"
        raise ConfigError(f"no history of {wanted[:60]!r} is kept: there is {known}")
    return tuple(found)


def show_history(found: tuple[Found, ...], *, as_json: bool, png: Path | None) -> None:
    """Print it, or write it as one document; draw it into `png`.  Raises ConfigError."""
    if png is not None:
        _draw(found, png)

    def render(out: "Console") -> None:
        for i, each in enumerate(found):
            if i:
                out.print()
            (_print_rounds if each.rounds or not each.prices else _print_prices)(out, each)
        if png is not None:
            out.print(escape(f"drawn into {png}"))

    emit({"history": [_document(each) for each in found]}, as_json=as_json, render=render)


def sparkline(values: Sequence[float | None], width: int = WIDTH) -> str:
    """Return `values` as bars, the last of each stretch; a blank where none was known."""
    if not values:
        return ""
    count = min(width, len(values))
    picked = [values[(i + 1) * len(values) // count - 1] for i in range(count)]
    known = [value for value in picked if value is not None]
    if not known:
        return " " * count
    low, high = min(known), max(known)
    step = (high - low) / (len(BARS) - 1) or 1.0
    return "".join(" " if v is None else BARS[round((v - low) / step)] for v in picked)


def _print_rounds(out: "Console", found: Found) -> None:
    points = found.rounds
    out.print(escape(f"{found.name} on {found.market}: {len(points)} rounds kept"))
    if not points:
        out.print("none in this time: say --since to look further back")
        return
    values = [None if p.answer is None else p.answer / 10**p.decimals for p in points]
    known = [value for value in values if value is not None]
    if known:
        out.print(f"{sparkline(values)}  {min(known):,.6g} to {max(known):,.6g}", markup=False)
    instants = sorted({p.updated_at for p in points if p.updated_at is not None})
    if len(instants) > 1:
        gaps = [b - a for a, b in pairwise(instants)]
        out.print(f"longest gap between answers {max(gaps):,} s", markup=False)
    changes = [
        p for before, p in zip((None, *points), points, strict=False)
        if before is None or before.cause != p.cause
    ]  # fmt: skip
    made = table("when (UTC)", "block", "answer", "verdict", right=("block", "answer"))
    for point in changes[-SHOWN:]:
        answer = "-" if point.answer is None else amount(point.answer, point.decimals, 6)
        made.add_row(
            _when(point.block_time), f"{point.block_number:,}", answer, escape(_said(point))
        )
    out.print(made)
    if len(changes) > SHOWN:
        out.print(f"{len(changes) - SHOWN} earlier changes of verdict are in --json", markup=False)


def _print_prices(out: "Console", found: Found) -> None:
    points = found.prices
    out.print(escape(f"{found.name} in {found.market}: {len(points)} points kept"))
    values = [None if p.price is None else p.price / 10**8 for p in points]
    known = [value for value in values if value is not None]
    if known:
        out.print(
            f"price       {sparkline(values)}  {min(known):,.6g} to {max(known):,.6g}", markup=False
        )
    apart = [p.difference_bps for p in points]
    told = [bps for bps in apart if bps is not None]
    if told:
        out.print(
            f"difference  {sparkline(apart)}  {min(told):+} to {max(told):+} bps", markup=False
        )
    made = table(
        "when (UTC)", "block", "price", "reference", "bps", "doubts",
        right=("block", "price", "reference", "bps"),
    )  # fmt: skip
    for point in points[-SHOWN:]:
        made.add_row(
            _when(point.block_time),
            f"{point.block_number:,}",
            "-" if point.price is None else amount(point.price, 8, 6),
            "-" if point.reference is None else amount(point.reference, 8, 6),
            "-" if point.difference_bps is None else f"{point.difference_bps:+}",
            escape(", ".join(point.causes) or "none"),
        )
    out.print(made)


def _said(point: "RoundPoint") -> str:
    return point.reason.removeprefix(f"{point.description}: ") or point.state


def _when(at: int) -> str:
    from datetime import UTC, datetime

    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S}"


def _key(text: str) -> str:
    return "".join(c for c in text.casefold() if c.isalnum())


def _draw(found: tuple[Found, ...], png: Path) -> None:
    from keeper.notify import charts, price_chart

    if not charts.available():
        raise ConfigError("--png needs matplotlib: pip install 'keeper[charts]'")
    lines = tuple(
        price_chart.Line(
            name=each.name,
            points=tuple(
                (p.block_time, None if p.answer is None else p.answer / 10**p.decimals)
                for p in each.rounds
            )
            or tuple(
                (p.block_time, None if p.price is None else p.price / 10**8) for p in each.prices
            ),
            others=tuple(
                (p.block_time, None if p.reference is None else p.reference / 10**8)
                for p in each.prices
            ),
            doubted=(
                *(p.block_time for p in each.rounds if p.reason),
                *(p.block_time for p in each.prices if p.reason),
            ),
        )
        for each in found
    )
    try:
        png.write_bytes(price_chart.draw_prices(lines, found[0].since, found[0].until))
    except OSError as error:
        raise ConfigError(f"{png} cannot be written ({error.strerror}): name another") from None


def _document(found: Found) -> dict[str, Any]:
    return {
        "name": found.name,
        "market": found.market,
        "rounds": [
            {
                "feed": checksummed(p.feed),
                "block": p.block_number,
                "timestamp": p.block_time,
                "round_id": None if p.round_id is None else str(p.round_id),
                "answer": None if p.answer is None else str(p.answer),
                "decimals": p.decimals,
                "updated_at": p.updated_at,
                "state": p.state,
                "cause": p.cause,
                "reason": p.reason,
            }
            for p in found.rounds
        ],
        "prices": [
            {
                "asset": p.asset,
                "block": p.block_number,
                "timestamp": p.block_time,
                "price_base": None if p.price is None else str(p.price),
                "reference_base": None if p.reference is None else str(p.reference),
                "difference_bps": p.difference_bps,
                "sources": p.sources,
                "causes": list(p.causes),
                "reason": p.reason,
            }
            for p in found.prices
        ],
    }
