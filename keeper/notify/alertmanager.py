"""Prometheus Alertmanager as a channel: ``alertmanager:<name>``, by its API v2.

Source: prometheus/alertmanager, api/v2/openapi.yaml, ``POST /api/v2/alerts``.

An alert is known by its labels, so they are the same from the first word to the resolve: the rule,
the subject and who says so.  What changes meanwhile (the level, the text) is in the annotations.
Alertmanager ends by itself what is not said again within its resolve_timeout; ours speak only when
something changed, so a firing alert carries an end that is far away, and the resolve a near one.
"""

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import aiohttp

from keeper.errors import DeliveryError
from keeper.model import Message, Severity
from keeper.notify.pacing import EVERYTHING, thread_of

PREFIX: Final = "alertmanager"
TIMEOUT_S: Final = 10.0
FIRING_S: Final = 7 * 86_400
"""How long an alert lasts that nobody resolves: longer than any reminder's interval."""
EVENT_S: Final = 900
"""How long something lasts that happened once, such as an action or a report of many."""
_EVENTS: Final = ("action", "digest", "reply")


class Alertmanagers:
    """Sends messages to ``alertmanager:<name>``."""

    prefix = PREFIX

    def __init__(self, urls: Mapping[str, str], *, wall: Callable[[], float] = time.time) -> None:
        """`urls`: base URLs by name; they may hold a password and are never shown."""
        self._urls = {name: url.rstrip("/") for name, url in urls.items()}
        self._wall = wall

    async def send(self, message: Message, *, reply_to: str = "") -> str | None:
        """Return when it answered 200.  Raises `DeliveryError`: to be tried again.

        The same alert said twice is one to Alertmanager: a repeat does no harm.
        """
        del reply_to
        name = message.chat.partition(":")[2]
        url = self._urls.get(name)
        if url is None:
            raise DeliveryError(f"No Alertmanager is called {name!r}: see alerts.alertmanagers.")
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        body = [alert_of(message, self._wall())]
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.post(f"{url}/api/v2/alerts", json=body, allow_redirects=False) as answer,
            ):
                if answer.status != 200:
                    raise DeliveryError(f"{message.chat} answered {answer.status}.")
        except (aiohttp.ClientError, TimeoutError) as error:
            said = f"{message.chat} did not take the message: {type(error).__name__}."
            raise DeliveryError(said) from None
        return None


def alert_of(message: Message, now: float) -> dict[str, Any]:
    """Return one message as a postable alert; `now` is wall-clock seconds."""
    thread = thread_of(message.key)
    rule, _, subject = thread.partition("/")
    if thread == EVERYTHING:
        rule, subject = message.key.partition("#")[2].partition(".")[0], "many"
    first, _, rest = message.text.partition("\n")
    over = message.kind == "resolved" or (
        message.kind == "fault" and message.severity is Severity.INFO
    )
    lasts_s = EVENT_S if message.kind in _EVENTS or thread == EVERYTHING else FIRING_S
    alert: dict[str, Any] = {
        "labels": {"alertname": f"keeper_{rule}", "subject": subject, "source": "keeper"},
        "annotations": {
            "summary": first,
            "description": rest,
            "severity": str(message.severity),
            "kind": message.kind,
        },
        "endsAt": _instant(now if over else now + lasts_s),
    }
    if not over:  # a resolve keeps the beginning that Alertmanager knows
        alert["startsAt"] = _instant(now)
    return alert


def _instant(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
