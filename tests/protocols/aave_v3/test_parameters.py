"""What differs between two readings of a market, and the later one as if nothing had."""

from dataclasses import replace
from typing import Any

import pytest
from eth_abi.abi import encode as abi_encode
from eth_utils.crypto import keccak

from keeper.errors import BadAnswer
from keeper.model import Address, Asset, Call, CallResult, Failed, Returned
from keeper.protocols.aave_v3 import governance
from keeper.protocols.aave_v3.market import Market, Observed, Reserve
from keeper.protocols.aave_v3.parameters import changes, without
from keeper.protocols.aave_v3.view import bind
from keeper.units import RAY, Base, Bps
from tests.protocols.aave_v3.builders import (
    BLOCK,
    DAI,
    ETH_CORRELATED,
    LST,
    USDC,
    WETH,
    collateral,
    debt,
    drive,
    holdings,
    market,
    number,
    observed,
)

CONTROLLER = number(0x60)
WAD = 10**18


def reading(**made: Any) -> tuple[Market, Observed]:
    at = market(**made)
    return at, observed(at)


def configured(
    pair: tuple[Market, Observed], reserve_id: int, **fields: Any
) -> tuple[Market, Observed]:
    """`pair` with other fields in one reserve's configuration."""
    states = tuple(
        replace(s, configuration=replace(s.configuration, **fields)) if s.id == reserve_id else s
        for s in pair[1].reserves
    )
    return pair[0], replace(pair[1], reserves=states)


def said(before: tuple[Market, Observed], after: tuple[Market, Observed]) -> list[str]:
    return [str(change) for change in changes(before, after)]


def test_prices_indices_and_balances_are_no_parameters() -> None:
    before = reading()
    prices = tuple(None if p is None else Base(p + 1) for p in before[1].prices)
    states = tuple(
        replace(s, liquidity_index=s.liquidity_index + 1, updated_at=s.updated_at + 12)
        for s in before[1].reserves
    )
    after = (before[0], replace(before[1], prices=prices, reserves=states))

    assert changes(before, after) == ()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"liquidation_threshold": Bps(7_801)}, "liquidation threshold 83.00 % -> 78.01 %"),
        ({"supply_cap": 0}, "supply cap 1,800,000 -> none"),
        ({"frozen": True}, "frozen no -> yes"),
        ({"paused": True}, "paused no -> yes"),
        ({"active": False}, "active yes -> no"),
        ({"liquidation_bonus": Bps(10_750)}, "liquidation bonus 105.00 % -> 107.50 %"),
        ({"ltv": Bps(0)}, "loan to value 80.50 % -> 0.00 %"),
    ],
)
def test_each_field_that_differs_is_said_with_both_values(
    fields: dict[str, Any], words: str
) -> None:
    before = configured(
        reading(), WETH,
        liquidation_threshold=Bps(8_300), supply_cap=1_800_000, ltv=Bps(8_050),
        liquidation_bonus=Bps(10_500), frozen=False, paused=False, active=True,
    )  # fmt: skip

    assert said(before, configured(before, WETH, **fields)) == [f"WETH: {words}"]


def test_an_e_mode_that_is_made_changed_or_unmade_is_said() -> None:
    before = reading()
    mode = before[0].e_modes[ETH_CORRELATED]
    less = replace(
        mode,
        liquidation_threshold=Bps(9_000),
        collateral_bitmap=mode.collateral_bitmap & ~(1 << LST),
    )
    changed = (replace(before[0], e_modes={ETH_CORRELATED: less}), before[1])
    gone = (replace(before[0], e_modes={}), before[1])
    name = f"e-mode {ETH_CORRELATED} ({mode.label})"
    was = f"{mode.liquidation_threshold / 100:.2f}"

    assert mode.collateral_bitmap >> LST & 1
    lst = next(r.asset.symbol for r in before[0].reserves if r.id == LST)
    assert said(before, changed) == [
        f"{name}: liquidation threshold {was} % -> 90.00 %",
        f"{name}: {lst} as collateral yes -> no",
    ]
    assert said(before, gone) == [f"{name}: set up yes -> no"]
    assert said(gone, before) == [f"{name}: set up no -> yes"]


def test_a_reserve_that_is_listed_or_dropped_is_said_once() -> None:
    before = reading()
    fewer = (
        replace(before[0], reserves=before[0].reserves[1:]),
        replace(before[1], reserves=before[1].reserves[1:]),
    )

    assert said(before, fewer) == ["WETH: listed yes -> no"]
    assert said(fewer, before) == ["WETH: listed no -> yes"]


def relisted(pair: tuple[Market, Observed], reserve_id: int, new: Reserve) -> Any:
    """`pair` with `new` in the place of a reserve that was dropped, its indices at one."""
    reserves = tuple(new if r.id == reserve_id else r for r in pair[0].reserves)
    states = tuple(
        replace(s, liquidity_index=RAY, debt_index=RAY) if s.id == reserve_id else s
        for s in pair[1].reserves
    )
    return replace(pair[0], reserves=reserves), replace(pair[1], reserves=states)


@pytest.mark.parametrize("source", [number(0xBAD), None])
def test_an_id_that_is_given_to_another_asset_is_one_unlisted_and_one_listed(
    source: Address | None,
) -> None:
    before = reading()
    old = next(r for r in before[0].reserves if r.id == DAI)
    asset = Asset(address=number(0xFE5), symbol="NEW", decimals=18)
    new = replace(old, asset=asset, a_token=number(0xA70), source=source or old.source)
    again = replace(old, a_token=number(0xA70))

    assert said(before, relisted(before, DAI, new)) == [
        "DAI: listed yes -> no",
        "NEW: listed no -> yes",
    ]
    assert said(before, relisted(before, DAI, again)) == [
        "DAI: listed yes -> no",
        "DAI: listed no -> yes",
    ]


def test_without_a_relisting_nothing_of_the_new_asset_stands_under_the_id() -> None:
    before = reading()
    old = next(r for r in before[0].reserves if r.id == DAI)
    asset = Asset(address=number(0xFE5), symbol="NEW", decimals=18)
    after = relisted(before, DAI, replace(old, asset=asset, a_token=number(0xA70)))

    market_, undone = without(before, after)

    assert market_ == before[0]
    assert undone.reserves == before[1].reserves
    assert undone.prices[DAI] is None
    # and a balance of the new asset is not valued as one of the old
    with pytest.raises(BadAnswer, match="DAI"):
        bind(market_, undone, BLOCK, {}).contract_health(holdings(collateral(DAI, WAD)))


def test_without_the_change_health_is_what_it_was_and_prices_are_the_later_ones() -> None:
    before = reading()
    held = holdings(collateral(WETH, 10 * WAD), debt(USDC, 9_000 * 10**6))
    prices = tuple(None if p is None else Base(p * 99 // 100) for p in before[1].prices)
    moved = (before[0], replace(before[1], prices=prices))
    lower = configured(moved, WETH, liquidation_threshold=Bps(5_000))

    undone = without(before, lower)

    health = [
        bind(*pair, BLOCK, {}).contract_health(held).health_factor
        for pair in (moved, undone, lower)
    ]
    assert health[0] == health[1]
    assert health[2] < health[1]


def test_without_a_new_source_the_price_is_the_last_one_of_the_old() -> None:
    before = reading()
    other = tuple(
        replace(r, source=number(0xBAD)) if r.id == WETH else r for r in before[0].reserves
    )
    prices = list(before[1].prices)
    prices[WETH], prices[USDC] = Base(112_000_000), Base(99_900_000)
    after = (replace(before[0], reserves=other), replace(before[1], prices=tuple(prices)))

    undone = without(before, after)[1]

    assert said(before, after) == [
        f"WETH: price source {before[0].reserves[0].source} -> {number(0xBAD)}"
    ]
    assert undone.prices[WETH] == before[1].prices[WETH]
    assert undone.prices[USDC] == Base(99_900_000)


# --- what governance queued -------------------------------------------------------------------


def payload_bytes(queued_at: int, delay: int, grace: int) -> bytes:
    kinds = "(address,uint8,uint8,uint40,uint40,uint40,uint40,uint40,uint40,uint40,"
    kinds += "(address,bool,uint8,uint256,string,bytes)[])"
    action = (number(0xAC), True, 1, 0, "execute()", b"")
    fields = (number(0xC4), 1, 2, 5, queued_at, 0, 0, 9, delay, grace, [action])
    return abi_encode([kinds], [fields])


def controller(states: dict[int, int], body: CallResult) -> Any:
    def answer(call: Call) -> CallResult:
        assert call.to == CONTROLLER
        argument = int.from_bytes(call.data[4:], "big")
        match call.data[:4]:
            case governance.GET_PAYLOADS_COUNT:
                return Returned(len(states).to_bytes(32, "big"))
            case governance.GET_PAYLOAD_STATE:
                return Returned(states[argument].to_bytes(32, "big"))
            case _:
                return body

    return answer


def test_selectors_are_those_of_the_published_signatures() -> None:
    for selector, signature in (
        (governance.GET_PAYLOADS_COUNT, "getPayloadsCount()"),
        (governance.GET_PAYLOAD_STATE, "getPayloadState(uint40)"),
        (governance.GET_PAYLOAD_BY_ID, "getPayloadById(uint40)"),
        (governance.EXECUTE_PAYLOAD, "executePayload(uint40)"),
    ):
        assert selector == keccak(text=signature)[:4]


def test_only_what_is_queued_is_asked_for_and_its_times_are_read() -> None:
    states = dict.fromkeys(range(50), 3) | {44: 2}
    body = Returned(payload_bytes(1_795_000_007, 86_400, 604_800))

    queue, batches = drive(governance.queued_payloads(CONTROLLER), controller(states, body))

    assert batches == [1, governance.LOOK_BACK, 1]
    [queued] = queue
    assert queued.name == "payload 44"
    assert queued.from_s == 1_795_000_007 + 86_400 + 1
    assert queued.until_s == queued.from_s + 604_799
    assert queued.runs.data == governance.EXECUTE_PAYLOAD + (44).to_bytes(32, "big")


@pytest.mark.parametrize(
    "body",
    [
        Failed("reverted"),
        Returned(b""),
        Returned(b"\xff" * 64),
        Returned(b"\xff" * 10_000),
        Returned((32).to_bytes(32, "big") + b"\xff" * 32 * 12),
    ],
)
def test_a_controller_that_answers_nonsense_is_a_bad_answer_and_nothing_else(
    body: CallResult,
) -> None:
    with pytest.raises(BadAnswer, match=r"getPayloadById\(0\)"):
        drive(governance.queued_payloads(CONTROLLER), controller({0: 2}, body))


def test_nobody_has_queued_anything_where_there_are_no_payloads() -> None:
    queue, batches = drive(
        governance.queued_payloads(CONTROLLER), controller({}, Failed("never asked"))
    )

    assert (queue, batches) == ((), [1])
