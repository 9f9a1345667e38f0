"""``keeper check``: everything that `keeper run` needs, looked at one by one."""

import sys
from typing import TYPE_CHECKING

import typer

from keeper.cli.asking import asking, until_done
from keeper.cli.output import emit
from keeper.errors import ExecutionError

if TYPE_CHECKING:
    from keeper.app.finding import Finding


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("check")(check)


def check(context: typer.Context) -> None:
    """Look at what `run` needs, and say what to do.

    Nodes, contracts, prices, key, money, allowances, database, Telegram.  Exit code 1 if anything
    failed.
    """
    from keeper.app.checks import check_all
    from keeper.app.finding import State
    from keeper.log import redact

    invocation, settings = asking(context)

    async def look() -> "list[Finding]":
        found = []
        async for finding in check_all(settings, invocation.chain):
            found.append(finding)
            if not invocation.as_json:
                _say(finding)
        return found

    found = until_done(look())
    counts = {state: sum(f.state is state for f in found) for state in State}
    document = {
        "ok": not counts[State.FAILED],
        "checks": [
            {
                "state": str(f.state),
                "what": f.what,
                "said": redact(f.said),
                "remedy": redact(f.remedy),
            }
            for f in found
        ],
    }
    emit(
        document,
        as_json=invocation.as_json,
        render=lambda out: out.print(
            ", ".join(f"{count} {state}" for state, count in counts.items() if count), markup=False
        ),
    )
    if counts[State.FAILED]:
        raise ExecutionError(f"{counts[State.FAILED]} of {len(found)} checks failed")


def _say(finding: "Finding") -> None:
    """Print one line as soon as it is known, and the remedy under it."""
    from keeper.log import redact

    lines = [f"{finding.state:<8} {finding.what}: {finding.said}"]
    if finding.remedy:
        lines.append(f"{'':<8}   -> {finding.remedy}")
    for line in lines:
        text = redact(" ".join(line.split("\n")))
        sys.stdout.write("".join(c if c.isprintable() else "?" for c in text) + "\n")
    sys.stdout.flush()
