"""Slack, Discord, ntfy, e-mail, webhooks and the rest: ``apprise:<name>``, by the apprise library.

An extra (``keeper[channels]``).  Each name is one of its URLs, which holds the secret and is never
logged.  They have neither buttons nor replies: text only.
"""

import importlib.util
import logging
from collections.abc import Mapping
from typing import Final

from keeper.errors import ConfigError, DeliveryError
from keeper.model import Message, Severity

PREFIX: Final = "apprise"
_BODY_CHARS: Final = 1900
"""Discord takes 2,000 characters, the least of the common ones."""


class OtherChannels:
    """Sends messages to ``apprise:<name>``."""

    prefix = PREFIX

    def __init__(self, urls: Mapping[str, str]) -> None:
        """Raises `ConfigError` where the library is missing or an URL is none of its own."""
        if importlib.util.find_spec("apprise") is None:
            raise ConfigError(
                "alerts.channels needs the apprise library: pip install 'keeper[channels]'."
            )
        import apprise  # noqa: PLC0415 - an extra

        logging.getLogger("apprise").setLevel(logging.CRITICAL)  # it logs URLs with their secrets
        self._senders = {}
        for name, url in urls.items():
            sender = apprise.Apprise()
            if not sender.add(url):
                raise ConfigError(
                    f"alerts.channels.{name} is not an URL that apprise knows, such as "
                    "ntfy://topic or slack://token: see its documentation."
                )
            self._senders[name] = sender
        self._kinds = {
            Severity.CRITICAL: apprise.NotifyType.FAILURE,
            Severity.WARNING: apprise.NotifyType.WARNING,
            Severity.INFO: apprise.NotifyType.INFO,
        }

    async def send(self, message: Message, *, reply_to: str = "") -> str | None:
        """Return when the provider took it.  Raises `DeliveryError`: to be tried again."""
        del reply_to
        name = message.chat.partition(":")[2]
        sender = self._senders.get(name)
        if sender is None:
            raise DeliveryError(f"No channel is called {name!r}: see alerts.channels.")
        title, _, rest = message.text.partition("\n")
        took = await sender.async_notify(
            title=title[:240],
            body=(rest or title)[:_BODY_CHARS],
            notify_type=self._kinds[message.severity],
            body_format="text",
        )
        if not took:
            raise DeliveryError(f"{message.chat} did not take the message.")
        return None
