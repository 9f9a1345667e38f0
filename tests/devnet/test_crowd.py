"""The crowd is the same each time, and holds what it promises whatever its size."""

from collections import Counter
from decimal import Decimal

import pytest

from keeper.devnet import market
from keeper.devnet.deployer import account, created_address
from keeper.devnet.deployment import DeployedUniswap, Deployment
from keeper.devnet.feeds import to_answer
from keeper.devnet.seed import Wish, crowd
from keeper.model import Address

NOWHERE = Address("0x" + "00" * 20)

DEPLOYMENT = Deployment(
    protocol="aave_v3_6",
    chain_id=31337,
    rpc_url="",
    ws_url="",
    deployment_block=1,
    pool=NOWHERE,
    addresses_provider=NOWHERE,
    configurator=NOWHERE,
    oracle=NOWHERE,
    data_provider=NOWHERE,
    acl_manager=NOWHERE,
    ratio_provider=NOWHERE,
    reserves=(),
    feeds=(),
    uniswap=DeployedUniswap(
        factory=NOWHERE, router=NOWHERE, quoter=NOWHERE, position_manager=NOWHERE, pools=()
    ),
    accounts=(account("alice"), account("bob")),
)


def _health(wish: Wish) -> Decimal:
    """Threshold over debt at the start's prices, in exact decimals."""
    threshold = sum(
        (
            _usd(symbol, amount)
            * (market.E_MODE_BPS[1] if wish.e_mode else _threshold_bps(symbol))
            / 10_000
            for symbol, amount in wish.supplies
        ),
        Decimal(0),
    )
    return threshold / sum((_usd(symbol, amount) for symbol, amount in wish.borrows), Decimal(0))


def _usd(symbol: str, amount: int) -> Decimal:
    return Decimal(amount).scaleb(-market.reserve(symbol).decimals) * market.start_price(symbol)


def _threshold_bps(symbol: str) -> int:
    return market.reserve(symbol).liquidation_threshold_bps


def test_the_same_number_makes_the_same_crowd() -> None:
    assert crowd(DEPLOYMENT, 200, 1) == crowd(DEPLOYMENT, 200, 1)
    assert crowd(DEPLOYMENT, 200, 1) != crowd(DEPLOYMENT, 200, 2)


@pytest.mark.parametrize("positions", [0, 1, 2, 3, 4, 11, 60, 200])
def test_a_crowd_has_as_many_as_asked_for(positions: int) -> None:
    wishes = crowd(DEPLOYMENT, positions, 1)

    assert len({wish.account for wish in wishes}) == positions
    assert sum(not wish.borrows for wish in wishes) == (positions >= 3)


def test_every_kind_is_there() -> None:
    kinds = Counter(wish.kind for wish in crowd(DEPLOYMENT, 200, 1))

    assert set(kinds) == {"mixed", "e_mode", "isolated", "dust", "no_debt", "alice", "bob"}
    assert (kinds["alice"], kinds["bob"], kinds["no_debt"]) == (1, 1, 1)


def test_nobody_starts_below_one_and_many_start_near_it() -> None:
    healths = sorted(_health(wish) for wish in crowd(DEPLOYMENT, 200, 1) if wish.borrows)

    assert healths[0] > Decimal("1.02")
    assert healths[-1] < Decimal("3.01")
    assert 30 < sum(health < Decimal("1.10") for health in healths) < 90


def test_nobody_borrows_more_than_his_collateral_allows() -> None:
    for wish in crowd(DEPLOYMENT, 200, 1):
        limit = sum(
            _usd(symbol, amount)
            * (market.E_MODE_BPS[0] if wish.e_mode else market.reserve(symbol).ltv_bps)
            for symbol, amount in wish.supplies
        )

        assert sum(_usd(symbol, amount) for symbol, amount in wish.borrows) * 10_000 < limit


def test_nobody_borrows_what_he_supplied() -> None:
    for wish in crowd(DEPLOYMENT, 200, 1):
        supplied = {symbol for symbol, _ in wish.supplies}

        assert supplied.isdisjoint(symbol for symbol, _ in wish.borrows)


def test_a_created_contracts_address_is_known_beforehand() -> None:
    # The first contract of Anvil's first account, as every local chain has it.
    sender = Address("0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266")

    assert created_address(sender, 0) == "0x5fbdb2315678afecb367f032d93f642f64180aa3"


def test_a_price_is_floored_to_the_feeds_decimals() -> None:
    assert to_answer("3512.372819539") == 351_237_281_953


@pytest.mark.parametrize("price", ["0", "-1", "0.000000001", "1000000.01"])
def test_a_price_the_aggregator_would_refuse_is_refused(price: str) -> None:
    with pytest.raises(ValueError, match="outside"):
        to_answer(price)
