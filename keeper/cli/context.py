"""What every command was told before its own arguments, and the settings that follow from it.

A command module holds plain functions and one ``register(app)``; a command begins with

    invocation = of(context)
    settings = invocation.settings()      # loads, sets up the log; ConfigError in one sentence

imports what is heavy inside the function, and ends with `keeper.cli.output.emit`.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from keeper.errors import ConfigError

if TYPE_CHECKING:
    from keeper.settings import Chain, Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """The options that every command takes, wherever on the line they stand."""

    config: Path | None = None
    chain: str | None = None
    """Name or id; None is every chain configured."""
    as_json: bool = False
    verbose: bool = False

    def settings(self) -> "Settings":
        """Load the settings and set up the log.  Raises ConfigError."""
        from keeper.settings import load

        settings = load(self.config, os.environ)
        self.log_again(settings)
        return settings

    def log_again(self, settings: "Settings") -> None:
        """Set up the log on what standard error is now: a progress bar takes its place."""
        from keeper import log

        log.set_up(
            style=settings.log.format,
            level="debug" if self.verbose else settings.log.level,
            secrets=settings.secrets(),
        )

    def chains(self, settings: "Settings") -> tuple["Chain", ...]:
        """The chains to work on, by ``--chain``.  Raises ConfigError where there is none."""
        return settings.select(self.chain)

    def one_chain(self, settings: "Settings") -> "Chain":
        """The one chain a command works on.  Raises ConfigError where that is not clear."""
        chains = settings.select(self.chain)
        if len(chains) > 1:
            names = ", ".join(chain.name for chain in chains)
            raise ConfigError(f"several chains are configured ({names}): say which with --chain")
        return chains[0]


def of(context: typer.Context) -> Invocation:
    """Return the invocation that `main` put together."""
    found = context.find_object(Invocation)
    return found if found is not None else Invocation()


TAKE_A_VALUE = ("--config", "--chain")
ALONE = ("--json", "--verbose")


def hoist(arguments: list[str]) -> list[str]:
    """Move the common options to the front, so that they may stand after the command too.

    Nothing after ``--`` is touched.  Raises ConfigError for one without its value.
    """
    front: list[str] = []
    rest: list[str] = []
    at = 0
    while at < len(arguments):
        argument = arguments[at]
        if argument == "--":
            rest += arguments[at:]
            break
        if argument in TAKE_A_VALUE:
            if at + 1 == len(arguments):
                raise ConfigError(f"{argument} needs a value after it")
            front += arguments[at : at + 2]
            at += 2
            continue
        common = argument in ALONE or argument.startswith(tuple(f"{o}=" for o in TAKE_A_VALUE))
        (front if common else rest).append(argument)
        at += 1
    return [*front, *rest]
