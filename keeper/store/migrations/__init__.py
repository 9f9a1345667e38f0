"""The schema's history, run at start inside one transaction: killed half-way, nothing happened."""

from typing import Final

REVISIONS: Final = (
    "0001",
    "oracles_0002",
    "alerts0002",
    "executor0004",
    "oracles_0004",
    "alerts0003",
    "people0001",
    "people0002",
    "batch0005",
    "permit0001",
    "executor0005",
)
"""Oldest first; the last one is what this code works on.  A test compares it with `versions`."""
VERSION_TABLE: Final = "keeper_schema"
