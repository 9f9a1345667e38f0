"""What commands share that ask and go: a quiet log, the words of the command line, a loop.

Such a command says what is wrong in its one sentence; the log's lines about the same would only
stand before it.  ``--verbose`` shows them.
"""

import logging
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from keeper.cli.context import Invocation, of
from keeper.errors import ConfigError

if TYPE_CHECKING:
    from keeper.model import Address, Thresholds
    from keeper.settings import Chain, Settings
    from keeper.units import Wad

T = TypeVar("T")

MarketOption = Annotated[
    str | None, typer.Option("--market", help="Only in this market, by its name.", metavar="NAME")
]
AddressArgument = Annotated[
    str, typer.Argument(help="The account: 0x and 40 hex digits.", metavar="ADDRESS")
]


def asking(context: typer.Context) -> tuple[Invocation, "Settings"]:
    """Return the invocation and its settings; only errors are logged.  Raises ConfigError."""
    invocation = of(context)
    settings = invocation.settings()
    if not invocation.verbose:
        logging.getLogger().setLevel(logging.ERROR)
    return invocation, settings


def chains_with(
    invocation: Invocation, settings: "Settings", market: str | None
) -> "tuple[Chain, ...]":
    """Return the chains to look at: those with a market of this name.  Raises ConfigError."""
    chains = invocation.chains(settings)
    if market is None:
        return chains
    found = tuple(c for c in chains if any(m.name == market for m in c.markets))
    if not found:
        there = ", ".join(m.name for c in chains for m in c.markets)
        raise ConfigError(f"no market {market!r} is configured: there is {there}")
    return found


def caution(chain: str, unfit: str) -> None:
    """Say on standard error why nothing should be done because of what was read, if so."""
    if unfit:
        typer.echo(f"keeper: {chain}: {unfit.rstrip('.')}.", err=True)


def until_done(work: Coroutine[Any, Any, T]) -> T:
    """Run `work` in a loop of its own."""
    import asyncio

    return asyncio.run(work)


def account(text: str) -> "Address":
    """Read an address of the command line.  Raises ConfigError."""
    from keeper.notify.words import BadWord, parse_address

    try:
        return parse_address(text.strip())
    except BadWord as error:
        raise ConfigError(str(error)) from None


def thresholds(text: str | None) -> "Thresholds | None":
    """Read ``1.30/1.15/1.05``.  Raises ConfigError."""
    from keeper.notify.words import BadWord, parse_thresholds

    if text is None:
        return None
    try:
        return parse_thresholds(text.strip())
    except BadWord as error:
        raise ConfigError(str(error)) from None


def health_factor(option: str, text: str) -> "Wad":
    """Read a health factor such as ``1.5``, exactly.  Raises ConfigError naming `option`."""
    from keeper.settings.values import exact
    from keeper.units import Wad

    try:
        return Wad(exact(text, 18))
    except ValueError as error:
        raise ConfigError(f"{option} {error}") from None
