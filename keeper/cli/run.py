"""``keeper run``: watch until told to end.  SIGINT and SIGTERM end it cleanly, exit code 0."""

import signal
import sys
from typing import TYPE_CHECKING, Any

import typer

from keeper.cli.asking import until_done
from keeper.cli.context import of
from keeper.cli.coverage import shown_progress
from keeper.cli.output import emit, escape

if TYPE_CHECKING:
    from rich.console import Console

    from keeper.cli.context import Invocation
    from keeper.settings import Chain, Settings


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("run")(run)


def run(context: typer.Context) -> None:
    """Watch, warn, and act where it is armed."""
    invocation = of(context)
    settings = invocation.settings()
    chains = invocation.chains(settings)
    announcement = _announcement(settings, chains)

    def render(out: "Console") -> None:
        for line in _lines(announcement):
            out.print(escape(line))

    emit(announcement, as_json=invocation.as_json, render=render)
    sys.stdout.flush()
    until_done(_watch(invocation, settings))


async def _watch(invocation: "Invocation", settings: "Settings") -> None:
    """Run the service; the first signal ends it in order, the second at once."""
    import asyncio

    from keeper.app.service import Service
    from keeper.cli.main import version

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    signals = (signal.SIGINT, signal.SIGTERM)

    def told() -> None:
        stop.set()
        for number in signals:
            loop.remove_signal_handler(number)

    for number in signals:
        loop.add_signal_handler(number, told)
    with shown_progress(logging_again=lambda: invocation.log_again(settings)) as progress:
        service = Service(settings, chain=invocation.chain, on_progress=progress, version=version())
        running = asyncio.create_task(service.run(stop))
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if stop.is_set() and not service.opened.is_set():
            running.cancel()
        await asyncio.wait({running})
        if not running.cancelled():
            running.result()


def _announcement(settings: "Settings", chains: "tuple[Chain, ...]") -> dict[str, Any]:
    from keeper.chain.urls import redact
    from keeper.settings.document import PRECEDENCE
    from keeper.store.location import location

    chats = settings.operator_chats()
    web = settings.web
    return {
        "precedence": PRECEDENCE,
        "chains": [
            {
                "name": chain.name,
                "chain_id": chain.chain_id,
                "markets": [market.name for market in chain.markets],
                "nodes": [redact(url) for url in chain.rpc_urls],
                "heads": [redact(url) for url in chain.pushing] or ["polled over HTTP"],
                "armed": settings.signing.armed(chain.chain_id),
                "does": _does(settings, chain),
            }
            for chain in chains
        ],
        "messages": list(chats),
        "bot": settings.telegram.token is not None,
        "watched": len({watch.account for watch in settings.watches()}),
        "database": location(settings.database.url).shown,
        "page": f"http://{web.host}:{web.port}" if web.enabled else None,
    }


def _does(settings: "Settings", chain: "Chain") -> list[str]:
    """Name what may be sent, or would be if it were armed."""
    accounts = len({entry.account for entry in settings.protect.values()})
    does = [f"protects {accounts} account{'s' if accounts > 1 else ''}"] if accounts else []
    if settings.liquidate.enabled:
        does.append("liquidates")
    if settings.signing.armed(chain.chain_id):
        return does
    return [f"{what} (rehearsed only)" for what in does]


def _lines(said: dict[str, Any]) -> list[str]:
    lines = [f"Settings: {said['precedence']}."]
    for chain in said["chains"]:
        lines.append(f"{chain['name']} (chain {chain['chain_id']})")
        lines.append(f"  markets    {', '.join(chain['markets'])}")
        lines.append(f"  nodes      {', '.join(chain['nodes'])}")
        lines.append(f"  heads      {', '.join(chain['heads'])}")
        armed = "ARMED: it signs and sends" if chain["armed"] else "watch-only: nothing is sent"
        lines.append(f"  mode       {'; '.join((armed, *chain['does']))}")
    to = ", ".join("the log" if chat == "log:" else chat for chat in said["messages"])
    bot = ", and people talk to the bot" if said["bot"] else ""
    lines.append(f"messages     to {to}{bot}")
    lines.append(f"watched      {said['watched']} from the configuration, others from the database")
    lines.append(f"database     {said['database']}")
    if said["page"]:
        lines.append(f"status page  {said['page']}")
    lines.append("Ctrl-C ends it.")
    return lines
