"""Bugs that are planted into keepers of the kill -9 campaign, by what is done to their database."""

import contextlib
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal

Planted = Literal["", "given out again", "left behind", "spendthrift"]
"""Bugs of the lives that carry several: each start gives out again what a transaction carries
besides its first intent; forgets that it carries it; forgets what was paid today."""

_LONE: Final = "UPDATE intents SET plan = json_set(plan, '$.shares', json('[]'))"
DONE_BY: Final[dict[str, tuple[str, ...]]] = {
    "given out again": (_LONE, "DELETE FROM intents WHERE leader IS NOT NULL"),
    "left behind": (_LONE,),
    "spendthrift": (
        "UPDATE intents SET decided_at = 0 WHERE state IN ('confirmed', 'reverted', 'abandoned')",
    ),
}
"""How the planted bugs come about, in SQLite's words."""


def spoil(kept: Path, statements: Sequence[str]) -> None:
    """Do `statements` to a database, unless whoever began it was killed before it had tables."""
    if not (statements and kept.exists()):
        return
    with contextlib.closing(sqlite3.connect(kept)) as database, database:
        if database.execute("SELECT 1 FROM sqlite_master WHERE name = 'outbox'").fetchone():
            for statement in statements:
                database.execute(statement)
