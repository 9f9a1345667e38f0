"""``keeper foresee``: what queued decisions, or calls of your own, would make of positions."""

from string import hexdigits
from typing import TYPE_CHECKING, Annotated, Any

import typer

from keeper.cli.asking import MarketOption, account, asking, caution, chains_with, until_done
from keeper.cli.output import block_line, checksummed, emit, escape, health, table
from keeper.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console

    from keeper.app.chain import OpenChain
    from keeper.app.lookahead import Foreseen
    from keeper.model import Address, BlockRef, Supposed
    from keeper.settings import Settings


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("foresee")(foresee)


def foresee(  # noqa: PLR0917 - typer's way
    context: typer.Context,
    addresses: Annotated[
        list[str] | None,
        typer.Argument(
            help="Accounts; the watched and protected ones when left out.", metavar="ADDRESS"
        ),
    ] = None,
    sender: Annotated[
        str | None, typer.Option("--from", help="Who would make the call.", metavar="ADDRESS")
    ] = None,
    to: Annotated[
        str | None, typer.Option("--to", help="What would be called.", metavar="ADDRESS")
    ] = None,
    data: Annotated[
        str | None, typer.Option("--data", help="The call's data, in hex.", metavar="0x..")
    ] = None,
    market: MarketOption = None,
) -> None:
    """What queued governance would make of positions.

    Or one call of your own; nothing is sent.
    """
    invocation, settings = asking(context)
    runs = _call(sender, to, data)
    wanted = tuple(account(each) for each in addresses or ())

    async def look() -> "list[tuple[BlockRef, str, list[tuple[str, Foreseen]]]]":
        from keeper.app.chain import open_chain

        found = []
        for config in chains_with(invocation, settings, market):
            async with open_chain(settings, config) as chain:
                caution(config.name, chain.unfit)
                accounts = wanted or await _watched(settings)
                said = await _foreseen(chain, market, runs, accounts)
                found.append((chain.head, config.name, said))
        return found

    found = until_done(look())

    def render(out: "Console") -> None:
        for block, name, said in found:
            _print(out, block, name, said)

    document = {
        "chains": [
            {"chain": name, "block": block.number, "hash": block.hash, "foreseen": _document(said)}
            for block, name, said in found
        ]
    }
    emit(document, as_json=invocation.as_json, render=render)


async def _foreseen(
    chain: "OpenChain",
    market: str | None,
    runs: "Supposed | None",
    accounts: "tuple[Address, ...]",
) -> "list[tuple[str, Foreseen]]":
    from keeper.alerts.lookahead import Outlook
    from keeper.app import lookahead
    from keeper.app.look import read_accounts

    found: list[tuple[str, Foreseen]] = []
    controller = chain.config.payloads_controller
    if runs is None and controller is None:
        raise ConfigError(
            f"{chain.config.name} has no payloads_controller to ask for what is queued: set it, "
            "or say --from, --to and --data"
        )
    for each in chain.markets.values() if market is None else [chain.market(market)]:
        await read_accounts(chain, each, accounts)
        if runs is not None:
            changed = await lookahead.foresee(chain, each, (runs,), accounts=frozenset(accounts))
            outlook = Outlook(name=f"a call of {runs.to}", from_s=None)
            found.append((each.id.name, lookahead.Foreseen(outlook=outlook, changed=changed)))
            continue
        assert controller is not None
        for queued in await lookahead.queue_of(chain, controller, chain.head):
            one = await lookahead.foresee_queued(chain, each, queued, frozenset(accounts))
            found.append((each.id.name, one))
    return found


async def _watched(settings: "Settings") -> "tuple[Address, ...]":
    from keeper.store.database import Database
    from keeper.store.records import SqlRecords

    async with await Database.open(settings.database.url) as database:
        watches = (*await SqlRecords(database).watches(), *settings.watches())
    protected = (each.account for each in settings.protect.values())
    return tuple(dict.fromkeys((*(watch.account for watch in watches), *protected)))


def _call(sender: str | None, to: str | None, data: str | None) -> "Supposed | None":
    from keeper.model import Supposed

    if (sender, to, data) == (None, None, None):
        return None
    if sender is None or to is None or data is None:
        raise ConfigError("--from, --to and --data belong together: say all three, or none")
    digits = data.removeprefix("0x")
    if digits == data or len(digits) % 2 or set(digits) - set(hexdigits):
        raise ConfigError(f"--data {data[:20]!r} is not hex: 0x and two digits for each byte")
    return Supposed(sender=account(sender), to=account(to), data=bytes.fromhex(digits))


def _print(
    out: "Console", block: "BlockRef", chain: str, said: "list[tuple[str, Foreseen]]"
) -> None:
    import time

    out.print(block_line(chain, block.number, max(0, int(time.time()) - block.timestamp)))
    if not said:
        out.print("nothing is queued")
    for market, foreseen in said:
        out.print()
        out.print(escape(f"{foreseen.outlook.name}, {market}: {_when(foreseen, block)}"))
        if foreseen.fails:
            out.print(escape(f"  would fail: {foreseen.fails}"))
        elif foreseen.changed is None:
            out.print("  changes nothing that a position is judged by")
        else:
            for change in foreseen.changed.changes:
                out.print(escape(f"  {change}"))
            if not foreseen.changed.effects:
                out.print("  no position asked about is affected")
                continue
            made = table("position", "health", "would become", right=("health", "would become"))
            for effect in foreseen.changed.effects:
                row = (checksummed(effect.position.account), effect.before, effect.after)
                made.add_row(row[0], health(row[1]), health(row[2]))
            out.print(made)


def _when(foreseen: "Foreseen", block: "BlockRef") -> str:
    from datetime import UTC, datetime

    from_s = foreseen.outlook.from_s
    if from_s is None:
        return "if it were mined now"
    if from_s <= block.timestamp:
        return "queued, can be carried out at any time"
    return f"queued, from {datetime.fromtimestamp(from_s, UTC):%Y-%m-%d %H:%M} UTC on"


def _document(said: "list[tuple[str, Foreseen]]") -> list[dict[str, Any]]:
    return [
        {
            "market": market,
            "name": one.outlook.name,
            "from_s": one.outlook.from_s,
            "fails": one.fails,
            "changes": [
                {
                    "subject": change.subject,
                    "parameter": change.parameter,
                    "was": change.was,
                    "now": change.now,
                }
                for change in (one.changed.changes if one.changed else ())
            ],
            "positions": [
                {
                    "address": effect.position.account,
                    "health_factor_wad": str(effect.before),
                    "would_become_wad": str(effect.after),
                }
                for effect in (one.changed.effects if one.changed else ())
            ],
        }
        for market, one in said
    ]
