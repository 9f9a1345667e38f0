"""One line of ``keeper check``: how it ended, what was looked at, what to do about it."""

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of ``keeper check``."""

    state: State
    what: str
    """What was looked at: ``devnet: node http://127.0.0.1:8545``."""
    said: str
    """What was found."""
    remedy: str = ""
    """What to do about it; empty where nothing needs to be done or `said` says it already."""


def ok(what: str, said: str) -> Finding:
    """All is well."""
    return Finding(state=State.OK, what=what, said=said)


def warning(what: str, said: str, remedy: str = "") -> Finding:
    """It works, and somebody should look at it."""
    return Finding(state=State.WARNING, what=what, said=said, remedy=remedy)


def failed(what: str, said: object, remedy: str = "") -> Finding:
    """It does not work.  An error that begins with what was looked at says it once only."""
    text = str(said)
    for known in (*what.split(": "), what.rsplit(maxsplit=1)[-1]):
        text = text.removeprefix(f"{known}: ").removeprefix(f"{known} ")
    return Finding(state=State.FAILED, what=what, said=text, remedy=remedy)
