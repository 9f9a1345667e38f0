"""Chain up, keeper up, story told, verdict given, everything down."""

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path

from rich.console import Console

from keeper import log
from keeper.app.service import Service
from keeper.devnet.bot_api import TOKEN, BotApi
from keeper.devnet.demo.house import CAROL, House, set_up
from keeper.devnet.demo.show import Show
from keeper.devnet.demo.story import Chronicle, Story
from keeper.devnet.demo.table import render
from keeper.devnet.demo.transcript import write_transcript
from keeper.devnet.demo.verdict import Verdict, judge
from keeper.devnet.network import Devnet, start
from keeper.errors import ConfigError, KeeperError
from keeper.store.database import Database
from keeper.store.outbox import SqlOutbox
from keeper.store.people import SqlPeople

COVER_S = 60.0


def main() -> None:
    """Run the demo; exit code 0 only if the verdict is good."""
    options = _options()
    started = time.monotonic()
    try:
        code = asyncio.run(_play(options, started))
    except KeyboardInterrupt:
        sys.stderr.write("\ninterrupted: nothing is left running\n")
        code = 130
    except KeeperError as error:
        sys.stderr.write(f"demo: {log.redact(str(error))}\n")
        code = 2 if isinstance(error, ConfigError) else 1
    sys.exit(code)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="./run demo",
        description="The main job on a local chain with the real Aave v3.6, ended by a verdict.",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the verdict as JSON")
    parser.add_argument(
        "--transcript",
        type=Path,
        metavar="FILE",
        help="write a borrower's chat, and its pictures beside it",
    )
    parser.add_argument("--positions", type=int, default=200, help="borrowers (default: 200)")
    parser.add_argument(
        "--database", metavar="URL", help="an empty PostgreSQL database instead of SQLite"
    )
    parser.add_argument(
        "--own-funds",
        action="store_true",
        help="liquidate with the keeper's own tokens instead of flash loans",
    )
    parser.add_argument("--stay", action="store_true", help="keep chain and keeper running after")
    return parser.parse_args()


async def _play(options: argparse.Namespace, started: float) -> int:
    if options.positions < 10:
        raise ConfigError("--positions must be at least 10: the story needs its people.")
    if options.transcript is not None and not options.transcript.absolute().parent.is_dir():
        raise ConfigError(
            f"--transcript {options.transcript}: there is no folder {options.transcript.parent}."
        )
    if options.json is not None and not options.json.absolute().parent.is_dir():
        raise ConfigError(f"--json {options.json}: there is no folder {options.json.parent}.")
    stage = start(options.positions)
    try:
        async with AsyncExitStack() as stack:
            devnet = await stack.enter_async_context(stage.devnet())
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="keeper-demo-")))
            bot = await stack.enter_async_context(BotApi().serve())
            log.set_up(style="text", level="error", secrets=(TOKEN,))
            house = await set_up(
                devnet=devnet,
                folder=folder,
                database=options.database,
                bot=(bot.url, TOKEN),
                environ=os.environ,
                flash=not options.own_funds,
            )
            log.hide(house.settings.secrets())
            chronicle = Chronicle()
            covered = asyncio.Event()
            service = Service(
                house.settings,
                on_pass=chronicle.take,
                on_progress=lambda progress: covered.set() if progress.complete else None,
            )
            stop = asyncio.Event()
            running = asyncio.create_task(service.run(stop), name="keeper")
            try:
                verdict = await _act(
                    options=options,
                    devnet=devnet,
                    house=house,
                    service=service,
                    chronicle=chronicle,
                    bot=bot,
                    running=running,
                    covered=covered,
                    started=started,
                )
                if options.stay:
                    await _stay(devnet, house, service, running)
            finally:
                stop.set()
                with contextlib.suppress(asyncio.CancelledError):
                    await running
            return 0 if verdict.ok else 1
    finally:
        stage.stop()


async def _act(
    *,
    options: argparse.Namespace,
    devnet: Devnet,
    house: House,
    service: Service,
    chronicle: Chronicle,
    bot: BotApi,
    running: asyncio.Task[None],
    covered: asyncio.Event,
    started: float,
) -> Verdict:
    """Tell the story; a keeper that ends before it is done ends the demo."""
    show = Show(None if house.telegram_is_real else bot)
    show.line(
        f"Aave v3.6 on Anvil at {devnet.deployment.rpc_url}, "
        f"{len(devnet.borrowers)} borrowers; keeper {house.keeper}, armed for chain "
        f"{devnet.deployment.chain_id}; liquidations "
        + (
            "with its own tokens"
            if house.liquidator is None
            else f"with borrowed money through {house.liquidator}"
        )
    )

    async def told() -> Verdict:
        await asyncio.wait_for(service.opened.wait(), COVER_S)
        await asyncio.wait_for(covered.wait(), COVER_S)
        async with await Database.open(house.settings.database.url) as database:
            await Story(
                devnet=devnet,
                house=house,
                service=service,
                chronicle=chronicle,
                bot=bot,
                show=show,
                outbox=SqlOutbox(database),
                people=SqlPeople(database),
            ).tell()
            engine = service.watchers[0].engine
            assert engine is not None
            return await judge(
                devnet=devnet,
                house=house,
                engine=engine,
                chronicle=chronicle,
                said=() if house.telegram_is_real else bot.sent,
                database=database,
                seconds=time.monotonic() - started,
            )

    telling = asyncio.create_task(told(), name="story")
    await asyncio.wait([telling, running], return_when=asyncio.FIRST_COMPLETED)
    if not telling.done():
        telling.cancel()
        await running
        raise KeeperError("The keeper ended in the middle of the story.")
    verdict = telling.result()
    show.messages()
    render(
        Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 120),
        verdict,
    )
    if options.transcript is not None and not house.telegram_is_real:
        written = write_transcript(options.transcript, bot.transcript, CAROL, "carol")
        sys.stdout.write(f"Carol's chat: {', '.join(str(one) for one in written)}\n")
    if options.json is not None:
        options.json.write_text(json.dumps(verdict.document(), indent=2) + "\n", encoding="utf-8")
    return verdict


async def _stay(
    devnet: Devnet, house: House, service: Service, running: asyncio.Task[None]
) -> None:
    """Mine every two seconds until somebody ends it."""
    await devnet.anvil.set_automine(on=False)
    await devnet.anvil.set_interval_mining(2)
    lines = (
        "",
        "Chain and keeper stay up; Ctrl-C ends both.",
        f"  status page   {service.web_url}",
        f"  chain         {devnet.deployment.rpc_url}",
        f"  look at it    ./run keeper --config {house.config} positions",
        f"                ./run keeper --config {house.config} explain {house.carol}",
        f"                ./run keeper --config {house.config} oracles",
        f"                ./run keeper --config {house.config} actions",
        "What the keeper logs from now on goes to standard error.",
    )
    log.set_up(style="text", level="info")
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    waiting = asyncio.create_task(stop.wait())
    await asyncio.wait([waiting, running], return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
