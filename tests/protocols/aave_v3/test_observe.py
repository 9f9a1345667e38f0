"""Reading without a chain: how many batches, what a failure costs, whom logs speak of."""

from collections.abc import Callable, Iterable
from dataclasses import replace

import pytest
from eth_abi.abi import encode as abi_encode

from keeper.errors import BadAnswer
from keeper.model import (
    Address,
    Call,
    CallResult,
    Failed,
    Hash,
    Holdings,
    Log,
    ReadAccounts,
    Returned,
    Side,
    Touched,
)
from keeper.protocols.aave_v3 import codec, topics
from keeper.protocols.aave_v3.adapter import AaveV3
from keeper.protocols.aave_v3.market import Market, Observed
from keeper.protocols.aave_v3.observe import observe, observe_accounts

from . import builders as b


class Chain:
    """Answers for the market of `builders`; what is in `failing` reverts."""

    def __init__(self, market: Market) -> None:
        self.market = market
        self.bitmaps: dict[Address, int] = {}
        self.e_modes: dict[Address, int] = {}
        self.scaled: dict[tuple[Address, Address], int] = {}
        self.listed: dict[int, Address] = {}
        self.failing: set[tuple[Address, bytes]] = set()
        self.asked: list[Call] = []

    def holds(self, account: Address, reserve: int, side: Side, scaled: int) -> None:
        bit = 2 * reserve + (side is Side.COLLATERAL)
        self.bitmaps[account] = self.bitmaps.get(account, 0) | 1 << bit
        for r in self.market.reserves:
            if r.id == reserve:
                token = r.a_token if side is Side.COLLATERAL else r.debt_token
                self.scaled[token, account] = scaled

    def __call__(self, call: Call) -> CallResult:
        self.asked.append(call)
        selector = call.data[:4]
        argument = Address("0x" + call.data[16:36].hex()) if len(call.data) > 4 else Address("")
        if (call.to, selector) in self.failing:
            return Failed("execution reverted")
        return Returned(self._answer(call.to, selector, argument))

    def _answer(self, to: Address, selector: bytes, argument: Address) -> bytes:
        match selector:
            case codec.GET_RESERVE_DATA:
                return self._reserve(argument)
            case codec.GET_ASSET_PRICE:
                return _word(b.PRICES[int(argument, 16) - 0xA00])
            case codec.SCALED_TOTAL_SUPPLY:
                return _word(10**24 if int(to, 16) < 0xC00 else 7 * 10**23)
            case codec.GET_SUPPLY_DATA:
                return b"".join(map(_word, (1_234_567, 1_290_007, 10**25, b.NOW)))
            case codec.GET_USER_CONFIGURATION:
                return _word(self.bitmaps.get(argument, 0))
            case codec.GET_USER_E_MODE:
                return _word(self.e_modes.get(argument, 0))
            case codec.SCALED_BALANCE_OF:
                return _word(self.scaled[to, argument])
            case codec.GET_RESERVE_ADDRESS_BY_ID:
                return _word(int(self.listed.get(int(argument, 16), "0x0"), 16))
            case codec.IS_LIQUIDATION_ALLOWED:
                return _word(1)
        raise AssertionError(selector.hex())

    def _reserve(self, asset: Address) -> bytes:
        r = next(r for r in self.market.reserves if r.asset.address == asset)
        decimals = b.CONFIGURATIONS[r.id].decimals
        return abi_encode(
            ["uint256"] * 8 + ["address"] * 4 + ["uint256"] * 3,
            [
                *(decimals << 48, 10**27, 0, 10**27, 0, 0, b.NOW, r.id),
                *(r.a_token, "0x" + "00" * 20, r.debt_token, "0x" + "00" * 20, 0, 0, 0),
            ],
        )


def _word(value: int) -> bytes:
    return value.to_bytes(32, "big")


def knows(*holdings: Holdings) -> Callable[[Address], Holdings | None]:
    by_account = {h.account: h for h in holdings}
    return by_account.get


def read(
    chain: Chain, accounts: Iterable[Address], known: Callable[[Address], Holdings | None]
) -> tuple[Observed, list[int]]:
    return b.drive(observe(chain.market, tuple(accounts), known), chain)


@pytest.fixture
def chain() -> Chain:
    made = Chain(b.market())
    made.holds(b.ALICE, b.WETH, Side.COLLATERAL, 123_456_789)
    made.holds(b.ALICE, b.USDC, Side.DEBT, 987_654)
    return made


ALICE_HOLDS = b.holdings(b.collateral(b.WETH, 123_456_789), b.debt(b.USDC, 987_654))


def test_a_known_account_costs_one_batch_and_a_stranger_two(chain: Chain) -> None:
    known, sizes = read(chain, [b.ALICE], knows(ALICE_HOLDS))
    strange, more = read(chain, [b.ALICE], knows())

    assert known.holdings == strange.holdings == (ALICE_HOLDS,)
    # five reserves at four calls, and the account's bitmap, e-mode and two balances
    assert sizes == [24]
    assert more == [22, 2]


def test_who_has_more_than_was_asked_for_can_be_left_and_a_stranger_is_not(chain: Chain) -> None:
    partly = b.holdings(b.collateral(b.WETH, 123_456_789))
    chain.holds(b.BOB, b.WETH, Side.COLLATERAL, 7)
    steps = observe(chain.market, (b.ALICE, b.BOB), knows(partly), whole=False)

    seen, sizes = b.drive(steps, chain)

    assert seen.unfinished == (b.ALICE,)
    assert seen.holdings == (b.holdings(b.collateral(b.WETH, 7), account=b.BOB),)
    assert seen.unreadable == ()
    assert sizes == [25, 1]  # of the stranger what his bitmap revealed, of the other nothing


def test_accounts_alone_are_read_without_the_market(chain: Chain) -> None:
    steps = observe_accounts(chain.market, (b.ALICE, b.BOB), knows(ALICE_HOLDS))

    read, sizes = b.drive(steps, chain)

    assert read == ReadAccounts(holdings=(ALICE_HOLDS, b.holdings(account=b.BOB)), unreadable=())
    assert sizes == [6]


def test_a_balance_that_is_expected_to_be_new_needs_no_second_batch(chain: Chain) -> None:
    expected = b.holdings(b.collateral(b.WETH, 123_456_789), b.debt(b.USDC, 0))

    seen, sizes = read(chain, [b.ALICE], knows(expected))

    assert seen.holdings == (ALICE_HOLDS,)
    assert len(sizes) == 1


def test_a_flag_without_a_balance_is_an_entry_of_nothing(chain: Chain) -> None:
    chain.holds(b.ALICE, b.DAI, Side.DEBT, 0)
    flagged = b.holdings(
        b.collateral(b.WETH, 123_456_789), b.debt(b.USDC, 987_654), b.debt(b.DAI, 0)
    )

    for known in (knows(), knows(ALICE_HOLDS), knows(flagged)):
        assert read(chain, [b.ALICE], known)[0].holdings == (flagged,)


def test_a_balance_whose_bit_is_gone_is_left_out(chain: Chain) -> None:
    expected = b.holdings(*ALICE_HOLDS.entries, b.debt(b.DAI, 5))
    chain.scaled[b.RESERVES[3].debt_token, b.ALICE] = 0

    seen, sizes = read(chain, [b.ALICE], knows(expected))

    assert seen.holdings == (ALICE_HOLDS,)
    assert len(sizes) == 1


def test_an_account_of_nothing_is_a_fact(chain: Chain) -> None:
    seen, sizes = read(chain, [b.BOB], knows())

    assert seen.holdings == (b.holdings(account=b.BOB),)
    assert len(sizes) == 1


def test_an_account_named_twice_is_read_once(chain: Chain) -> None:
    seen, _ = read(chain, [b.ALICE, b.ALICE], knows())

    assert len(seen.holdings) == 1


def test_a_failing_price_costs_its_price_only(chain: Chain) -> None:
    market = replace(chain.market, oracle=b.number(0xEEE))
    chain.market = market

    def answer(call: Call) -> CallResult:
        if call.data[:4] == codec.GET_ASSET_PRICE and call.data[-1] == b.USDC:
            return Failed("execution reverted")
        return chain(call)

    seen, _ = b.drive(observe(market, (b.ALICE,), knows()), answer)

    assert seen.prices[b.USDC] is None
    assert seen.prices[b.GAP] is None
    assert [seen.prices[i] for i in (b.WETH, b.WBTC)] == [b.PRICES[b.WETH], b.PRICES[b.WBTC]]
    assert seen.holdings == (ALICE_HOLDS,)


def test_an_unreadable_account_costs_itself_only_and_says_why(chain: Chain) -> None:
    chain.holds(b.BOB, b.DAI, Side.DEBT, 2**128)  # no uint128

    seen, _ = read(chain, [b.ALICE, b.BOB], knows())

    assert seen.holdings == (ALICE_HOLDS,)
    ((account, reason),) = seen.unreadable
    assert account == b.BOB
    assert "variable debt token balance" in reason


def test_a_bit_of_a_dropped_reserve_is_ignored_and_of_a_new_one_is_not(chain: Chain) -> None:
    chain.holds(b.ALICE, b.GAP, Side.COLLATERAL, 0)
    dropped, _ = read(chain, [b.ALICE], knows())
    chain.listed[b.GAP] = b.number(0xA04)
    listed, _ = read(chain, [b.ALICE], knows())

    assert dropped.holdings == (ALICE_HOLDS,)
    assert listed.holdings == ()
    assert "listed just now" in listed.unreadable[0][1]


def test_a_reserve_that_cannot_be_read_stops_the_block(chain: Chain) -> None:
    chain.failing.add((b.POOL, codec.GET_RESERVE_DATA))

    with pytest.raises(BadAnswer, match="getReserveData"):
        read(chain, [b.ALICE], knows())


@pytest.mark.parametrize(
    ("token", "selector", "said"),
    [
        (b.RESERVES[2].a_token, codec.SCALED_TOTAL_SUPPLY, (None, 7 * 10**23, 55_440)),
        (b.RESERVES[2].debt_token, codec.SCALED_TOTAL_SUPPLY, (10**24, None, 55_440)),
        (b.number(0x57AB), codec.GET_SUPPLY_DATA, (10**24, 7 * 10**23, None)),
    ],
)
def test_a_token_that_does_not_say_its_supply_costs_the_room_under_the_cap_only(
    token: Address, selector: bytes, said: tuple[int | None, ...]
) -> None:
    stable = tuple(replace(r, stable_debt_token=b.number(0x57AB)) for r in b.RESERVES[2:3])
    chain = Chain(b.market(1, reserves=(*b.RESERVES[:2], *stable, *b.RESERVES[3:])))
    chain.holds(b.ALICE, b.WETH, Side.COLLATERAL, 123_456_789)
    chain.failing.add((token, selector))

    seen, sizes = read(chain, [b.ALICE], knows())

    of = seen.reserves[2]
    # 1,290,007 is owed at stable rates, of which 1,234,567 was borrowed
    assert (of.scaled_supply, of.scaled_debt, of.stable_interest) == said
    others = {(r.scaled_supply, r.scaled_debt, r.stable_interest) for r in seen.reserves if r != of}
    assert others == {(10**24, 7 * 10**23, 0)}
    assert seen.holdings == (b.holdings(b.collateral(b.WETH, 123_456_789)),)
    # five reserves at four calls, one more of the stable debt
    assert sizes == [23, 1]


def test_the_room_under_a_cap_is_asked_only_where_somebody_may_want_to_supply() -> None:
    chain = Chain(b.market())

    steps = observe(chain.market, (), knows(), rooms={b.WBTC, b.LST, b.GAP})
    seen, sizes = b.drive(steps, chain)

    # data and price of five reserves, both totals of two; the gap is no reserve
    assert sizes == [14]
    asked = {call.to for call in chain.asked if call.data[:4] == codec.SCALED_TOTAL_SUPPLY}
    assert asked == {a for i in (1, 4) for a in (b.RESERVES[i].a_token, b.RESERVES[i].debt_token)}
    said = {r.id: (r.scaled_supply, r.scaled_debt, r.stable_interest) for r in seen.reserves}
    assert said == {
        **dict.fromkeys((b.WETH, b.USDC, b.DAI), (None, None, None)),
        **dict.fromkeys((b.WBTC, b.LST), (10**24, 7 * 10**23, 0)),
    }


def test_a_sentinel_that_does_not_answer_allows_nothing() -> None:
    chain = Chain(b.market(sentinel=b.number(0x5E)))
    assert read(chain, [], knows())[0].liquidations_allowed
    chain.failing.add((b.number(0x5E), codec.IS_LIQUIDATION_ALLOWED))

    assert not read(chain, [], knows())[0].liquidations_allowed


# --- logs -------------------------------------------------------------------------------------

ADAPTER = AaveV3(b.MARKET, b.number(0xF1))


def topic(account: str) -> Hash:
    return Hash("0x" + account[2:].rjust(64, "0"))


def log(address: Address, *of: Hash) -> Log:
    return Log(
        address=address, topics=of, data=b"", block_number=1, block_hash=Hash("0x"), log_index=0
    )


def test_a_debt_transfer_makes_a_borrower_and_any_transfer_touches_both() -> None:
    usdc = b.RESERVES[2]
    zero = topic("0x0")
    logs = (
        log(usdc.debt_token, topics.TRANSFER, zero, topic(b.ALICE)),
        log(usdc.a_token, topics.TRANSFER, topic(b.BOB), topic(b.number(0x77))),
    )

    touched = ADAPTER.touched(b.market(), logs)

    assert touched.accounts == {b.ALICE, b.BOB, b.number(0x77)}
    assert touched.borrowers == {b.ALICE}
    assert not touched.parameters
    assert touched.moved == {
        b.ALICE: {(2, Side.DEBT)},
        b.BOB: {(2, Side.COLLATERAL)},
        b.number(0x77): {(2, Side.COLLATERAL)},
    }


def test_flags_and_e_modes_touch_their_account() -> None:
    logs = (
        log(
            b.POOL,
            topics.RESERVE_USED_AS_COLLATERAL_DISABLED,
            topic(b.number(0xA00)),
            topic(b.ALICE),
        ),
        log(b.POOL, topics.USER_E_MODE_SET, topic(b.BOB)),
    )

    assert ADAPTER.touched(b.market(), logs).accounts == {b.ALICE, b.BOB}


@pytest.mark.parametrize(
    ("place", "table"),
    [(0xF1, topics.PROVIDER), (0xF2, topics.CONFIGURATOR), (0xF3, topics.ORACLE)],
)
def test_an_event_of_a_parameter_contract_has_everything_discovered_again(
    place: int, table: dict[str, Hash]
) -> None:
    for signature, first in table.items():
        touched = ADAPTER.touched(b.market(), (log(b.number(place), first),))

        assert touched.parameters, signature
        assert not touched.accounts


def test_logs_of_others_and_odd_logs_are_ignored() -> None:
    usdc = b.RESERVES[2]
    logs = (
        log(usdc.asset.address, topics.TRANSFER, topic(b.BOB), topic(b.ALICE)),
        log(usdc.debt_token),
        log(usdc.debt_token, topics.TRANSFER, topic(b.ALICE)),
        log(b.POOL, topics.USER_E_MODE_SET),
        log(b.number(0x99), next(iter(topics.CONFIGURATOR.values()))),
    )

    touched = ADAPTER.touched(b.market(), logs)

    assert touched == Touched(accounts=frozenset(), borrowers=frozenset(), parameters=False)


def test_the_filters_name_every_token_and_history_needs_debts_only() -> None:
    market = b.market()
    wanted, history = ADAPTER.log_filter(market), ADAPTER.backfill_filter(market)

    assert {r.a_token for r in market.reserves} <= set(wanted.addresses)
    assert {market.pool, market.configurator, market.oracle, market.provider} <= set(
        wanted.addresses
    )
    assert set(history.addresses) == {r.debt_token for r in market.reserves}
    assert history.topics0 == (topics.TRANSFER,)
