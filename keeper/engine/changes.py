"""Parameters between two readings of a market: what differs, and what that makes of positions.

Health factors before and after are both of the later block, by the contract's own arithmetic: only
parameters and price sources differ, so that a price that moves beside them is no part of it.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from keeper.errors import BadAnswer
from keeper.model import (
    Address,
    BlockRef,
    Changed,
    Effect,
    Holdings,
    ParameterChange,
    PositionId,
    PriceVerdict,
)
from keeper.ports import ComparingAdapter, LendingAdapter
from keeper.units import Base


@dataclass(frozen=True, slots=True, kw_only=True)
class LastRead:
    """A market as it was read at one block: what `discover` learnt and what `observe` read."""

    block: BlockRef
    read: tuple[Any, Any]
    caps: Mapping[Address, tuple[int | None, ...]]
    """The ratios that price caps grow from, by price source."""


def last_read(block: BlockRef, read: tuple[Any, Any], prices: Iterable[PriceVerdict]) -> LastRead:
    """Return what is kept of a reading to compare the next one with."""
    caps = {p.source.address: tuple(cap.snapshot_ratio for cap in p.caps) for p in prices}
    return LastRead(block=block, read=read, caps=caps)


class Comparison:
    """Compares readings of one market, for the accounts whose holdings it is told."""

    def __init__(
        self,
        adapter: LendingAdapter[Any, Any],
        accounts: Iterable[Address],
        holdings: Callable[[Address], Holdings | None],
    ) -> None:
        """`holdings`: of an account that the later reading did not bring."""
        self._adapter = adapter
        self._accounts = tuple(sorted(accounts))
        self._holdings = holdings

    def happened(self, before: LastRead, after: LastRead) -> Changed | None:
        """Return what governance changed between two blocks, None for nothing.

        The price that a cap gave before it was moved is that of the block before.
        """
        moved: dict[int, ParameterChange] = {}
        for reserve, asset, source in self._adapter.sources(after.read[0]):
            was, now = before.caps.get(source, ()), after.caps.get(source, ())
            if was and now and was != now and None not in (*was, *now):
                moved[reserve] = ParameterChange(
                    subject=asset.symbol,
                    parameter="price cap grows from a ratio of",
                    was=", ".join(map(str, was)),
                    now=", ".join(map(str, now)),
                )
        return self._changed(after.block, before.read, after.read, moved)

    def would(self, before: LastRead, supposed: BlockRef, after: tuple[Any, Any]) -> Changed | None:
        """Return what `after`, read at `supposed`, differs in from `before`; None for nothing.

        Nothing happened between them but what was supposed to: so that a price that is another
        one, of the same source, is part of it.
        """
        moved: dict[int, ParameterChange] = {}
        there, then = before.read[1].prices, after[1].prices
        for reserve, asset, _ in self._adapter.sources(before.read[0]):
            was = there[reserve]
            now = then[reserve] if reserve < len(then) else None
            if was is not None and now is not None and was != now:
                moved[reserve] = ParameterChange(
                    subject=asset.symbol, parameter="price", was=_usd(was), now=_usd(now)
                )
        return self._changed(supposed, before.read, after, moved)

    def _changed(
        self,
        block: BlockRef,
        before: tuple[Any, Any],
        after: tuple[Any, Any],
        moved: Mapping[int, ParameterChange],
    ) -> Changed | None:
        """`moved`: what changed besides parameters, by the reserve whose price it is about."""
        adapter = self._adapter
        if not isinstance(adapter, ComparingAdapter):
            return None
        here, there = (
            {
                reserve: (asset.address, source)
                for reserve, asset, source in self._adapter.sources(read[0])
            }
            for read in (before, after)
        )
        same = {r: change for r, change in moved.items() if here.get(r) == there.get(r)}
        changes = (*adapter.changes(before, after), *same.values())
        if not changes:
            return None
        undone = adapter.without(before, after, frozenset(same))
        return Changed(
            market=self._adapter.id, changes=changes, effects=self._effects(block, undone, after)
        )

    def _effects(
        self, block: BlockRef, undone: tuple[Any, Any], after: tuple[Any, Any]
    ) -> tuple[Effect, ...]:
        was, now = (self._adapter.view(*read, block, {}) for read in (undone, after))
        held = {holdings.account: holdings for holdings in after[1].holdings}
        effects: list[Effect] = []
        for account in self._accounts:
            if (holdings := held.get(account, self._holdings(account))) is None:
                continue
            try:
                before = was.contract_health(holdings).health_factor
                health = now.contract_health(holdings).health_factor
            except BadAnswer:
                continue  # not even the contract could say: the position is told of as unknown
            if before != health:
                position = PositionId(market=self._adapter.id, account=account)
                effects.append(Effect(position=position, before=before, after=health))
        return tuple(sorted(effects, key=lambda effect: effect.after))


def _usd(price: Base) -> str:
    return f"{price / 10**8:,.8g}"
