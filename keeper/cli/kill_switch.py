"""``keeper kill-switch``: stop every signature at once, though database and node are down."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from keeper.cli.asking import asking
from keeper.cli.output import emit, escape
from keeper.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console


class Wanted(StrEnum):
    """What to do with it."""

    ON = "on"
    OFF = "off"
    SHOW = "show"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("kill-switch")(kill_switch)


def kill_switch(
    context: typer.Context,
    wanted: Annotated[Wanted, typer.Argument(help="on, off, or show.")] = Wanted.SHOW,
) -> None:
    """Throw the kill switch, take it back, or show it.

    On: a running keeper signs and sends nothing from now on, says so at the next block, and goes on
    watching and alerting.  Off: nothing is armed again by that alone; restart the keeper to arm it.
    """
    invocation, settings = asking(context)
    path = settings.signing.kill_switch_file.absolute()
    try:
        if wanted is Wanted.ON:
            path.touch(mode=0o600)
        elif wanted is Wanted.OFF:
            path.unlink(missing_ok=True)
        there = path.exists()
    except OSError as error:
        raise ConfigError(
            f"signing.kill_switch_file: {path} cannot be changed ({error.strerror}): correct the "
            "path, or stop the keeper"
        ) from error
    emit(
        {"kill_switch": "on" if there else "off", "file": str(path)},
        as_json=invocation.as_json,
        render=lambda out: _say(out, path, there=there, changed=wanted is not Wanted.SHOW),
    )


def _say(out: "Console", path: Path, *, there: bool, changed: bool) -> None:
    if there:
        out.print(escape(f"the kill switch is on ({path}): nothing is signed while it is"))
    elif changed:
        out.print(escape(f"the kill switch is off ({path}): restart the keeper to arm it again"))
    else:
        out.print(escape(f"the kill switch is off ({path})"))
