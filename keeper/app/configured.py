"""Rules of the configuration as they are used: by the accounts that are watched at the time.

A label may come into being while the keeper runs, by /watch or ``keeper watch``; a rule that names
it speaks from the next block on.
"""

from collections.abc import Sequence

import structlog

from keeper.model import Rule, Watch
from keeper.settings import Settings
from keeper.settings.people import Unwatched

log = structlog.get_logger()


class ConfiguredRules:
    """Reads them anew whenever other accounts are watched; logs once which of them are silent."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._watches: tuple[Watch, ...] | None = None
        self._rules: tuple[Rule, ...] = ()
        self._unwatched: frozenset[Unwatched] = frozenset()

    def __call__(self, watches: Sequence[Watch]) -> tuple[Rule, ...]:
        """Return those that can speak while `watches` is what is watched."""
        if self._settings.alerts.rules and self._watches != tuple(watches):
            self._watches = tuple(watches)
            self._rules, unwatched = self._settings.rules(watches)
            for one in unwatched:
                if one not in self._unwatched:
                    log.warning("rule.unwatched", chat=one.chat, rule=one.text, remedy=one.remedy)
            self._unwatched = frozenset(unwatched)
        return self._rules
