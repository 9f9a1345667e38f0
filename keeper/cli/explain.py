"""``keeper explain``: one account's arithmetic line by line, or the whole story of one intent."""

import re
from typing import TYPE_CHECKING, Annotated, Any

import typer

from keeper.cli.asking import MarketOption, account, asking, caution, chains_with, until_done
from keeper.cli.output import (
    age,
    block_line,
    checksummed,
    emit,
    escape,
    health,
    json_ready,
    token,
    usd,
)
from keeper.cli.watch import labelled
from keeper.errors import ConfigError, ExecutionError

if TYPE_CHECKING:
    from rich.console import Console

    from keeper.app.chain import OpenChain
    from keeper.app.explain import Explained
    from keeper.cli.context import Invocation
    from keeper.settings import Settings
    from keeper.store.actions import Action
    from keeper.store.audit import Audited

INTENT = re.compile(r"[0-9a-f]{16}")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("explain")(explain)


def explain(
    context: typer.Context,
    what: Annotated[
        str,
        typer.Argument(
            help="An account's address or label, or an intent's id.", metavar="ADDRESS|LABEL|INTENT"
        ),
    ],
    market: MarketOption = None,
) -> None:
    """Say why: an account's health, or an intent's story.

    Line by line, what would move it, and whether the Pool agrees to the wei: exit code 1 where the
    Pool answers anything else than our arithmetic.
    """
    invocation, settings = asking(context)
    if INTENT.fullmatch(what.strip().lower()):
        _story(invocation, settings, what.strip().lower())
        return
    hexadecimal = what.strip().lower().startswith("0x")
    address = account(what) if hexadecimal else labelled(settings, what)
    if address is None:
        raise ConfigError(
            f"{what} is neither an account (0x and 40 hex digits), nor an intent's id (16 hex "
            "digits, see `keeper actions`), nor a label (see `keeper watches`)"
        )
    found = until_done(_explained(invocation, settings, address, market))
    there = [each for _, each in found if each.has_position]

    def render(out: "Console") -> None:
        for i, (name, each) in enumerate(found):
            if each.has_position or len(found) == 1:
                if i:
                    out.print()
                _print(out, name, each)
        if not there:
            searched = ", ".join(each.market.name for _, each in found)
            out.print(f"{checksummed(address)} has no position in {searched}.", markup=False)

    document = {
        "address": address,
        "positions": [_entry(each) for _, each in found if each.has_position],
    }
    emit(json_ready(document), as_json=invocation.as_json, render=render)
    wrong = [each.market.name for each in there if not each.agrees]
    if wrong:
        raise ExecutionError(
            f"the Pool does not agree with our arithmetic in {', '.join(wrong)}: do not act on it, "
            "and report the block and the account"
        )


async def _explained(
    invocation: "Invocation", settings: "Settings", address: Any, market: str | None
) -> "list[tuple[str, Explained]]":
    from keeper.app.chain import open_chain
    from keeper.app.explain import explain_account

    def wanted(chain: "OpenChain") -> list[Any]:
        return list(chain.markets.values()) if market is None else [chain.market(market)]

    found: list[tuple[str, Explained]] = []
    for config in chains_with(invocation, settings, market):
        async with open_chain(settings, config) as chain:
            caution(config.name, chain.unfit)
            found += [
                (config.name, await explain_account(chain, each, address)) for each in wanted(chain)
            ]
    return found


def _print(out: "Console", chain: str, found: "Explained") -> None:
    import time

    from keeper.model import Assessed

    def say(text: str = "") -> None:
        out.print(escape(text))

    age_s = max(0, int(time.time()) - found.block.timestamp)
    say(block_line(chain, found.block.number, age_s))
    assessed = found.assessment
    if isinstance(assessed, Assessed):
        say(
            f"{checksummed(found.account)}  health {health(assessed.health_factor)}, "
            f"collateral {usd(assessed.collateral)}, debt {usd(assessed.debt)}"
        )
    else:
        say(f"{checksummed(found.account)}  health unknown: {assessed.reason}")
    say()
    for line in found.lines:
        say(f"  {line}")
    if found.prices:
        say()
        for price in found.prices:
            ages = [feed.age_s for feed in price.feeds if feed.age_s is not None]
            old = f", {age(max(ages))} old" if ages else ""
            state = price.reason or "usable"
            say(f"price of {price.asset.symbol} {_price(price.price)}{old}: {state}")
    points = _points(found)
    if points:
        say()
    for line in points:
        say(line)
    if found.remedies is not None:
        say()
        ways = [
            f"{'repay' if way.kind == 'repay' else 'supply'} "
            f"{_up(way.amount, way.asset.decimals, way.asset.symbol)}"
            for way in found.remedies.options
        ]
        say(f"to reach {health(found.remedies.target)}: {', or '.join(ways)}")
    say()
    for line in _agreement(found):
        say(line)


def _up(amount: int, decimals: int, symbol: str) -> str:
    """Return an amount that is needed: rounded up, so that what is read is enough."""
    from keeper.units import Raw

    places = min(decimals, 2 if amount >= 10**decimals else 6)
    unit = 10 ** (decimals - places)
    return token(Raw(-(-amount // unit) * unit), decimals, symbol)


def _price(price: int | None) -> str:
    from keeper.cli.output import amount

    if price is None:
        return "-"
    return amount(price, 8, 2 if price >= 100 * 10**8 else 6)


def _point(what: str, now: int, price: int | None, *, above: bool = False) -> str:
    if price is None:
        return f"liquidation price of {what}: none, its price alone does not lead to 1"
    apart = abs(price - now) * 1000 // now if now else 0  # floored: never further than it is
    by = f"{'-' if price < now else '+'}{apart // 10}.{apart % 10} %"
    said = f"{_price(price)} ({by} from {_price(now)})"
    if above:
        return f"liquidation price of {what}: above {said}: more is owed of it than it counts"
    return f"liquidation price of {what}: {said}"


def price_lines(found: "Explained") -> list[str]:
    """At which price it comes to 1: of a feed that moves several assets, and of each asset."""
    lines = []
    together = set()
    for feed in found.shared_feeds:
        together |= {asset.address for asset in feed.assets}
        *others, last = (asset.symbol for asset in feed.assets)
        what = f"{feed.name}, which moves {', '.join(others)} and {last}"
        lines.append(_point(what, feed.now, None if feed.point is None else feed.point.price))
    for point in found.liquidation_prices:
        asset = point.leg.asset
        alone = " alone, all else unmoved" if asset.address in together else ""
        what = f"{asset.symbol}{alone}"
        lines.append(_point(what, point.leg.price, point.price, above=point.above))
    return lines


def _points(found: "Explained") -> list[str]:
    """At which prices, and when by interest alone, it comes to 1; nothing of what is unknown."""
    from keeper.alerts.numbers import duration_text
    from keeper.units import WAD

    lines = price_lines(found)
    if found.price_factor:
        # a fall is floored and a rise that is needed rounded up: towards the worse
        permille = -(-found.price_factor * 1_000 // WAD) - 1_000
        sign = "-" if permille < 0 else "+"
        by = f"{sign}{abs(permille) // 10}.{abs(permille) % 10} %"
        with_it = ", what is owed of it too as far as it is held" if _owes_collateral(found) else ""
        lines.append(f"all collateral together{with_it}: health 1 at {by}")
    seconds = found.seconds_to_liquidation
    if seconds:
        lines.append(f"by interest alone, at today's rates and prices: in {duration_text(seconds)}")
    elif seconds is None and found.liquidation_prices:
        lines.append("by interest alone, at today's rates and prices: not within ten years")
    return lines


def _owes_collateral(found: "Explained") -> bool:
    from keeper.model import Assessed, Side

    if not isinstance(found.assessment, Assessed):
        return False
    held, owed = (
        {leg.reserve for leg in found.assessment.legs if leg.side is side}
        for side in (Side.COLLATERAL, Side.DEBT)
    )
    return not held.isdisjoint(owed)


def _agreement(found: "Explained") -> list[str]:
    from keeper.units import UINT256_MAX

    ours, pool = found.ours, found.pool
    if ours is None:
        return ["the Pool's getUserAccountData cannot be compared: ours cannot be computed"]
    said = [f"Pool.getUserAccountData at the same block, {found.block.hash}:"]
    for name, mine, its in (
        ("health factor", ours.health_factor, pool.health_factor),
        ("collateral", ours.collateral, pool.collateral),
        ("debt", ours.debt, pool.debt),
    ):
        shown = "2^256-1" if its == UINT256_MAX else str(its)
        mark = "equal" if mine == its else f"DIFFERENT, ours is {mine}"
        said.append(f"  {name:<13}  {shown:>24}  {mark}")
    said.append("the Pool agrees to the wei" if found.agrees else "the Pool does NOT agree")
    return said


def _entry(found: "Explained") -> dict[str, Any]:
    from keeper.app.explain import health_of
    from keeper.model import Unassessable

    assessed, ways = found.assessment, found.remedies
    value = health_of(found)
    return {
        "market": found.market.name,
        "chain_id": found.market.chain_id,
        "block": found.block.number,
        "hash": found.block.hash,
        "address": found.account,
        "health_factor_wad": None if value is None else str(value),
        "reason": assessed.reason if isinstance(assessed, Unassessable) else "",
        "lines": list(found.lines),
        "liquidation_prices": [
            {
                "asset": point.leg.asset.address,
                "symbol": point.leg.asset.symbol,
                "price_base": str(point.leg.price),
                "liquidation_price_base": None if point.price is None else str(point.price),
                "liquidated_above": point.above,
            }
            for point in found.liquidation_prices
        ],
        "shared_feeds": [
            {
                "name": feed.name,
                "assets": [asset.address for asset in feed.assets],
                "price_base": str(feed.now),
                "liquidation_price_base": None if feed.point is None else str(feed.point.price),
                "liquidated_above": None if feed.point is None else feed.point.rises,
            }
            for feed in found.shared_feeds
        ],
        "price_factor_wad": None if found.price_factor is None else str(found.price_factor),
        "seconds_to_liquidation": found.seconds_to_liquidation,
        "remedies": [
            {
                "kind": str(way.kind),
                "asset": way.asset.address,
                "symbol": way.asset.symbol,
                "amount_raw": str(way.amount),
                "target_wad": str(ways.target),
            }
            for way in ways.options
        ]
        if ways
        else [],
        "pool": {
            "health_factor_wad": str(found.pool.health_factor),
            "collateral_base": str(found.pool.collateral),
            "debt_base": str(found.pool.debt),
        },
        "agrees": found.agrees,
    }


# --- the story of an intent -------------------------------------------------------------------


def _story(invocation: "Invocation", settings: "Settings", intent_id: str) -> None:
    from keeper.cli.actions import document, told

    actions, trail = until_done(_of_intent(settings, intent_id))
    if not actions:
        raise ConfigError(
            f"no intent {intent_id} is in {_where(settings)}: `keeper actions` lists the last ones"
        )

    def render(out: "Console") -> None:
        for action in actions:
            for line in told(action):
                out.print(escape(line))
        if trail:
            out.print()
            out.print("audit trail", markup=False)
        for row in trail:
            fields = "  ".join(
                f"{name}={value}"
                for name, value in row.event.fields.items()
                if name not in {"intent", "position", "chain", "signer"} and value is not None
            )
            out.print(escape(f"  {_instant(row.at_ms // 1000)}  {row.event.event:<16}  {fields}"))

    entries = [
        {
            "seq": row.seq,
            "at_ms": row.at_ms,
            "event": row.event.event,
            "fields": {name: _plain(value) for name, value in row.event.fields.items()},
        }
        for row in trail
    ]
    emit(
        json_ready({"intent": [document(action) for action in actions], "audit": entries}),
        as_json=invocation.as_json,
        render=render,
    )


def _plain(value: object) -> object:
    return value if value is None or isinstance(value, str | int) else str(value)


def _where(settings: "Settings") -> str:
    from keeper.store.location import location

    return location(settings.database.url).shown


def _instant(seconds: int) -> str:
    from datetime import UTC, datetime

    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}Z"


async def _of_intent(
    settings: "Settings", intent_id: str
) -> "tuple[tuple[Action, ...], list[Audited]]":
    from keeper.store.actions import SqlActions
    from keeper.store.audit import trail
    from keeper.store.database import Database

    async with await Database.open(settings.database.url) as database:
        actions = await SqlActions(database).find(intent_id)
        rows = await trail(database, AUDIT_ROWS) if actions else ()
    return actions, [row for row in reversed(rows) if row.event.fields.get("intent") == intent_id]


AUDIT_ROWS = 100_000
"""How far back the trail is looked through."""
