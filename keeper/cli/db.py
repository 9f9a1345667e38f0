"""``keeper db``: what the database holds, whether it is whole, a copy of it, the audit trail."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from keeper.cli.asking import asking, until_done
from keeper.cli.output import emit, escape, table
from keeper.errors import JournalError

if TYPE_CHECKING:
    from rich.console import Console

    from keeper.settings import Settings
    from keeper.store.database import Database

T = TypeVar("T")

db = typer.Typer(
    help="The database: info, check, backup, audit.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(db, name="db")


def _with(settings: "Settings", work: "Callable[[Database], Awaitable[T]]") -> T:
    from keeper.store.database import Database

    async def run() -> T:
        async with await Database.open(settings.database.url) as database:
            return await work(database)

    return until_done(run())


@db.command()
def info(context: typer.Context) -> None:
    """Where it is, how large, and how many rows each table has."""
    from keeper.store.upkeep import info as look

    invocation, settings = asking(context)
    found = _with(settings, look)

    def render(out: "Console") -> None:
        out.print(escape(f"{found.shown}: {found.engine}, schema {found.revision}, "
                         f"{found.size_bytes:,} bytes"))  # fmt: skip
        chains = ", ".join(str(chain) for chain in found.chains) or "none yet"
        out.print(f"chains: {chains}; transactions on their way: {found.open_plans}", markup=False)
        made = table("table", "rows", right=("rows",))
        for name, rows in found.rows:
            made.add_row(escape(name), f"{rows:,}")
        out.print(made)

    document = {
        "database": found.shown,
        "engine": found.engine,
        "schema": found.revision,
        "size_bytes": found.size_bytes,
        "chains": list(found.chains),
        "open_plans": found.open_plans,
        "rows": dict(found.rows),
    }
    emit(document, as_json=invocation.as_json, render=render)


@db.command()
def check(context: typer.Context) -> None:
    """Look at every page, every reference and the whole audit trail; exit code 1 on a fault."""
    from keeper.store.upkeep import check as look

    invocation, settings = asking(context)
    found = _with(settings, look)

    def render(out: "Console") -> None:
        for fault in found.faults:
            out.print(escape(f"fault: {fault}"))
        if not found.faults:
            out.print("The database is whole.")
        out.print(f"audit trail: {found.audit_count:,} rows, ends in {found.audit_head}")

    document = {
        "ok": not found.faults,
        "faults": list(found.faults),
        "audit_rows": found.audit_count,
        "audit_head": found.audit_head,
    }
    emit(document, as_json=invocation.as_json, render=render)
    if found.faults:
        raise JournalError("the database is not whole: stop the keeper and restore a backup")


@db.command()
def backup(
    context: typer.Context,
    path: Annotated[Path, typer.Argument(help="Where to write the copy.")],
) -> None:
    """Write a checked, consistent copy, also while the keeper runs."""
    from keeper.store.upkeep import backup as copy

    invocation, settings = asking(context)
    size = _with(settings, lambda database: copy(database, path))

    def render(out: "Console") -> None:
        out.print(escape(f"Wrote {path}, {size:,} bytes, checked."))

    document = {"written": str(path), "size_bytes": size}
    emit(document, as_json=invocation.as_json, render=render)


@db.command()
def audit(
    context: typer.Context,
    limit: Annotated[int, typer.Option(help="How many of the last rows.", min=0)] = 20,
) -> None:
    """Verify the audit trail from its first row and print its end; exit code 1 when broken."""
    from keeper.cli.actions import instant
    from keeper.store.audit import Broken, trail, verify

    invocation, settings = asking(context)
    verdict = _with(settings, verify)
    rows = _with(settings, lambda database: trail(database, limit))
    broken = isinstance(verdict, Broken)

    def render(out: "Console") -> None:
        for row in reversed(rows):
            fields = "  ".join(f"{k}={v}" for k, v in row.event.fields.items() if v is not None)
            line = f"{row.seq:>8}  {instant(row.at_ms // 1000)}  {row.event.event:<20}  {fields}"
            out.print(escape(line))
        if not isinstance(verdict, Broken):
            out.print(f"{verdict.count:,} rows, none changed; the last is {verdict.head}")

    document = {
        "ok": not broken,
        "reason": verdict.reason if isinstance(verdict, Broken) else "",
        "rows": verdict.seq if isinstance(verdict, Broken) else verdict.count,
        "head": None if isinstance(verdict, Broken) else verdict.head,
        "last": [
            {
                "seq": row.seq,
                "at_ms": row.at_ms,
                "event": row.event.event,
                "fields": {
                    name: value if isinstance(value, str | int | None) else str(value)
                    for name, value in row.event.fields.items()
                },
            }
            for row in rows
        ],
    }
    emit(document, as_json=invocation.as_json, render=render)
    if isinstance(verdict, Broken):
        raise JournalError(
            f"the audit trail is broken at row {verdict.seq}: {verdict.reason}; keep the file as "
            "it is and compare it with a backup"
        )
