"""The process: its database, its log, its page."""

from typing import Literal

from pydantic import (
    Field,
)

from keeper.settings.section import Section
from keeper.settings.values import (
    Names,
)


class Database(Section):
    """Where the journal, the alerts and the history are kept."""

    url: str = Field(
        "sqlite:///keeper.sqlite3",
        repr=False,
        description="SQLite file, or postgresql://user:password@host/name for operators.",
    )


class Logging(Section):
    """What goes to standard error."""

    format: Literal["auto", "json", "text"] = Field(
        "auto", description="text, json, or auto: text on a terminal and json elsewhere."
    )
    level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="The least severe event that is logged."
    )


class Web(Section):
    """Status page, /metrics and /healthz; read-only."""

    enabled: bool = Field(default=False, description="Whether the status page is served.")
    host: str = Field(
        "127.0.0.1", description="The address it listens on; the page has no login of its own."
    )
    port: int = Field(8787, ge=0, le=65535, description="The port it listens on; 0 takes any.")
    hosts: Names = Field(
        (), description="Further names it may be asked under, such as a scraper's container."
    )
