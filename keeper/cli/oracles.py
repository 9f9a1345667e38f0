"""``keeper oracles``: each price, where it comes from, what others say, and what is held for it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from keeper.cli.asking import MarketOption, asking, caution, chains_with, until_done
from keeper.cli.output import age, amount, block_line, emit, escape, print_rows
from keeper.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from keeper.engine.market import Reading
    from keeper.model import FeedVerdict, PriceVerdict

COLUMNS = ("asset", "price", "reference", "difference", "feed", "age / heartbeat", "verdict")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("oracles")(oracles)


def oracles(
    context: typer.Context,
    market: MarketOption = None,
    history: Annotated[
        str | None,
        typer.Option(
            help="What is kept of one feed or asset instead; no node is asked.", metavar="ETH/USD"
        ),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(help="With --history: how far back; 7d when left out.", metavar="7d"),
    ] = None,
    png: Annotated[
        Path | None, typer.Option(help="With --history: draw it into this file.", metavar="FILE")
    ] = None,
) -> None:
    """Each price: feeds, ages, reference, verdict."""
    if history is not None:
        _history(context, market, history, (since or "7d", png))
        return
    for option, given in (("--since", since), ("--png", png)):
        if given is not None:
            raise ConfigError(
                f"{option} is for --history: add --history ETH/USD, or whichever feed or asset "
                "it is"
            )
    from keeper.app.chain import open_chain, outside
    from keeper.app.look import read_accounts

    invocation, settings = asking(context)

    async def look() -> "list[tuple[str, Reading]]":
        found: list[tuple[str, Reading]] = []
        for config in chains_with(invocation, settings, market):
            async with open_chain(settings, config) as chain:
                caution(config.name, chain.unfit)
                if (board := outside(settings, chain)) is not None:
                    await board.ask_once()
                wanted = chain.markets.values() if market is None else [chain.market(market)]
                found += [(config.name, await read_accounts(chain, each, ())) for each in wanted]
        return found

    found = until_done(look())

    def render(out: "Console") -> None:
        for i, (name, reading) in enumerate(found):
            if i:
                out.print()
            _print(out, name, reading)

    document = {"markets": [_document(reading) for _, reading in found]}
    emit(document, as_json=invocation.as_json, render=render)


def _history(
    context: typer.Context, market: str | None, wanted: str, options: "tuple[str, Path | None]"
) -> None:
    from keeper.cli.oracle_history import read_history, show_history
    from keeper.notify.words import BadWord, parse_duration

    invocation, settings = asking(context)
    try:
        since_s = parse_duration(options[0], most_s=400 * 86_400)
    except BadWord as error:
        raise ConfigError(f"--since: {error}") from None
    chains = chains_with(invocation, settings, market)
    found = until_done(read_history(settings, chains, wanted, since_s))
    show_history(found, as_json=invocation.as_json, png=options[1])


def _print(out: "Console", chain: str, reading: "Reading") -> None:
    import time

    age_s = max(0, int(time.time()) - reading.block.timestamp)
    head = block_line(chain, reading.block.number, age_s)
    out.print(f"{head}, {reading.view.market.name}", markup=False)
    print_prices(out, reading.prices)
    out.print()
    for price in reading.prices:
        out.print(escape(f"{price.asset.symbol}: {' > '.join(price.source.path) or 'no path'}"))
        if price.source.untraced:
            out.print(escape(f"  not traced: {price.source.untraced}"))
        for line in _asides(price):
            out.print(escape(f"  {line}"))
    bad = sum(not price.usable for price in reading.prices)
    if bad:
        out.print(f"{bad} of {len(reading.prices)} prices may not be relied upon", markup=False)
    held = sum(bool(price.hold_liquidations) for price in reading.prices)
    if held:
        out.print(f"liquidations are held on {held} of {len(reading.prices)} prices", markup=False)


def print_prices(out: "Console", prices: "Sequence[PriceVerdict]") -> None:
    """Print a row for each feed of each price."""
    rows, narrow = [], []
    for price in prices:
        known = (_dollars(price.price), _reference(price), _difference(price))
        named = zip(("", "reference ", "difference "), known, strict=True)
        lines = [price.asset.symbol]
        lines += [f"{name}{said}" for name, said in named if said != "-" or not name]
        for number, feed in enumerate(price.feeds or (None,)):
            about = ("-", "-") if feed is None else (feed.feed.description, _age(feed))
            verdict = _verdict(price, feed)
            first = (price.asset.symbol, *known) if number == 0 else ("", "", "", "")
            rows.append((*first, *about, verdict))
            lines += [": ".join(about) if feed is not None else "", verdict]
        narrow.append(tuple(lines))
    right = ("price", "reference", "difference", "age / heartbeat")
    print_rows(out, COLUMNS, rows, right=right, narrow=narrow)


def _dollars(price: int | None) -> str:
    if price is None:
        return "-"
    return amount(price, 8, 2 if price >= 100 * 10**8 else 6)


def _reference(price: "PriceVerdict") -> str:
    if price.reference is None:
        return "-"
    return "none" if price.reference.price is None else _dollars(price.reference.price)


def _difference(price: "PriceVerdict") -> str:
    bps = price.difference_bps
    return "-" if bps is None else f"{bps / 100:+.2f} %"


def _asides(price: "PriceVerdict") -> "list[str]":
    """What stands under a price's path: who the reference is made of, caps, and all doubts."""
    lines = []
    if price.reference is not None:
        if price.reference.quotes:
            said = (f"{q.source} {_dollars(q.price)}" for q in price.reference.quotes)
            lines.append(f"reference: {', '.join(said)}")
        if price.reference.reason:
            lines.append(f"no reference: {price.reference.reason}")
        lines += [f"silent: {one.source}, {one.reason}" for one in price.reference.silent]
    for cap in price.caps:
        if cap.headroom_bps is not None:
            lines.append(f"cap: {cap.headroom_bps / 100:+.2f} % of room")
    lines += [
        f"heartbeat of {feed.feed.description} learned from its rounds: "
        f"{age(feed.feed.heartbeat_s)}, {feed.feed.heartbeat_learned}"
        for feed in price.feeds
        if feed.feed.heartbeat_learned
    ]
    lines += [f"{s.cause} ({s.stance}): {s.reason}" for s in price.suspicions]
    return lines


def _age(feed: "FeedVerdict") -> str:
    assumed = " assumed" if feed.feed.heartbeat_assumed else ""
    assumed = " learned" if feed.feed.heartbeat_learned else assumed
    return f"{age(feed.age_s)} / {age(feed.feed.heartbeat_s)}{assumed}"


def _verdict(price: "PriceVerdict", feed: "FeedVerdict | None") -> str:
    if feed is not None and not feed.usable:
        return feed.reason.removeprefix(f"{feed.feed.description}: ") or str(feed.state)
    if feed is None or price.feeds[0] is feed:
        own = {f.reason for f in price.feeds}
        if price.reason and price.reason not in own:
            return price.reason
        other = next((s for s in price.suspicions if s.reason not in own), None)
        if other is not None:
            return f"doubted, {other.reason}"
    return "usable" if feed is not None else ("fixed price, usable" if price.usable else "")


def _document(reading: "Reading") -> dict[str, Any]:
    return {
        "market": reading.view.market.name,
        "chain_id": reading.view.market.chain_id,
        "block": reading.block.number,
        "hash": reading.block.hash,
        "prices": [
            {
                "asset": price.asset.address,
                "symbol": price.asset.symbol,
                "price_base": None if price.price is None else str(price.price),
                "usable": price.usable,
                "reason": price.reason,
                "source": price.source.address,
                "path": list(price.source.path),
                "untraced": price.source.untraced,
                "reference": None
                if price.reference is None
                else {
                    "price_base": None
                    if price.reference.price is None
                    else str(price.reference.price),
                    "reason": price.reference.reason,
                    "quotes": [
                        {
                            "source": quote.source,
                            "price_base": str(quote.price),
                            "age_s": quote.age_s,
                            "depth_base": None if quote.depth is None else str(quote.depth),
                        }
                        for quote in price.reference.quotes
                    ],
                    "silent": [
                        {"source": one.source, "reason": one.reason}
                        for one in price.reference.silent
                    ],
                },
                "difference_bps": price.difference_bps,
                "doubts": [
                    {"cause": str(s.cause), "stance": str(s.stance), "reason": s.reason}
                    for s in price.suspicions
                ],
                "liquidations_held": price.hold_liquidations,
                "caps": [
                    {"capped": cap.capped, "headroom_bps": cap.headroom_bps} for cap in price.caps
                ],
                "feeds": [
                    {
                        "address": feed.feed.address,
                        "description": feed.feed.description,
                        "state": str(feed.state),
                        "answer": None if feed.answer is None else str(feed.answer),
                        "age_s": feed.age_s,
                        "heartbeat_s": feed.feed.heartbeat_s,
                        "heartbeat_assumed": feed.feed.heartbeat_assumed,
                        "heartbeat_learned": feed.feed.heartbeat_learned,
                        "reason": feed.reason,
                    }
                    for feed in price.feeds
                ],
            }
            for price in reading.prices
        ],
    }
