"""What is read of a market at one block: reserves, prices and accounts, in one batch.

A second batch is needed only for balances that an account's bitmap reveals and nobody knew of.
One price source that fails costs its price, one account that cannot be read costs itself, and a
token that does not say its supply costs the room under that reserve's supply cap.  That room costs
two calls a reserve, as much as all else, and is asked for where somebody may be told to supply.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from enum import Enum

from keeper.errors import BadAnswer
from keeper.model import (
    Address,
    Call,
    CallResult,
    Entry,
    Failed,
    Holdings,
    ReadAccounts,
    Returned,
    Side,
)
from keeper.ports import Steps
from keeper.protocols.aave_v3 import codec
from keeper.protocols.aave_v3.codec import WORD, call
from keeper.protocols.aave_v3.discover import ZERO
from keeper.protocols.aave_v3.market import Market, Observed, Reserve, ReserveState
from keeper.units import Base


class Balance(Enum):
    """Which token of a reserve is asked."""

    COLLATERAL = "aToken"
    DEBT = "variable debt token"
    STABLE = "stable debt token"
    LISTED = "whether the id is listed"


Pair = tuple[int, Balance]
Totals = tuple[int | None, int | None, int | None]
NOT_ASKED: Totals = (None, None, None)


def observe(
    market: Market,
    accounts: Sequence[Address],
    known: Callable[[Address], Holdings | None],
    *,
    whole: bool = True,
    rooms: AbstractSet[int] | None = None,
) -> Steps[Observed]:
    """Read the market's state and `accounts`; `known` says which balances to expect.

    Not `whole`: whoever is known and has others is left `unfinished`.  `rooms`: the reserves whose
    room under the supply cap is asked for, all where None; a cap of the others counts as reached.
    """
    readers = _readers(market, accounts, known)
    asked = frozenset(r.id for r in market.reserves) if rooms is None else rooms
    calls = (*_market_calls(market, asked), *_account_calls(market, readers))
    answers = iter((yield calls))
    reserves, prices, e_mode_prices, allowed = _market_answers(market, asked, answers)
    for reader in readers:
        reader.take(answers)
    left = () if whole else tuple(r for r in readers if r.missing and r.known)
    read = yield from _finish(market, [r for r in readers if r not in left])
    return Observed(
        reserves=reserves,
        prices=prices,
        e_mode_prices=e_mode_prices,
        liquidations_allowed=allowed,
        holdings=read.holdings,
        unreadable=read.unreadable,
        unfinished=tuple(reader.account for reader in left),
    )


def observe_accounts(
    market: Market, accounts: Sequence[Address], known: Callable[[Address], Holdings | None]
) -> Steps[ReadAccounts]:
    """Read `accounts` alone, as `observe` does."""
    readers = _readers(market, accounts, known)
    answers = iter((yield tuple(_account_calls(market, readers))))
    for reader in readers:
        reader.take(answers)
    return (yield from _finish(market, readers))


# --- the market -------------------------------------------------------------------------------


def _market_calls(market: Market, rooms: AbstractSet[int]) -> Iterator[Call]:
    for reserve in market.reserves:
        asset = reserve.asset.address
        yield call(market.pool, codec.GET_RESERVE_DATA, asset)
        yield call(market.oracle, codec.GET_ASSET_PRICE, asset)
        if reserve.id in rooms:
            yield from _total_calls(reserve)
    for source in _own_sources(market).values():
        yield call(market.oracle, codec.GET_ASSET_PRICE, source)
    if market.sentinel is not None:
        yield call(market.sentinel, codec.IS_LIQUIDATION_ALLOWED)


def _total_calls(reserve: Reserve) -> Iterator[Call]:
    yield call(reserve.a_token, codec.SCALED_TOTAL_SUPPLY)
    yield call(reserve.debt_token, codec.SCALED_TOTAL_SUPPLY)
    if reserve.stable_debt_token is not None:
        yield call(reserve.stable_debt_token, codec.GET_SUPPLY_DATA)


def _own_sources(market: Market) -> dict[int, Address]:
    return {i: e.price_source for i, e in market.e_modes.items() if e.price_source is not None}


def _market_answers(
    market: Market, rooms: AbstractSet[int], answers: Iterator[CallResult]
) -> tuple[tuple[ReserveState, ...], tuple[Base | None, ...], dict[int, Base | None], bool]:
    prices: list[Base | None] = [None] * market.id_bound
    states: list[ReserveState] = []
    for reserve in market.reserves:
        data = next(answers)
        prices[reserve.id] = _price(next(answers))
        totals = _totals(reserve, answers) if reserve.id in rooms else NOT_ASKED
        states.append(_state(market, reserve, data, totals))
    e_mode_prices = {i: _price(next(answers)) for i in _own_sources(market)}
    allowed = True
    if market.sentinel is not None:
        said = next(answers)
        allowed = isinstance(said, Returned) and said.data == (1).to_bytes(WORD, "big")
    return tuple(states), tuple(prices), e_mode_prices, allowed


def _totals(reserve: Reserve, answers: Iterator[CallResult]) -> Totals:
    """Take scaled supply, scaled debt and the interest of stable debt."""
    supply, debt = _maybe(next(answers)), _maybe(next(answers))
    return supply, debt, 0 if reserve.stable_debt_token is None else _stable_interest(next(answers))


def _state(market: Market, reserve: Reserve, answer: CallResult, totals: Totals) -> ReserveState:
    asset = reserve.asset.address
    supply, debt, stable = totals
    data = codec.decode_reserve_data(answer, f"getReserveData({asset}) of {market.pool}")
    if (data.id, data.a_token, data.debt_token) != (
        reserve.id,
        reserve.a_token,
        reserve.debt_token,
    ):
        raise BadAnswer(
            f"getReserveData({asset}) of {market.pool} answered other tokens than were discovered."
        )
    return ReserveState(
        id=data.id,
        configuration=data.configuration,
        liquidity_index=data.liquidity_index,
        liquidity_rate=data.liquidity_rate,
        debt_index=data.debt_index,
        debt_rate=data.debt_rate,
        updated_at=data.updated_at,
        accrued_to_treasury=data.accrued_to_treasury,
        scaled_supply=supply,
        scaled_debt=debt,
        stable_interest=stable,
    )


def _maybe(answer: CallResult) -> int | None:
    try:
        return codec.uint(answer, "a token's total")
    except BadAnswer:
        return None


def _stable_interest(answer: CallResult) -> int | None:
    """What a stable debt token says it is owed less what was borrowed of it."""
    try:
        principal, total, _, _ = codec.words(answer, 4, "getSupplyData")
    except BadAnswer:
        return None
    return max(0, total - principal)


def _price(answer: CallResult) -> Base | None:
    """None for a source that reverts or answers something that is not one word."""
    if isinstance(answer, Failed) or len(answer.data) != WORD:
        return None
    return Base(int.from_bytes(answer.data, "big"))


# --- the accounts -----------------------------------------------------------------------------


def _readers(
    market: Market, accounts: Sequence[Address], known: Callable[[Address], Holdings | None]
) -> tuple["_Reader", ...]:
    listed = {r.id: r for r in market.reserves}
    return tuple(_Reader(listed, account, known(account)) for account in dict.fromkeys(accounts))


def _account_calls(market: Market, readers: Sequence["_Reader"]) -> Iterator[Call]:
    for reader in readers:
        yield call(market.pool, codec.GET_USER_CONFIGURATION, reader.account)
        yield call(market.pool, codec.GET_USER_E_MODE, reader.account)
        for pair in reader.guess:
            yield _balance_call(market, reader.listed, pair, reader.account)


def _finish(market: Market, readers: Sequence["_Reader"]) -> Steps[ReadAccounts]:
    """Ask for what the answers of the first batch revealed."""
    surprises = tuple((r, pair) for r in readers for pair in r.missing)
    if surprises:
        more = yield tuple(
            _balance_call(market, r.listed, pair, r.account) for r, pair in surprises
        )
        for (reader, pair), answer in zip(surprises, more, strict=True):
            reader.balances[pair] = answer
    holdings: list[Holdings] = []
    unreadable: list[tuple[Address, str]] = []
    for reader in readers:
        try:
            holdings.append(reader.holdings())
        except BadAnswer as error:
            unreadable.append((reader.account, str(error)))
    return ReadAccounts(holdings=tuple(holdings), unreadable=tuple(unreadable))


def _guess(listed: Mapping[int, Reserve], holdings: Holdings | None) -> tuple[Pair, ...]:
    if holdings is None:
        return ()
    pairs: list[Pair] = []
    for entry in holdings.entries:
        if entry.reserve not in listed:
            continue
        if entry.side is Side.COLLATERAL:
            pairs.append((entry.reserve, Balance.COLLATERAL))
        else:
            pairs += _debts(listed[entry.reserve])
    return tuple(pairs)


def _debts(reserve: Reserve) -> tuple[Pair, ...]:
    variable = (reserve.id, Balance.DEBT)
    if reserve.stable_debt_token is None:
        return (variable,)
    return (variable, (reserve.id, Balance.STABLE))


def _balance_call(
    market: Market, listed: Mapping[int, Reserve], pair: Pair, account: Address
) -> Call:
    reserve_id, balance = pair
    if balance is Balance.LISTED:
        return call(market.pool, codec.GET_RESERVE_ADDRESS_BY_ID, reserve_id)
    reserve = listed[reserve_id]
    match balance:
        case Balance.COLLATERAL:
            return call(reserve.a_token, codec.SCALED_BALANCE_OF, account)
        case Balance.DEBT:
            return call(reserve.debt_token, codec.SCALED_BALANCE_OF, account)
        case Balance.STABLE:
            assert reserve.stable_debt_token is not None
            return call(reserve.stable_debt_token, codec.BALANCE_OF, account)


class _Reader:
    """One account while it is being read."""

    def __init__(
        self, listed: Mapping[int, Reserve], account: Address, expected: Holdings | None
    ) -> None:
        self.account = account
        self.listed = listed
        self.known = expected is not None
        self.guess = _guess(listed, expected)
        """Balances asked for in the first batch."""
        self.balances: dict[Pair, CallResult] = {}
        self.missing: tuple[Pair, ...] = ()
        self._wanted: tuple[Pair, ...] = ()
        self._e_mode = 0
        self._reason = ""

    def take(self, answers: Iterator[CallResult]) -> None:
        """Consume this account's answers of the first batch; note what is missing."""
        bitmap, e_mode = next(answers), next(answers)
        self.balances = {pair: next(answers) for pair in self.guess}
        try:
            bits = codec.uint(bitmap, f"getUserConfiguration({self.account})")
            self._e_mode = codec.uint(e_mode, f"getUserEMode({self.account})", 8)
        except BadAnswer as error:
            self._reason = str(error)
            return
        self._wanted = tuple(_revealed(self.listed, bits))
        self.missing = tuple(pair for pair in self._wanted if pair not in self.balances)

    def holdings(self) -> Holdings:
        """Return what the account holds.  Raises BadAnswer naming what could not be read.

        A flag without a balance, as liquidations before 3.1 left them behind, is an entry of 0: the
        Pool asks for its price all the same.
        """
        if self._reason:
            raise BadAnswer(self._reason)
        entries: list[Entry] = []
        for pair in self._wanted:
            reserve_id, balance = pair
            what = f"{balance.value} balance of {self.account} in reserve {reserve_id}"
            if balance is Balance.LISTED:
                if codec.address(self.balances[pair], what) != ZERO:
                    raise BadAnswer(f"{self.account} uses reserve {reserve_id}, listed just now.")
                continue
            amount = codec.uint(self.balances[pair], what, 128)
            if balance is Balance.STABLE:
                if amount == 0:
                    continue
                raise BadAnswer(
                    f"{self.account} has a stable-rate debt in reserve {reserve_id}, "
                    "which this keeper does not compute."
                )
            side = Side.COLLATERAL if balance is Balance.COLLATERAL else Side.DEBT
            entries.append(Entry(reserve=reserve_id, side=side, scaled=amount))
        return Holdings(account=self.account, e_mode=self._e_mode, entries=tuple(entries))


def _revealed(listed: Mapping[int, Reserve], bits: int) -> Iterator[Pair]:
    """Yield what a bitmap says an account uses, by reserve id, collateral before debt.

    A bit may outlive its reserve: the Pool skips ids that are no longer listed, so they are asked.
    """
    reserve_id = 0
    while bits:
        borrows, collateral = bits & 1, bits & 2
        if (borrows or collateral) and reserve_id not in listed:
            yield reserve_id, Balance.LISTED
        elif borrows or collateral:
            if collateral:
                yield reserve_id, Balance.COLLATERAL
            if borrows:
                yield from _debts(listed[reserve_id])
        bits >>= 2
        reserve_id += 1
