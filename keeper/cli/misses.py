"""``keeper misses``: every liquidation on chain, whose it was, and why it was not ours."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from keeper.cli.actions import instant
from keeper.cli.asking import asking, until_done
from keeper.cli.output import (
    checksummed,
    emit,
    escape,
    json_ready,
    short,
    token,
    usd,
)
from keeper.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console

    from keeper.model import Reckoned
    from keeper.store.liquidations import Tally

DAY_S = 86_400


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("misses")(misses)


def misses(
    context: typer.Context,
    limit: Annotated[int, typer.Option(help="How many, the newest first.", min=1, max=10_000)] = 20,
    days: Annotated[
        float | None, typer.Option(help="Only the last days.", metavar="DAYS", min=0.0)
    ] = None,
    ours: Annotated[  # noqa: FBT002 - a flag of the command line
        bool, typer.Option("--ours", help="Show the keeper's own liquidations too.")
    ] = False,
) -> None:
    """Liquidations that others took, and why.

    In the watched markets, and why the keeper did not.
    They are recorded while `keeper run` watches; what happened while it was stopped is read from
    the chain after the next start.
    """
    import time

    from keeper.store.database import Database
    from keeper.store.liquidations import SqlLiquidations

    invocation, settings = asking(context)
    if days is not None and days * DAY_S >= time.time():
        raise ConfigError(f"--days {days:g} is longer than there are chains: leave it out.")
    since = 0 if days is None else int(time.time() - days * DAY_S)

    async def look() -> "tuple[tuple[Reckoned, ...], Tally]":
        async with await Database.open(settings.database.url) as database:
            rows = SqlLiquidations(database)
            found = await rows.last(limit, since=since, others_only=not ours)
            return found, await rows.tally(since=since)

    found, tally = until_done(look())

    def render(out: "Console") -> None:
        for line in _summary(tally):
            out.print(escape(line))
        for one in found:
            out.print()
            for line in told(one):
                out.print(escape(line))

    document_ = {
        "counts": {str(taken): count for taken, count in tally.counts},
        "profit_of_others_base": str(tally.profit_of_others),
        "liquidations": [document(one) for one in found],
    }
    emit(json_ready(document_), as_json=invocation.as_json, render=render)


def _summary(tally: "Tally") -> list[str]:
    if not tally.counts:
        return ["No liquidation was seen in the watched markets yet."]
    counts = dict(tally.counts)
    ours = sum(n for taken, n in counts.items() if taken == "ours")
    theirs = sum(counts.values()) - ours
    why = ", ".join(
        f"{n} {str(taken).replace('_', ' ')}" for taken, n in tally.counts if taken != "ours"
    )
    lines = [f"{ours + theirs} liquidations: {ours} ours, {theirs} by others"]
    if theirs:
        lines[0] += f" ({why})"
        lines.append(
            f"the others took {usd(tally.profit_of_others)} at oracle prices, before gas and sale"
        )
    return lines


def told(one: "Reckoned") -> list[str]:
    """Return one liquidation in full, a line for each fact."""
    heard = one.liquidated
    covered = token(heard.covered, heard.debt.decimals, heard.debt.symbol)
    seized = token(heard.seized, heard.collateral.decimals, heard.collateral.symbol)
    when, whose = instant(heard.block.timestamp), str(one.taken).replace("_", " ")
    account = short(checksummed(heard.position.account))
    profit = "unknown" if one.profit is None else usd(one.profit)
    lines = [
        f"{when}  block {heard.block.number:,}  {whose}: {one.reason}",
        f"    {heard.position.market.name} {account} by {checksummed(heard.liquidator)}",
        f"    repaid {covered}, took {seized}, profit {profit} before gas",
        f"    possible {_possible(one)}, {_seen(one)}",
    ]
    if one.intent_id is not None:
        expected = "" if one.expected is None else f", expected profit {usd(one.expected)}"
        lines.append(f"    our intent {one.intent_id}{expected}")
    return lines


def _possible(one: "Reckoned") -> str:
    after, by = one.possible_after, one.possible_by
    if after is None:
        return f"by block {by:,}"
    if after + 1 >= by:
        return f"from block {by:,}"
    return f"from a block between {after + 1:,} and {by:,}"


def _seen(one: "Reckoned") -> str:
    if one.seen_block is None:
        return "not seen before it was taken"
    waited = one.liquidated.block.number - one.seen_block
    return f"seen at block {one.seen_block:,}, taken {waited} block{'s' * (waited != 1)} later"


def document(one: "Reckoned") -> dict[str, Any]:
    """Return one liquidation for ``--json``."""
    heard = one.liquidated
    return {
        "taken": str(one.taken),
        "reason": one.reason,
        "chain_id": heard.position.market.chain_id,
        "market": heard.position.market.name,
        "address": heard.position.account,
        "liquidator": heard.liquidator,
        "block": heard.block.number,
        "hash": heard.block.hash,
        "timestamp": heard.block.timestamp,
        "log_index": heard.log_index,
        "debt": heard.debt.address,
        "debt_symbol": heard.debt.symbol,
        "covered_raw": str(heard.covered),
        "collateral": heard.collateral.address,
        "collateral_symbol": heard.collateral.symbol,
        "seized_raw": str(heard.seized),
        "profit_base": None if one.profit is None else str(one.profit),
        "possible_after_block": one.possible_after,
        "possible_by_block": one.possible_by,
        "seen_block": one.seen_block,
        "intent": one.intent_id,
        "expected_profit_base": None if one.expected is None else str(one.expected),
    }
