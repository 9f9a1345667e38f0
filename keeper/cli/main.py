"""The `keeper` command: finds the command, runs it, and says what went wrong in one sentence.

Exit codes: 0 done, 1 it could not be done, 2 the configuration or the command line is wrong,
130 interrupted.  Nothing heavy is imported here: ``keeper --help`` must be instant.
"""

import contextlib
import sys
from pathlib import Path
from typing import Annotated

import typer
from typer.exceptions import TyperException

from keeper.cli import (
    act,
    actions,
    check,
    config,
    db,
    deploy,
    explain,
    foresee,
    kill_switch,
    liquidator,
    misses,
    oracles,
    permit,
    positions,
    rules,
    streams,
    watch,
)
from keeper.cli import run as running
from keeper.cli.context import Invocation, hoist
from keeper.errors import ConfigError, KeeperError

app = typer.Typer(
    name="keeper",
    help="Watches lending positions, warns their owners, protects and liquidates them.",
    epilog="--config, --chain, --json and --verbose may stand anywhere on the line.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:  # noqa: FBT001 - typer's callback
    if wanted:
        sys.stdout.write(f"keeper {version()}\n")
        raise typer.Exit


@app.callback()
def _common(
    context: typer.Context,
    config_file: Annotated[
        Path | None,
        typer.Option("--config", help="The keeper.toml to use.", metavar="FILE"),
    ] = None,
    chain: Annotated[
        str | None, typer.Option("--chain", help="Only this chain, by name or id.")
    ] = None,
    as_json: Annotated[  # noqa: FBT002 - a flag of a command line
        bool, typer.Option("--json", help="Print one JSON document to standard output.")
    ] = False,
    verbose: Annotated[  # noqa: FBT002 - a flag of a command line
        bool, typer.Option("--verbose", help="Log everything, down to debug.")
    ] = False,
    _show_version: Annotated[  # noqa: FBT002 - a flag of a command line
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    context.obj = Invocation(config=config_file, chain=chain, as_json=as_json, verbose=verbose)


for _module in (
    running,
    check,
    positions,
    explain,
    foresee,
    oracles,
    act,
    permit,
    deploy,
    liquidator,
    watch,
    rules,
    actions,
    misses,
    kill_switch,
    db,
    config,
):
    _module.register(app)


def version() -> str:
    """Return the installed version, or that of the checkout this runs from."""
    from importlib import metadata

    try:
        return metadata.version("keeper")
    except metadata.PackageNotFoundError:
        import tomllib

        project = Path(__file__).parents[2] / "pyproject.toml"
        return str(tomllib.loads(project.read_text(encoding="utf-8"))["project"]["version"])


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; never returns."""
    streams.prepare()
    code = run(sys.argv[1:] if arguments is None else arguments)
    failed = streams.finish(sys.stdout)
    if failed is not None and code == 0:
        code = _sorry(failed, 1)
    streams.finish(sys.stderr)
    sys.exit(code)


def run(arguments: list[str]) -> int:
    """Run one command and return its exit code; errors become one sentence on standard error."""
    try:
        code = app(hoist(arguments), prog_name="keeper", standalone_mode=False)
    except ConfigError as error:
        return _sorry(error, 2)
    except TyperException as error:
        return _misused(error)
    except KeeperError as error:
        return _sorry(error, 1)
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except BrokenPipeError:
        return 1
    return code if isinstance(code, int) else 0


def _misused(error: TyperException) -> int:
    """Say what of the command line was not understood, and return 2; without a command, help."""
    message = error.format_message()
    context = getattr(error, "ctx", None)
    if context is not None and message == context.get_help():
        sys.stderr.write(f"{message}\n")
        return 2
    where = "keeper" if context is None else context.command_path
    message = message[:1].lower() + message[1:].rstrip(".")
    then = " " if message.endswith("?") else "; "
    return _sorry(ConfigError(f"{message}{then}`{where} -h` shows how it is called"), 2)


def _sorry(error: KeeperError, code: int) -> int:
    from keeper.log import redact

    line = redact(" ".join(str(error).split()))
    text = "".join(char if char.isprintable() else "?" for char in line)
    if text:
        with contextlib.suppress(OSError):  # there may be nowhere left to say it
            sys.stderr.write(f"keeper: {text}\n")
    return code
