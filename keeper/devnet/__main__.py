"""Keeps a devnet up: ``python -m keeper.devnet [--json FILE] [--positions N] [--block-time S]``.

Standard output says how to look at it; ``--json`` writes the whole deployment.  Prices, time and
blocks move by what is typed (`keeper.devnet.typed`).  It ends on Ctrl-C or at the end of its input,
and leaves nothing running.
"""

import argparse
import asyncio
import os
import signal
import stat
import sys
from pathlib import Path
from typing import Final

from keeper.devnet.deploy import PROTOCOL
from keeper.devnet.deployment import Deployment
from keeper.devnet.network import Devnet, Stage, start
from keeper.devnet.typed import ENDS, HELP, Typed
from keeper.errors import ConfigError, KeeperError

LOOKED_AT_EVERY_S: Final = 10.0
"""How often feeds are asked whether they are to report."""
_EXIT_USAGE: Final = 2
_EXIT_FAILED: Final = 1


def main(arguments: list[str] | None = None) -> int:
    """Run until told to end; 0 then, 2 for what the caller must change, 1 for what broke."""
    options = _options(arguments)
    try:
        return _run(options)
    except KeyboardInterrupt:
        return 0
    except KeeperError as error:
        print(f"devnet: {error}", file=sys.stderr)  # noqa: T201 - a command's output
        return _EXIT_USAGE if isinstance(error, ConfigError) else _EXIT_FAILED


def _run(options: argparse.Namespace) -> int:
    unknown = [name for name in options.protocol.split(",") if name != PROTOCOL]
    if unknown:
        raise ConfigError(f"The devnet has no protocol {unknown[0]!r}, it has {PROTOCOL}.")
    stage = start(options.positions, options.seed)
    try:
        unknown = sorted(set(options.freeze) - {feed.name for feed in stage.deployment.feeds})
        if unknown:
            there = ", ".join(feed.name for feed in stage.deployment.feeds)
            raise ConfigError(f"The devnet has no feed {unknown[0]!r}, it has {there}.")
        if options.json is not None:
            _write(options.json, stage.deployment.to_json())
        return asyncio.run(_stay(stage, options.json, options.block_time, options.freeze))
    finally:
        stage.stop()


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}.") from None


async def _stay(stage: Stage, document: Path | None, block_time_s: int, frozen: list[str]) -> int:
    async with stage.devnet() as devnet:
        if block_time_s:
            await devnet.anvil.set_interval_mining(block_time_s)
        print(_words(devnet, document), flush=True)  # noqa: T201 - a command's output
        typed = Typed(devnet, set(frozen))
        feeding = asyncio.create_task(_feed(typed))
        ended = asyncio.create_task(_told_to_end(typed))
        dead = asyncio.create_task(_died(stage))
        done, others = await asyncio.wait(
            {feeding, ended, dead}, return_when=asyncio.FIRST_COMPLETED
        )
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        for task in done:
            task.result()  # what broke is raised
        if ended in done:
            return 0
        _complain("Anvil ended by itself.")
        return _EXIT_FAILED


async def _feed(typed: Typed) -> None:
    """Let feeds report as their nodes would."""
    while True:
        try:
            await typed.report()
        except (KeeperError, TimeoutError) as error:  # Anvil may be paused, or at its end
            _complain(f"the feeds could not report: {error or 'no block came'}")
        await asyncio.sleep(LOOKED_AT_EVERY_S)


async def _told_to_end(typed: Typed) -> None:
    """Carry out what is typed; return on SIGINT, SIGTERM, or when standard input ends."""
    loop = asyncio.get_running_loop()
    told = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, told.set)
    if _somebody_may_type():
        reader = asyncio.StreamReader()
        pipe, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
        )
        reading = asyncio.create_task(_until_end(reader, typed))
        reading.add_done_callback(lambda _: told.set())  # whatever ended it
        await told.wait()
        reading.cancel()
        pipe.close()
    await told.wait()


def _somebody_may_type() -> bool:
    """Whether input is a pipe, a socket, or the terminal we are in front of.

    ``/dev/null`` and files are always at their end, and a background job that reads from its
    terminal is stopped by it: these end by a signal only.
    """
    if sys.stdin is None or sys.stdin.closed:
        return False
    if sys.stdin.isatty():
        return os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    mode = os.fstat(sys.stdin.fileno()).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


async def _until_end(reader: asyncio.StreamReader, typed: Typed) -> None:
    while True:
        try:
            line = await reader.readline()
            if not line or line.decode(errors="replace").strip().lower() in ENDS:
                break
            answer = await typed.carry_out(line.decode(errors="replace"))
        except (KeeperError, ValueError, TimeoutError) as error:  # ValueError: far too long a line
            _complain(str(error) or "no block came")
        except Exception as error:  # noqa: BLE001 - one word that breaks ends no chain that is used
            _complain(f"that went wrong ({type(error).__name__}: {error}); the chain goes on")
        else:
            if answer:
                print(answer, flush=True)  # noqa: T201 - a command's output


def _complain(text: str) -> None:
    print(f"devnet: {text}", file=sys.stderr, flush=True)  # noqa: T201 - a command's output


async def _died(stage: Stage) -> None:
    while stage.process.alive:  # noqa: ASYNC110 - a process tells no event
        await asyncio.sleep(0.5)


def _words(devnet: Devnet, document: Path | None) -> str:
    there = devnet.deployment
    keeper = there.account("keeper")
    lines = [
        f"Aave v3.6 with {len(there.borrowers)} positions, chain {there.chain_id}",
        "",
        f"  RPC                {there.rpc_url}",
        f"  WebSocket          {there.ws_url}",
        f"  addresses provider {there.addresses_provider}",
        f"  pool               {there.pool}",
        f"  keeper's account   {keeper.address}",
        f"  its key            {keeper.private_key}   (for this chain only)",
        "",
        "To look at it:",
        f"  curl -s {there.rpc_url} -H 'content-type: application/json' \\",
        """    -d '{"jsonrpc":"2.0","id":1,"method":"eth_blockNumber","params":[]}'""",
    ]
    if document is not None:
        lines.append(f"  every address, feed and key: {document}")
    lines += ["", "A keeper.toml for it:", *(f"  {line}" for line in keeper_toml(there))]
    if _somebody_may_type():
        lines += ["", "Type to move it:", HELP]
    lines += ["", "It ends on Ctrl-C, on quit or at the end of its input."]
    return "\n".join(lines)


def keeper_toml(there: Deployment) -> tuple[str, ...]:
    """Return the lines of a keeper.toml that watches the devnet; uncommented, it acts there too."""
    market = f'{{ name = "aave-v3-devnet", addresses_provider = "{there.addresses_provider}" }}'
    return (
        "[chains.devnet]",
        f"chain_id = {there.chain_id}",
        f'rpc_urls = ["{there.rpc_url}"]',
        f'ws_urls = ["{there.ws_url}"]',
        "block_time_s = 2",
        f"markets = [{market}]",
        f'#uniswap_factory = "{there.uniswap.factory}"',
        f'#uniswap_quoter = "{there.uniswap.quoter}"',
        "[oracles.heartbeats_s]",
        *(f'"{feed.proxy}" = {feed.heartbeat_s}' for feed in there.feeds),
        "# To act here too, uncomment what follows and the two lines of uniswap above.",
        "#[signing]",
        f'#private_key = "{there.account("keeper").private_key}"',
        f"#armed_chain_ids = [{there.chain_id}]",
        '#max_per_tx_usd = "100000"',
        '#max_per_day_usd = "1000000"',
        '#max_gas_per_tx_eth = "0.5"',
        '#max_gas_per_day_eth = "5"',
        "#[liquidate]",
        "#enabled = true",
    )


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="./run devnet", description="Keep a local chain with real lending protocols up."
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write URLs, addresses and keys")
    parser.add_argument("--positions", type=int, default=200, metavar="N", help="default 200")
    parser.add_argument("--protocol", default=PROTOCOL, help=f"default and only one: {PROTOCOL}")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="which crowd, default 1")
    parser.add_argument(
        "--block-time",
        type=int,
        default=2,
        metavar="S",
        help="seconds between blocks, default 2; 0 mines a block for each transaction only",
    )
    parser.add_argument(
        "--freeze",
        action="append",
        default=[],
        metavar="FEED",
        help="let this feed, such as USDC/USD, grow old; others report at half their heartbeat",
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
