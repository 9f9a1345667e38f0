"""docs/OPERATIONS.md names every event that the code can log."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]
LEVELS = {"debug", "info", "warning", "error", "exception", "critical"}


def logged_events(source: str) -> set[str]:
    """Return the events of calls such as ``log.warning("head.reorg", ...)``, or ``log.log``."""
    calls = [call for call in ast.walk(ast.parse(source)) if isinstance(call, ast.Call)]
    said = [
        call.args[1:] if call.func.attr == "log" else call.args
        for call in calls
        if isinstance(call.func, ast.Attribute)
        and call.func.attr in LEVELS | {"log"}
        and isinstance(call.func.value, ast.Name)
        and "log" in call.func.value.id
    ]
    return {
        args[0].value
        for args in said
        if args and isinstance(args[0], ast.Constant) and isinstance(args[0].value, str)
    }


def test_the_reader_of_events_finds_them() -> None:
    source = 'log.warning("price.stale", age_s=1)\nother_log.info(\n    "tx.sent"\n)\nmath.log(2)\n'
    source += 'log.log(level, "message.said", kind="fired")\n'

    assert logged_events(source) == {"price.stale", "tx.sent", "message.said"}


def test_every_logged_event_is_explained_to_operators() -> None:
    page = (ROOT / "docs/OPERATIONS.md").read_text(encoding="utf-8")

    events = {
        event
        for path in (ROOT / "keeper").rglob("*.py")
        if "devnet" not in path.parts
        for event in logged_events(path.read_text(encoding="utf-8"))
    }

    assert len(events) > 40
    assert not {event for event in events if f"`{event}`" not in page}
