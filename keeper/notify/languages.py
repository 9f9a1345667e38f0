"""The languages the keeper speaks: gettext catalogues beside this module, loaded once.

English is what the texts are written in and needs no catalogue.  `./run languages` gathers the
texts into ``locale/keeper.pot``, brings every ``keeper.po`` up to date and compiles it; the
compiled ``keeper.mo`` is kept in the repository, so that the product needs no tool for it.
"""

import gettext
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

from keeper.alerts.speech import ENGLISH, Speech

LOCALE: Final = Path(__file__).with_name("locale")
DOMAIN: Final = "keeper"
LANGUAGES: Final = {"en": "English", "de": "Deutsch"}
"""By ISO 639-1 code, each in its own words."""


@cache
def speech_of(language: str) -> Speech:
    """Return a language; English for one that is not spoken."""
    if language == ENGLISH.language or language not in LANGUAGES:
        return ENGLISH
    catalogue = gettext.translation(DOMAIN, str(LOCALE), [language])
    return Speech(language=language, one=catalogue.gettext, number=catalogue.ngettext)


def language_named(word: str) -> str | None:
    """Return the code of a language by its code or its name in any case; None for others."""
    folded = word.casefold()
    for code, name in LANGUAGES.items():
        if folded in (code, name.casefold()) or folded.startswith((f"{code}-", f"{code}_")):
            return code
    return None


def languages_text() -> str:
    """Return ``en (English), de (Deutsch)``."""
    return ", ".join(f"{code} ({name})" for code, name in LANGUAGES.items())


class Voices:
    """Whom the keeper speaks to in which language: as last read of the store.  A `SpeechOf`."""

    def __init__(self, otherwise: str = ENGLISH.language) -> None:
        """`otherwise`: for chats that chose none."""
        self.otherwise = otherwise
        self._chosen: Mapping[str, str] = {}

    def __call__(self, chat: str) -> Speech:
        """Return the language of a chat."""
        return speech_of(self.language(chat))

    def language(self, chat: str) -> str:
        """Return its code."""
        return self._chosen.get(chat, self.otherwise)

    def learn(self, chosen: Mapping[str, str]) -> None:
        """Take what chats chose, in place of what was known."""
        self._chosen = dict(chosen)
