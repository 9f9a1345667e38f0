"""Which parameters of a market differ between two readings, and the market as it was without that.

What decides health: liquidation thresholds, e-mode categories, price sources; what decides whether
one can be saved or liquidated: bonus, loan to value, caps, and whether a reserve is active, frozen
or paused.  Prices, indices and balances are no parameters.
"""

from collections.abc import Iterator
from dataclasses import replace

from keeper.model import Address, ParameterChange
from keeper.protocols.aave_v3.codec import SYMBOL_CAP
from keeper.protocols.aave_v3.market import Configuration, EMode, Market, Observed, Reserve
from keeper.units import Base, Bps

Pair = tuple[Market, Observed]
"""What `discover` learnt, and what `observe` read by it."""

_NOTHING = "none"


def changes(before: Pair, after: Pair) -> tuple[ParameterChange, ...]:
    """Return what differs in `after`, the market's own first, then reserves by id, then e-modes."""
    return (*_market(before, after), *_reserves(before, after), *_e_modes(before[0], after[0]))


def without(before: Pair, after: Pair, repriced: frozenset[int] = frozenset()) -> Pair:
    """Return `after` as it would have been read had no parameter changed since `before`.

    Indices, rates, balances and prices are those of `after`.  The price of a reserve whose source
    is another one, or that is `repriced`, is that of `before`: nobody can ask for it any more.
    A reserve whose id another one has now is that of `before`, without a price: the Pool drops only
    what nobody holds or owes, and an entry of that id is about the other one.
    """
    market, seen = before
    relisted = _relisted(market, after[0])
    later = {state.id: state for state in after[1].reserves if state.id not in relisted}
    states = tuple(
        replace(later[state.id], configuration=state.configuration) if state.id in later else state
        for state in seen.reserves
    )
    moved = repriced | _repriced(market, after[0])
    prices: list[Base | None] = [None] * market.id_bound
    for reserve in market.reserves:
        source = seen if reserve.id in moved else after[1]
        if reserve.id < len(source.prices) and reserve.id not in relisted:
            prices[reserve.id] = source.prices[reserve.id]
    return market, replace(
        after[1],
        reserves=states,
        prices=tuple(prices),
        e_mode_prices=seen.e_mode_prices,
        liquidations_allowed=seen.liquidations_allowed,
    )


def _repriced(before: Market, after: Market) -> frozenset[int]:
    """Reserves whose price comes from elsewhere than before."""
    sources = {reserve.id: reserve.source for reserve in after.reserves}
    return frozenset(
        reserve.id
        for reserve in before.reserves
        if before.oracle != after.oracle or sources.get(reserve.id) != reserve.source
    )


def _relisted(before: Market, after: Market) -> frozenset[int]:
    """Ids that another reserve has now: a listing takes the first that is free."""
    now = {reserve.id: reserve for reserve in after.reserves}
    return frozenset(r.id for r in before.reserves if r.id in now and _another(r, now[r.id]))


def _another(one: Reserve, two: Reserve) -> bool:
    return (one.asset.address, one.a_token) != (two.asset.address, two.a_token)


def _market(before: Pair, after: Pair) -> Iterator[ParameterChange]:
    for parameter, was, now in (
        ("pool", before[0].pool, after[0].pool),
        ("price oracle", before[0].oracle, after[0].oracle),
        ("price oracle sentinel", before[0].sentinel, after[0].sentinel),
        ("pool revision", before[0].rules.revision, after[0].rules.revision),
    ):
        if was != now:
            yield _change("market", parameter, _text(was), _text(now))


def _reserves(before: Pair, after: Pair) -> Iterator[ParameterChange]:
    was = {r.id: (r, s) for r, s in zip(before[0].reserves, before[1].reserves, strict=True)}
    now = {r.id: (r, s) for r, s in zip(after[0].reserves, after[1].reserves, strict=True)}
    for reserve_id in sorted({*was, *now}):
        match was.get(reserve_id), now.get(reserve_id):
            case None, (reserve, _):
                yield _change(_name(reserve), "listed", "no", "yes")
            case (reserve, _), None:
                yield _change(_name(reserve), "listed", "yes", "no")
            case (old, _), (new, _) if _another(old, new):
                yield _change(_name(old), "listed", "yes", "no")
                yield _change(_name(new), "listed", "no", "yes")
            case (old, old_state), (new, new_state):
                if before[0].oracle == after[0].oracle and old.source != new.source:
                    yield _change(_name(new), "price source", old.source, new.source)
                pair = (old_state.configuration, new_state.configuration)
                for parameter, one, two in _fields(*pair):
                    yield _change(_name(new), parameter, one, two)


def _fields(was: Configuration, now: Configuration) -> Iterator[tuple[str, str, str]]:
    """Yield (parameter, before, after) of what differs."""
    if was == now:
        return
    for parameter, one, two in (
        ("liquidation threshold", was.liquidation_threshold, now.liquidation_threshold),
        ("loan to value", was.ltv, now.ltv),
        ("liquidation bonus", was.liquidation_bonus, now.liquidation_bonus),
        ("liquidation protocol fee", was.protocol_fee, now.protocol_fee),
        ("reserve factor", was.reserve_factor, now.reserve_factor),
    ):
        if one != two:
            yield parameter, _percent(one), _percent(two)
    for parameter, before, after in (
        ("active", was.active, now.active),
        ("frozen", was.frozen, now.frozen),
        ("paused", was.paused, now.paused),
    ):
        if before != after:
            yield parameter, _yes(before), _yes(after)
    for parameter, a, b in (
        ("supply cap", was.supply_cap, now.supply_cap),
        ("e-mode category", was.e_mode, now.e_mode),
    ):
        if a != b:
            yield parameter, _number(a), _number(b)


def _e_modes(before: Market, after: Market) -> Iterator[ParameterChange]:
    for i in sorted({*before.e_modes, *after.e_modes}):
        match before.e_modes.get(i), after.e_modes.get(i):
            case None, EMode() as made:
                yield _change(_category(made), "set up", "no", "yes")
            case EMode() as gone, None:
                yield _change(_category(gone), "set up", "yes", "no")
            case EMode() as was, EMode() as now:
                yield from _e_mode(was, now, after)


def _e_mode(was: EMode, now: EMode, market: Market) -> Iterator[ParameterChange]:
    name = _category(now)
    for parameter, one, two in (
        ("liquidation threshold", was.liquidation_threshold, now.liquidation_threshold),
        ("liquidation bonus", was.liquidation_bonus, now.liquidation_bonus),
    ):
        if one != two:
            yield _change(name, parameter, _percent(one), _percent(two))
    if was.price_source != now.price_source:
        yield _change(name, "price source", _text(was.price_source), _text(now.price_source))
    moved = was.collateral_bitmap ^ now.collateral_bitmap
    names = {reserve.id: _name(reserve) for reserve in market.reserves}
    for reserve_id in range(moved.bit_length()):
        if moved >> reserve_id & 1:
            taken = bool(now.collateral_bitmap >> reserve_id & 1)
            asset = names.get(reserve_id, f"reserve {reserve_id}")
            yield _change(name, f"{asset} as collateral", _yes(not taken), _yes(taken))


def _change(subject: str, parameter: str, was: str, now: str) -> ParameterChange:
    return ParameterChange(subject=subject, parameter=parameter, was=was, now=now)


def _name(reserve: Reserve) -> str:
    return reserve.asset.symbol[:SYMBOL_CAP]


def _category(e_mode: EMode) -> str:
    return f"e-mode {e_mode.id} ({e_mode.label})" if e_mode.label else f"e-mode {e_mode.id}"


def _percent(bps: Bps) -> str:
    """Exactly: 10,000 is 100 %."""
    return f"{bps // 100}.{bps % 100:02d} %"


def _yes(value: bool) -> str:  # noqa: FBT001 - it is the value that is put into words
    return "yes" if value else "no"


def _number(value: int) -> str:
    return f"{value:,}" if value else _NOTHING


def _text(value: Address | int | None) -> str:
    return _NOTHING if value is None else str(value)
