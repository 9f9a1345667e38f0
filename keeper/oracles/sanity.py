"""Is it a price at all: units, and arithmetic that an adapter must satisfy.

A ratio read as dollars (cbETH at $1.12) and 8 decimals read as 18 have each cost millions; both
can be seen without a market to compare with.
"""

from collections.abc import Sequence
from typing import Final

from keeper.model import Cap, CapReading, Cause, Failed, FeedVerdict, Source
from keeper.units import Base

DOLLARS: Final = frozenset({"USD", "USDC", "USDT", "DAI"})
PRODUCT_TOLERANCE_BPS: Final = 10
"""Adapters round each step; they do not lose a thousandth."""


def unit_fault(source: Source, price_decimals: int) -> str:
    """Return why `source` cannot be a price in dollars of `price_decimals`; empty if it can.

    A source whose feeds all name a quote currency, none of them dollars, is a ratio.  Feeds that
    name none, and sources that are not traced whole, are not judged.
    """
    if source.decimals is not None and source.decimals != price_decimals:
        return (
            f"its price source has {source.decimals} decimals, the market counts in "
            f"{price_decimals}"
        )
    quotes = [_quote(feed.description) for feed in source.feeds]
    if source.untraced or source.fixed or not quotes or not all(quotes):
        return ""
    if DOLLARS.isdisjoint(quotes):
        feeds = " and ".join(feed.description for feed in source.feeds)
        return f"it is priced by {feeds} alone, which is a ratio and no price in USD"
    return ""


def _quote(description: str) -> str:
    """``ETH/USD`` is quoted in ``USD``; empty where a description names no pair."""
    _, slash, quote = description.rpartition("/")
    words = quote.upper().split()
    return words[0] if slash and words else ""


def cap_fault(
    cap: Cap,
    said: CapReading | Failed,
    feeds: Sequence[FeedVerdict],
    price: Base | None,
) -> tuple[Cause, str] | None:
    """Return what is wrong with a cap: it bites, or its numbers do not make the price."""
    if isinstance(said, Failed):
        return Cause.CAP_BROKEN, f"its cap cannot be read, {said.reason}"
    if said.cap is not None and said.snapshot_ratio is not None:
        if said.snapshot_ratio > said.ratio > 0:
            below = _percent(said.ratio, said.snapshot_ratio)
            return (
                Cause.CAP_BROKEN,
                f"its ratio is {below} of the snapshot that the cap grows from",
            )
        if fault := _product(cap, said, feeds, price):
            return Cause.CAP_BROKEN, fault
    if said.capped:
        room = said.headroom_bps
        by = "" if room is None else f": the ratio is {-room / 100:.2f} % above it"
        return Cause.CAPPED, f"its price is held down by the adapter's cap{by}"
    return None


def _product(cap: Cap, said: CapReading, feeds: Sequence[FeedVerdict], price: Base | None) -> str:
    """Base times the lesser of ratio and cap is the price, where one feed makes the base."""
    base = next((v for v in feeds if v.feed.address == cap.base), None)
    if (
        base is None
        or base.answer is None
        or not cap.ratio_decimals
        or said.cap is None
        or not price
    ):
        return ""
    expected = base.answer * min(said.ratio, said.cap) // 10**cap.ratio_decimals
    if abs(expected - price) * 10_000 <= PRODUCT_TOLERANCE_BPS * max(expected, price):
        return ""
    return (
        f"base {base.answer} times ratio {min(said.ratio, said.cap)} is {expected}, "
        f"the protocol answers {price}"
    )


def _percent(part: int, whole: int) -> str:
    return f"{part * 100 / whole:.2f} %"
