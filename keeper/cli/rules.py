"""``keeper rules``: what is told besides health factors, how it reads now, and what is wrong."""

from typing import TYPE_CHECKING, Any

import typer

from keeper.cli.asking import asking, until_done
from keeper.cli.output import emit, escape, table

if TYPE_CHECKING:
    from rich.console import Console

    from keeper.app.rules import Standing


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("rules")(rules)


def rules(context: typer.Context) -> None:
    """Every rule, its reading, and whether it would fire.

    Wrong ones with the remedy.
    """
    from keeper.app.rules import standings, written
    from keeper.store.database import Database

    invocation, settings = asking(context)
    chains = invocation.chains(settings)

    async def look() -> "tuple[Standing, ...]":
        async with await Database.open(settings.database.url) as database:
            there = await written(settings, database)
        return await standings(settings, chains, there)

    found = until_done(look())
    emit(
        {"rules": [_entry(one) for one in found]},
        as_json=invocation.as_json,
        render=lambda out: _print(out, found),
    )


def _print(out: "Console", found: "tuple[Standing, ...]") -> None:
    if not found:
        out.print(
            'No rules yet: write them under alerts.rules, such as "price WETH < 2000/1800", or '
            "with /rule in a chat.",
            markup=False,
        )
        return
    made = table("rule", "chat", "market", "now", "would say")
    for one in found:
        if one.fault:
            made.add_row(escape(one.text), escape(one.chat), "-", escape(one.fault), "never")
        for read in one.reads:
            says = "unknown" if read.level is None else read.level.name.lower()
            made.add_row(
                escape(one.text),
                escape(one.chat),
                escape(read.market.name),
                escape(read.now),
                "nothing" if says == "clear" else says,
            )
    out.print(made)
    for one in found:
        if one.remedy:
            out.print(f"{one.text}: {one.remedy}", markup=False)


def _entry(one: "Standing") -> dict[str, Any]:
    return {
        "rule": one.text,
        "chat": one.chat,
        "from": str(one.origin),
        "fault": one.fault,
        "remedy": one.remedy,
        "reads": [
            {
                "market": read.market.name,
                "now": read.now,
                "level": None if read.level is None else read.level.name.lower(),
            }
            for read in one.reads
        ],
    }
