"""``keeper new-config`` and ``keeper show-config``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from keeper.cli.context import of
from keeper.cli.output import emit, escape, table
from keeper.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("new-config")(new_config)
    app.command("show-config")(show_config)


def new_config(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="Where to write it.")] = Path("keeper.toml"),
) -> None:
    """Write a commented keeper.toml.

    Never over an existing one.
    """
    from keeper.settings.document import write_new

    try:
        write_new(file)
    except FileExistsError:
        raise ConfigError(
            f"{file} exists already and is left as it is: name another file, or move it away"
        ) from None
    except OSError as error:
        raise ConfigError(f"{file} cannot be written: {error.strerror or error}") from None

    def render(out: "Console") -> None:
        out.print(f"Wrote {escape(str(file))}: every line is commented out and shows its default.")
        out.print("Set ETHEREUM_RPC_URL=https://... and run `keeper check`.", markup=False)

    emit({"written": str(file)}, as_json=of(context).as_json, render=render)


def show_config(context: typer.Context) -> None:
    """Print what is in force, and from where.

    Secrets are masked.
    """
    from keeper.settings.document import PRECEDENCE, lines, masked

    invocation = of(context)
    settings = invocation.settings()
    found = lines(settings)

    def render(out: "Console") -> None:
        shown = table("key", "value", "from")
        for line in found:
            shown.add_row(escape(line.key), escape(line.value), escape(line.source))
        out.print(shown)
        out.print(f"Precedence: {PRECEDENCE}.", markup=False)

    document = {
        "settings": masked(settings),
        "sources": {line.key: line.source for line in found if line.source != "default"},
        "precedence": PRECEDENCE,
    }
    emit(document, as_json=invocation.as_json, render=render)
