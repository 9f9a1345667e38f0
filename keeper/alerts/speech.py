"""In whose language something is said: a translator is handed in, English needs none.  Pure.

Texts are written in English where they are made and looked up in a gettext catalogue, which the
shell loads: see `keeper.notify.languages`.  Placeholders are named, so that a language may put
them in another order; values are filled in after the look-up and are never looked at again, so
that foreign words in braces stay words.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from keeper.errors import KeeperError


def _same(message: str) -> str:
    return message


def _english_number(one: str, many: str, number: int) -> str:
    return one if number == 1 else many


@dataclass(frozen=True, slots=True, kw_only=True)
class Speech:
    """One language: ``say("{name} is well", name="main")``."""

    language: str
    """ISO 639-1, such as ``de``."""
    one: Callable[[str], str] = _same
    """As `gettext.GNUTranslations.gettext`."""
    number: Callable[[str, str, int], str] = _english_number
    """As `gettext.GNUTranslations.ngettext`."""

    def __call__(self, message: str, /, **values: object) -> str:
        """Return `message` in this language with its values; in English where that fails."""
        return _filled(self.one(message), message, values)

    def plural(self, one: str, many: str, number: int, /, **values: object) -> str:
        """Return the form that `number` takes; it is ``{n}`` unless said otherwise."""
        values = {"n": number, **values}
        english = _english_number(one, many, number)
        return _filled(self.number(one, many, number), english, values)


def _filled(text: str, english: str, values: Mapping[str, object]) -> str:
    """Fill in values; a catalogue that is wrong costs the language, never the message."""
    try:
        return text.format(**values)
    except (KeyError, IndexError, ValueError, AttributeError):
        return english.format(**values)


ENGLISH: Final = Speech(language="en")
"""What texts are written in."""

SpeechOf = Callable[[str], Speech]
"""The language of a chat."""

Phrase = Callable[[Speech], str]
"""A text that waits for its language."""


def english(chat: str) -> Speech:
    """Every chat's language where none was chosen."""
    del chat
    return ENGLISH


def noted(message: str) -> str:
    """Mark a text that is looked up elsewhere, so that it gets into the catalogue."""
    return message


@dataclass(frozen=True, slots=True, kw_only=True)
class Saying:
    """A text with its values that waits for its language.  Made by `saying`."""

    message: str
    values: Mapping[str, object] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.in_(ENGLISH)

    def in_(self, say: Speech) -> str:
        """Return it in a language."""
        return say(self.message, **self.values)


def saying(message: str, /, **values: object) -> Saying:
    """Return a text that waits for its language."""
    return Saying(message=message, values=values)


def words_of(text: str | Saying, say: Speech) -> str:
    """Return a text in a language; a plain one, such as a node's own, stays as it is."""
    return text.in_(say) if isinstance(text, Saying) else text


class Spoken(KeeperError):  # noqa: N818 - it reads as what it is
    """An error whose text is a reply to a person, in their language; `str` is English."""

    def __init__(self, message: str, /, **values: object) -> None:
        self.saying = Saying(message=message, values=values)
        super().__init__(str(self.saying))


def reply_of(error: KeeperError, say: Speech) -> str:
    """Return what an error says to a person."""
    return error.saying.in_(say) if isinstance(error, Spoken) else str(error)
