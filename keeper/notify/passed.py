"""Which of Telegram's updates are passed over: only a person's own fresh words and taps count."""

from typing import Final

from telegram import CallbackQuery, Update
from telegram import Message as Incoming

OLDEST_S: Final = 60
"""Older messages are passed over: whoever sent them acted on something that is past."""


def why_not_message(update: Update, now: float) -> str:
    """Return why an update is passed over, or nothing when it is to be handled."""
    message = update.message
    if message is None:
        return "not a new message"
    age_s = now - message.date.timestamp()
    checks = (
        (message.text is None, "not text"),
        (message.from_user is None or message.sender_chat is not None, "anonymous"),
        (message.from_user is not None and message.from_user.is_bot, "from a bot"),
        (message.via_bot is not None, "through a bot"),
        (_forwarded(message), "forwarded"),
        (message.edit_date is not None, "edited"),
        (abs(age_s) > OLDEST_S, f"{age_s:.0f} s old"),
    )
    return next((reason for failed, reason in checks if failed), "")


def why_not_tap(query: CallbackQuery, bot_id: int) -> str:
    """Return why a tap is passed over, or nothing when it is to be handled."""
    message = query.message
    checks = (
        (query.from_user.is_bot, "from a bot"),
        (query.inline_message_id is not None, "under an inline message"),
        (not isinstance(message, Incoming), "under a message that is gone"),
        (
            isinstance(message, Incoming)
            and (message.from_user is None or message.from_user.id != bot_id),
            "not under a message of ours",
        ),
        (
            isinstance(message, Incoming)
            and message.chat.id > 0
            and message.chat.id != query.from_user.id,
            "by somebody else than the chat's person",
        ),
        (len((query.data or "").encode()) > 64 or not query.data, "not one of our buttons"),
    )
    return next((reason for failed, reason in checks if failed), "")


def _forwarded(message: Incoming) -> bool:
    return message.forward_origin is not None or bool(message.is_automatic_forward)
