"""What independent sources say together: a median of those that are deep and fresh enough.

One exchange has moved a feed alone (DAI at $1.30), and one has shown a depeg that nobody else saw
(USDe at $0.65): a reference is the median, and it is none where its sources contradict one another.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from keeper.errors import ConfigError
from keeper.model import Quote, Reference, Silent
from keeper.units import Base


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceRules:
    """Which quotes count.  Raises ConfigError where none could."""

    min_sources: int = 1
    """Fewer make no reference."""
    min_depth: Base = Base(1_000_000 * 10**8)  # noqa: RUF009 - a NewType of int is immutable
    """What a source must be deep that says how deep it is, base units."""
    max_age_s: int = 120
    """How old a quote may be."""
    agree_bps: int = 300
    """Within this of the median a source agrees with it."""

    def __post_init__(self) -> None:
        """Refuse what would let nothing through."""
        if min(self.min_sources, self.max_age_s, self.agree_bps) < 1 or self.min_depth < 0:
            raise ConfigError(
                f"references: min_sources {self.min_sources}, max_age_s {self.max_age_s} and "
                f"agree_bps {self.agree_bps} must be above 0"
            )


def combine(said: Sequence[Quote | Silent], rules: ReferenceRules) -> Reference:
    """Return the median of the quotes that count, each once; of two the mean, floored.

    No price: fewer than `min_sources`, or not more than half of them within `agree_bps` of the
    median.
    """
    counted: list[Quote] = []
    silent: list[Silent] = []
    for one in said:
        why = one.reason if isinstance(one, Silent) else _why_not(one, rules)
        if isinstance(one, Silent) or why:
            silent.append(Silent(source=one.source, reason=why))
        else:
            counted.append(one)
    price: Base | None = None
    reason = ""
    if len(counted) < rules.min_sources:
        reason = f"{len(counted)} sources answered, {rules.min_sources} are needed"
    else:
        middle = _median([quote.price for quote in counted])
        near = [q for q in counted if abs(q.price - middle) * 10_000 <= rules.agree_bps * middle]
        if 2 * len(near) > len(counted):
            price = Base(middle)
        else:
            low, high = (f(counted, key=lambda q: q.price) for f in (min, max))
            reason = (
                f"the sources contradict one another: {low.source} says {low.price / 10**8:,.6g}, "
                f"{high.source} {high.price / 10**8:,.6g}"
            )
    return Reference(price=price, quotes=tuple(counted), silent=tuple(silent), reason=reason)


def _why_not(quote: Quote, rules: ReferenceRules) -> str:
    if quote.price <= 0:
        return f"it says {quote.price}, a price is above 0"
    if quote.age_s > rules.max_age_s:
        return f"{quote.age_s} s old, {rules.max_age_s} s are allowed"
    if quote.depth is not None and quote.depth < rules.min_depth:
        there, floor = quote.depth // 10**8, rules.min_depth // 10**8
        return f"depth of {there:,} USD is below the floor of {floor:,} USD"
    return ""


def _median(prices: list[Base]) -> int:
    ordered = sorted(prices)
    half = len(ordered) // 2
    if len(ordered) % 2:
        return ordered[half]
    return (ordered[half - 1] + ordered[half]) // 2
