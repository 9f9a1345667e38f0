"""``keeper positions``: everybody's health factor at the head, the worst first."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from keeper.cli.asking import MarketOption, asking, caution, chains_with, health_factor, until_done
from keeper.cli.coverage import shown_progress
from keeper.cli.output import (
    age,
    block_line,
    checksummed,
    emit,
    health,
    print_rows,
    short,
    usd,
)

if TYPE_CHECKING:
    from rich.console import Console

    from keeper.app.survey import Standing, Survey
    from keeper.units import Wad

SHOWN = 40
COLUMNS = ("position", "health", "collateral", "debt", "price age", "decision")
WIDE = 130
"""Columns of a terminal from which addresses are shown whole."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("positions")(positions)


def positions(
    context: typer.Context,
    below: Annotated[
        str | None,
        typer.Option(help="Only health factors below this, and unknown ones.", metavar="1.1"),
    ] = None,
    market: MarketOption = None,
    everyone: Annotated[  # noqa: FBT002 - typer's way
        bool, typer.Option("--all", help="Print all of them, those without debt too.")
    ] = False,
) -> None:
    """Every position's exact health factor, the worst first."""
    from keeper.app.survey import survey
    from keeper.store.database import Database

    invocation, settings = asking(context)
    limit = None if below is None else health_factor("--below", below)
    chains = chains_with(invocation, settings, market)
    if invocation.as_json and len(chains) > 1:
        chains = (invocation.one_chain(settings),)

    async def look() -> "list[Survey]":
        async with await Database.open(settings.database.url) as database:
            with shown_progress() as told:
                return [
                    await survey(settings, chain, database, market=market, on_progress=told)
                    for chain in chains
                ]

    found = until_done(look())
    for each in found:
        caution(each.chain.name, each.unfit)
    document = _document(found[0], limit) if invocation.as_json else None

    def render(out: "Console") -> None:
        for i, each in enumerate(found):
            if i:
                out.print()
            print_survey(out, each, limit, everyone=everyone)

    emit(document, as_json=invocation.as_json, render=render)


def _wanted(standing: "Standing", limit: "Wad | None") -> bool:
    """An unknown health is never above any limit."""
    value = _health(standing)
    return limit is None or value is None or value < limit


def _health(standing: "Standing") -> "Wad | None":
    from keeper.model import Assessed

    found = standing.assessment
    return found.health_factor if isinstance(found, Assessed) else None


def _document(found: "Survey", limit: "Wad | None") -> dict[str, Any]:
    return {
        "chain_id": found.chain.chain_id,
        "block": found.block.number,
        "hash": found.block.hash,
        "timestamp": found.block.timestamp,
        "armed": found.armed,
        "positions": [_entry(s) for s in found.standings if _wanted(s, limit)],
    }


def _entry(standing: "Standing") -> dict[str, Any]:
    from keeper.alerts.machine import level_word
    from keeper.model import Assessed

    found = standing.assessment
    known = found if isinstance(found, Assessed) else None
    return {
        "market": found.position.market.name,
        "address": found.position.account,
        "label": standing.label,
        "health_factor_wad": str(known.health_factor) if known else None,
        "collateral_base": str(known.collateral) if known else None,
        "debt_base": str(known.debt) if known else None,
        "price_age_s": standing.age_s,
        "level": None if standing.level is None else level_word(standing.level, _health(standing)),
        "verdict": standing.verdict,
        "reason": standing.reason,
    }


def print_survey(out: "Console", found: "Survey", limit: "Wad | None", *, everyone: bool) -> None:
    """Print one chain's positions; a terminal gets the first `SHOWN`, a file or a pipe all."""
    import time

    from keeper.units import UINT256_MAX

    armed = "armed" if found.armed else "watch-only"
    age_s = max(0, int(time.time()) - found.block.timestamp)
    out.print(f"{block_line(found.chain.name, found.block.number, age_s)}, {armed}", markup=False)
    wanted = [s for s in found.standings if _wanted(s, limit)]
    if not everyone:
        wanted = [s for s in wanted if s.label or _health(s) != UINT256_MAX]
    shown = wanted if everyone or not out.is_terminal else wanted[:SHOWN]
    if shown:
        _table(out, shown)
    without = len(found.standings) - len(wanted)
    known = [value for s in found.standings if (value := _health(s)) is not None]
    summary = [f"{len(found.standings):,} positions"]
    summary += [f"{count:,} below 1"] if (count := sum(v < 10**18 for v in known)) else []
    summary += [f"{count:,} unknown"] if (count := len(found.standings) - len(known)) else []
    if len(shown) < len(wanted):
        summary.append(f"{len(wanted) - len(shown):,} healthier ones not shown: --all")
    if without and limit is not None:
        summary.append(f"{without:,} not below {_plain(limit)}")
    elif without:
        summary.append(f"{without:,} without debt not shown: --all")
    out.print("; ".join(summary), markup=False)


def _plain(limit: "Wad") -> str:
    from keeper.settings.values import decimal_text

    return decimal_text(limit, 18)


def _table(out: "Console", shown: "list[Standing]") -> None:
    from keeper.model import Assessed

    markets = {s.assessment.position.market.name for s in shown}
    whole = not out.is_terminal or out.width >= WIDE
    rows, narrow = [], []
    for standing in shown:
        found = standing.assessment
        address = checksummed(found.position.account)
        account = address if whole else short(address)
        known = found if isinstance(found, Assessed) else None
        in_market = found.position.market.name if len(markets) > 1 else ""
        value = health(_health(standing))
        collateral, debt = (usd(known.collateral), usd(known.debt)) if known else ("-", "-")
        old, decision = age(standing.age_s), _decision(standing)
        rows.append(
            (
                "  ".join(filter(None, (in_market, account, standing.label))),
                *(value, collateral, debt, old, decision),
            )
        )
        worth = (f"holds {collateral}", f"owes {debt}", f"price {old} old") if known else ()
        narrow.append((f"{value}  {account}", standing.label, in_market, decision, *worth))
    print_rows(out, COLUMNS, rows, right=COLUMNS[1:-1], narrow=narrow)


def _decision(standing: "Standing") -> str:
    from keeper.alerts.machine import level_word
    from keeper.app.survey import deed
    from keeper.model import Act, AlertLevel, Refuse

    match standing.decision:
        case Act(intent=intent):
            return deed(intent)
        case Refuse(reason=reason):
            return f"refuse: {reason}"
    if standing.level is None:
        return standing.reason
    if standing.level is AlertLevel.CLEAR:
        return ""
    return level_word(standing.level, _health(standing))
