"""What the checker of the kill -9 campaign found, added up over worlds."""

from collections import Counter
from dataclasses import dataclass, field, fields


@dataclass(slots=True, kw_only=True)
class Tally:
    """What was found."""

    trials: int = 0
    at: Counter[str] = field(default_factory=Counter)
    ways: Counter[str] = field(default_factory=Counter)
    duplicates: int = 0
    lost_intents: int = 0
    lost_alerts: int = 0
    shown: int = 0
    """Actions that everybody saw and only the relay was to see."""
    private: int = 0
    """Transactions that a relay was handed."""
    unbridled: int = 0
    """Reverts beyond what the breaker allows between two looks of a person."""
    reverts: int = 0
    misjudged: int = 0
    """Intents of which something else was told than the receipt's events say."""
    past_caps: int = 0
    """Transactions, or days, that cost more than the caps allow."""
    several: int = 0
    """Transactions that carried more than one intent."""
    carried: int = 0
    """Intents in those."""
    failed: int = 0
    """Intents that were mined and that others had been faster at."""
    repeated_alerts: int = 0
    unfinished: int = 0
    actions: int = 0
    cancelled: int = 0
    resumed_s: list[float] = field(default_factory=list)
    lots: list[str] = field(default_factory=list)
    """Seeds of worlds with a violation."""

    @property
    def violations(self) -> int:
        """All that must not be."""
        lost = self.duplicates + self.lost_intents + self.lost_alerts
        wrong = self.shown + self.unbridled + self.misjudged + self.past_caps
        return lost + wrong + self.unfinished

    def __add__(self, other: "Tally") -> "Tally":
        both = {f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)}
        return Tally(**both)
