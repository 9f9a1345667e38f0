"""From settings to what the keeper may do: nothing that was not asked for."""

from pathlib import Path

import pytest

from keeper.app.aggregators import aggregators_of, listed
from keeper.app.hands import asset_named, hand_of, liquidation_of, policy_of, pricing_of
from keeper.engine.market import WatchedMarket
from keeper.errors import ConfigError
from keeper.execution.liquidator import LIQUIDATE, LIQUIDATE_EACH, LIQUIDATE_OVER
from keeper.execution.policy import SigningPolicy
from keeper.log import redact
from keeper.model import Address, Asset, Intent, IntentKind, PositionId
from keeper.settings import Aggregator, Settings, load
from keeper.strategies.alert_only import AlertOnly
from keeper.strategies.liquidate import Liquidate
from keeper.strategies.waterfall import Waterfall
from keeper.units import WAD, Base, Raw, Wad, Wei
from tests.engine import fakes as tiny

OWNER = Address("0x" + "0e" * 20)
ACCOUNT = Address("0x" + "a1" * 20)
SELECTOR = bytes.fromhex("00a718a9")
KEY = "0x" + "59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d"
ARMED = f"""
[signing]
armed_chain_ids = [31337]
private_key = "{KEY}"
max_per_tx_usd = "1234.5"
max_per_day_usd = "9999"
max_gas_per_tx_eth = "0.07"
max_gas_per_day_eth = "0.3"
"""


class Adapter(tiny.Adapter):
    """The tiny market, with a function of each kind."""

    def actions(self, market: str) -> tuple[tuple[IntentKind, Address, bytes], ...]:
        return tuple((kind, tiny.POOL, SELECTOR + kind.encode()) for kind in IntentKind)


def settings(folder: Path, more: str = "") -> Settings:
    config = folder / "keeper.toml"
    config.write_text(
        f"""
[chains.local]
chain_id = 31337
rpc_urls = ["http://127.0.0.1:1"]
markets = [
    {{ name = "tiny", addresses_provider = "{tiny.POOL}" }},
    {{ name = "another", addresses_provider = "{tiny.OWNER}" }},
]
{more}
""",
        encoding="utf-8",
    )
    return load(config, {}, env_file=None)


@pytest.fixture
def market() -> WatchedMarket[str, tiny.Seen]:
    made = tiny.watched_market()
    made.adapter = Adapter()
    made._market = "discovered"
    return made


def test_by_default_it_only_watches(tmp_path: Path, market: WatchedMarket[str, tiny.Seen]) -> None:
    hand = hand_of(settings(tmp_path), market, None)

    assert hand.owner is None
    assert hand.protections == {}
    assert isinstance(hand.otherwise, AlertOnly)


def test_a_chain_that_is_not_armed_may_sign_nothing(
    tmp_path: Path, market: WatchedMarket[str, tiny.Seen]
) -> None:
    of = settings(tmp_path, "[liquidate]\nenabled = true\n")

    policy = policy_of(of, of.select()[0], {"tiny": market})

    assert policy == SigningPolicy()


def test_armed_it_may_approve_and_what_is_configured_within_the_caps(
    tmp_path: Path, market: WatchedMarket[str, tiny.Seen]
) -> None:
    of = settings(tmp_path, ARMED + "[liquidate]\nenabled = true\n")

    policy = policy_of(of, of.select()[0], {"tiny": market})

    assert {p.kind for p in policy.permissions} == {IntentKind.LIQUIDATE, IntentKind.APPROVE}
    assert {t.selector for t in policy.targets} == {
        SELECTOR + b"liquidate",
        SELECTOR + b"approve",
    }
    assert {t.chain_id for t in policy.targets} == {31337}
    assert policy.max_spend == Base(1_234_50000000)
    assert policy.max_gas_wei == Wei(7 * 10**16)


def test_a_protected_account_is_never_liquidated_and_neither_is_the_keepers_own(
    tmp_path: Path, market: WatchedMarket[str, tiny.Seen]
) -> None:
    of = settings(
        tmp_path,
        f"""
[liquidate]
enabled = true
[protect.main]
account = "{ACCOUNT}"
strategy = ["top_up", "repay"]
below = "1.10"
target = "1.25"
max_per_tx_usd = "5000"
assets = ["usd", "ETH"]
""",
    )

    hand = hand_of(of, market, OWNER)

    assert isinstance(hand.otherwise, Liquidate)
    assert set(hand.otherwise.protected) == {ACCOUNT, OWNER}
    protection = hand.protections[ACCOUNT]
    assert isinstance(protection, Waterfall)
    first, second = protection.strategies
    assert (first.name, second.name) == ("top_up", "repay")
    assert first.bounds.assets == (tiny.USD.address, tiny.ETH.address)  # type: ignore[attr-defined]
    assert first.bounds.below == Wad(110 * WAD // 100)  # type: ignore[attr-defined]


def test_liquidations_named_for_another_market_are_not_made_in_this_one(
    tmp_path: Path, market: WatchedMarket[str, tiny.Seen]
) -> None:
    of = settings(tmp_path, '[liquidate]\nenabled = true\nmarkets = ["another"]\n')

    assert isinstance(hand_of(of, market, OWNER).otherwise, AlertOnly)


def test_an_asset_is_found_by_symbol_or_address(market: WatchedMarket[str, tiny.Seen]) -> None:
    assert asset_named("eth", market) == tiny.ETH
    assert asset_named(tiny.USD.address.upper().replace("0X", "0x"), market) == tiny.USD


def test_an_asset_that_is_not_listed_is_refused_with_what_there_is(
    market: WatchedMarket[str, tiny.Seen],
) -> None:
    with pytest.raises(ConfigError, match="tiny lists no asset 'DOGE': it has ETH, USD"):
        asset_named("DOGE", market)


@pytest.mark.parametrize(
    ("amount", "decimals", "spends"),
    [(Raw(3), 0, 3_039), (Raw(1), 18, 1), (Raw(0), 18, 0), (Raw(10**18 + 1), 18, 1_014)],
)
def test_what_an_intent_spends_is_rounded_up_against_the_keeper(
    tmp_path: Path,
    market: WatchedMarket[str, tiny.Seen],
    amount: Raw,
    decimals: int,
    spends: int,
) -> None:
    of = settings(tmp_path)
    pricing = pricing_of(of.select()[0], {"tiny": market})
    block = tiny.Chain().head
    view = tiny.View(tiny.MARKET, block, 1_013, {})
    asset = Asset(address=tiny.ETH.address, symbol="ETH", decimals=decimals)
    intent = Intent(
        intent_id="i",
        kind=IntentKind.TOP_UP,
        position=PositionId(market=tiny.MARKET, account=ACCOUNT),
        block=block,
        asset=asset,
        amount=amount,
        value_at_risk=Base(0),
        health_before=Wad(0),
        reason="",
    )

    # amount * 1,013 / 10**decimals, rounded up
    assert pricing.spends(intent, view) == spends


def test_a_liquidation_by_command_spares_whom_the_configuration_protects(
    tmp_path: Path, market: WatchedMarket[str, tiny.Seen]
) -> None:
    more = f"""
[protect.main]
account = "{ACCOUNT}"
below = "1.1"
target = "1.3"
max_per_tx_usd = "100"
[liquidate]
min_profit_usd = "17"
max_debt_usd = "1300"
"""

    strategy = liquidation_of(settings(tmp_path, more), market, OWNER)

    assert set(strategy.protected) == {ACCOUNT, OWNER}
    assert (strategy.min_profit, strategy.max_debt) == (17 * 10**8, 1300 * 10**8)


def test_calls_of_aggregators_are_signed_only_where_there_are_some(
    tmp_path: Path, market: WatchedMarket[str, tiny.Seen]
) -> None:
    of = settings(tmp_path, ARMED + "[liquidate]\nenabled = true\n")
    router = Address("0x" + "ab" * 20)
    one = Aggregator.model_validate({"kind": "0x", "targets": (router,)})
    plain = of.select()[0].model_copy(update={"liquidator": OWNER})
    asking = plain.model_copy(update={"aggregators": (one,)})

    found = [
        {t.selector for t in policy_of(of, chain, {"tiny": market}).targets if t.to == OWNER}
        for chain in (plain, asking)
    ]

    assert found[0] == {LIQUIDATE, LIQUIDATE_EACH}
    assert found[1] == {LIQUIDATE, LIQUIDATE_EACH, LIQUIDATE_OVER}
    assert listed(asking) == ((router,), (router,))


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "No such file"), (b"\n", "no key of 0x"), (b"a\nb", "no key"), (b"\xff", "no text")],
)
def test_a_key_that_cannot_be_read_is_said_and_not_repeated(
    tmp_path: Path, content: bytes | None, said: str
) -> None:
    file = tmp_path / "key"
    if content is not None:
        file.write_bytes(content)
    one = Aggregator.model_validate({"kind": "0x", "targets": (OWNER,), "api_key_file": file})
    chain = settings(tmp_path).select()[0].model_copy(update={"aggregators": (one,)})

    with pytest.raises(ConfigError, match=said):
        aggregators_of(chain)


def test_a_key_that_was_read_is_never_printed(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("aggr3g4t0rs-own-k3y\n", encoding="ascii")
    one = Aggregator.model_validate({"kind": "1inch", "targets": (OWNER,), "api_key_file": file})

    aggregators_of(settings(tmp_path).select()[0].model_copy(update={"aggregators": (one,)}))

    assert redact("it was aggr3g4t0rs-own-k3y") == "it was ***"
