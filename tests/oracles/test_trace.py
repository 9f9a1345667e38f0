import pytest

from keeper.errors import ConfigError
from keeper.model import Address, Failed, Returned, Source
from keeper.oracles.trace import ZERO_ADDRESS, TraceRules, trace
from tests.oracles.fakes import (
    REVERTED,
    Chain,
    Contract,
    adapter,
    address,
    asset,
    feed,
    points_to,
    round_data,
    text,
    word,
)

RULES = TraceRules()
ROOT, FEED, OTHER, TOKEN = address(1), address(2), address(3), address(4)
TOKEN_CONTRACT: Contract = {"decimals": word(18)}


def traced(contracts: dict[Address, Contract], rules: TraceRules = RULES) -> Source:
    (source,) = Chain(contracts).drive(trace(((asset(1), ROOT),), 1, rules))
    return source


def test_a_feed_is_its_own_leaf() -> None:
    source = traced({ROOT: feed("ETH / USD")})

    assert source.untraced == ""
    (leaf,) = source.feeds
    assert (leaf.address, leaf.description, leaf.decimals) == (ROOT, "ETH/USD", 8)
    assert (leaf.heartbeat_s, leaf.heartbeat_assumed) == (3600, False)
    assert source.path == (f"feed {ROOT}: ETH/USD",)


def test_a_capped_ratio_is_followed_to_its_base_and_ends_at_the_token() -> None:
    source = traced(
        {
            ROOT: adapter(BASE_TO_USD_AGGREGATOR=points_to(FEED), RATIO_PROVIDER=points_to(TOKEN)),
            FEED: feed("ETH / USD"),
            TOKEN: TOKEN_CONTRACT,
        }
    )

    assert source.untraced == ""
    assert [f.address for f in source.feeds] == [FEED]
    assert source.path == (
        f"ratio with a growing cap {ROOT}: Capped wstETH / ETH / USD",
        f"feed {FEED}: ETH/USD",
        f"ratio of the token's own contract {TOKEN}",
    )


def test_a_ratio_that_is_a_feed_has_to_be_fresh_too() -> None:
    source = traced(
        {
            ROOT: adapter(BASE_TO_USD_AGGREGATOR=points_to(FEED), RATIO_PROVIDER=points_to(OTHER)),
            FEED: feed("ETH / USD"),
            OTHER: feed("wstETH-stETH Exchange Rate"),
        }
    )

    assert [f.address for f in source.feeds] == [FEED, OTHER]


def test_a_ratio_that_is_a_price_without_a_time_is_not_trusted() -> None:
    source = traced(
        {
            ROOT: adapter(BASE_TO_USD_AGGREGATOR=points_to(FEED), RATIO_PROVIDER=points_to(OTHER)),
            FEED: feed("ETH / USD"),
            OTHER: {"latestAnswer": word(118)},
        }
    )

    assert source.untraced == f"{OTHER}: it says neither when it was updated nor from which feeds"


@pytest.mark.parametrize(
    ("getters", "kind"),
    [
        (("ASSET_TO_USD_AGGREGATOR",), "price with a fixed cap"),
        (
            ("ASSET_TO_USD_AGGREGATOR", "BASE_TO_USD_AGGREGATOR"),
            "price capped by another price",
        ),
        (("BASE_TO_PEG", "ASSET_TO_PEG"), "one feed through another"),
        (("PEG_TO_BASE", "ASSET_TO_PEG"), "one feed through another"),
        (("BASE_TO_PEG",), "feed times a fixed ratio"),
        (("REFERENCE_FEED",), "feed at a discount"),
        (("ETH_TO_USD",), "feed times a ratio"),
        (("CBETH_TO_BASE",), "feed times a ratio"),
    ],
)
def test_every_published_adapter_leads_to_all_of_its_feeds(
    getters: tuple[str, ...], kind: str
) -> None:
    below = (FEED, OTHER)[: len(getters)]
    pointers = {g: points_to(a) for g, a in zip(getters, below, strict=True)}

    source = traced({ROOT: adapter(**pointers), FEED: feed(), OTHER: feed("BTC / USD")})

    assert {f.address for f in source.feeds} == set(below)
    assert source.path[0].startswith(kind)
    assert source.untraced == ""


def test_a_principal_token_is_as_old_as_the_feed_of_its_asset() -> None:
    source = traced(
        {
            ROOT: adapter(
                ASSET_TO_USD_AGGREGATOR=points_to(FEED), PENDLE_PRINCIPAL_TOKEN=points_to(TOKEN)
            ),
            FEED: feed("USDe / USD"),
        }
    )

    assert source.path[0].startswith("principal token at a discount")
    assert [f.description for f in source.feeds] == ["USDe/USD"]


def test_adapters_of_adapters_are_followed() -> None:
    source = traced(
        {
            ROOT: adapter(BASE_TO_USD_AGGREGATOR=points_to(OTHER), RATIO_PROVIDER=points_to(TOKEN)),
            OTHER: adapter(ASSET_TO_USD_AGGREGATOR=points_to(FEED)),
            FEED: feed("USDC / USD"),
            TOKEN: TOKEN_CONTRACT,
        }
    )

    assert [f.address for f in source.feeds] == [FEED]
    assert source.untraced == ""


def test_an_adapter_that_also_answers_rounds_is_not_taken_for_a_feed() -> None:
    source = traced(
        {
            ROOT: feed(ASSET_TO_USD_AGGREGATOR=points_to(FEED)),
            FEED: feed("USDC / USD"),
        }
    )

    assert [f.address for f in source.feeds] == [FEED]


@pytest.mark.parametrize("getter", ["price", "PRICE", "GHO_PRICE"])
def test_a_fixed_price_has_no_feeds_and_is_traced(getter: str) -> None:
    functions = {getter: word(10**8)}

    source = traced({ROOT: {"latestAnswer": word(10**8), "decimals": word(8), **functions}})

    assert source.feeds == ()
    assert source.untraced == ""
    assert source.path == (f"fixed price {ROOT}",)


def test_a_written_price_that_is_not_the_answered_one_is_not_fixed() -> None:
    source = traced({ROOT: {"latestAnswer": word(10**8 - 1), "price": word(10**8)}})

    assert source.untraced == f"{ROOT}: it says neither when it was updated nor from which feeds"


def test_a_source_that_says_only_a_price_is_untraced() -> None:
    source = traced({ROOT: {"latestAnswer": word(10**8), "decimals": word(8)}})

    assert source.feeds == ()
    assert source.untraced == f"{ROOT}: it says neither when it was updated nor from which feeds"


def test_a_tokens_own_contract_is_a_ratio_and_never_a_price_source() -> None:
    source = traced({ROOT: TOKEN_CONTRACT})

    assert source.untraced == f"{ROOT}: it answers nothing that a price source answers"


def test_no_contract_and_no_source_are_untraced() -> None:
    (nowhere, none) = Chain({}).drive(trace(((asset(1), ROOT), (asset(2), ZERO_ADDRESS)), 1, RULES))

    assert nowhere.untraced == f"{ROOT}: there is no contract at that address"
    assert none.untraced == "the market's oracle has no source for it"


def test_a_getter_that_names_nothing_is_untraced() -> None:
    source = traced({ROOT: adapter(BASE_TO_PEG=word(0))})

    assert "BASE_TO_PEG() answered something that is not a contract's address" in source.untraced


def test_a_loop_ends_and_is_untraced() -> None:
    source = traced(
        {
            ROOT: adapter(BASE_TO_PEG=points_to(OTHER)),
            OTHER: adapter(BASE_TO_PEG=points_to(ROOT)),
        }
    )

    assert source.untraced == f"{ROOT} refers back to itself"


def test_a_chain_of_adapters_without_end_is_cut() -> None:
    endless = {address(n): adapter(BASE_TO_PEG=points_to(address(n + 1))) for n in range(1, 50)}
    chain = Chain(endless)

    (source,) = chain.drive(trace(((asset(1), ROOT),), 1, RULES))

    assert len(chain.batches) == RULES.max_depth
    assert "lies deeper than 6 contracts" in source.untraced


def test_a_source_with_too_many_contracts_costs_itself_only() -> None:
    getters = ("BASE_TO_PEG", "ASSET_TO_PEG", "PEG_TO_BASE", "ETH_TO_USD", "DAI_TO_USD")
    wide: dict[Address, Contract] = {
        address(n): adapter(**{g: points_to(address(5 * n + i)) for i, g in enumerate(getters, 10)})
        for n in range(1, 400)
    }
    good = address(0xFEED)
    chain = Chain({**wide, good: feed()})

    hostile, fine = chain.drive(trace(((asset(1), ROOT), (asset(2), good)), 1, RULES))

    assert hostile.untraced == "there are more than 24 contracts under it"
    assert fine.untraced == ""
    assert sum(len(batch) for batch in chain.batches) < 1_500


def test_contracts_that_many_sources_share_are_asked_once() -> None:
    contracts: dict[Address, Contract] = {FEED: feed()}
    roots = tuple(address(0x100 + n) for n in range(8))
    contracts |= {r: adapter(ASSET_TO_USD_AGGREGATOR=points_to(FEED)) for r in roots}
    chain = Chain(contracts)

    sources = chain.drive(trace(tuple((asset(i), r) for i, r in enumerate(roots)), 1, RULES))

    asked = [call.to for batch in chain.batches for call in batch]
    assert len(chain.batches) == 3  # adapters, the feed, its aggregator's bounds
    assert asked.count(FEED) == asked.count(roots[0])
    assert len({s.feeds for s in sources}) == 1


def test_a_proxy_without_a_round_yet_is_a_feed() -> None:
    source = traced({ROOT: feed(latestRoundData=Failed("No data present"))})

    assert [f.address for f in source.feeds] == [ROOT]


def test_a_feed_without_an_aggregator_says_so() -> None:
    source = traced({ROOT: feed("XAU / USD", aggregator=REVERTED)})

    assert source.path == (f"feed that names no aggregator {ROOT}: XAU/USD",)


def test_a_feed_with_impossible_decimals_is_untraced() -> None:
    source = traced({ROOT: feed(decimals=word(255))})

    assert source.feeds == ()
    assert "decimals() answered 255" in source.untraced


def test_garbage_for_a_round_is_no_feed() -> None:
    source = traced({ROOT: {"latestRoundData": Returned(b"\xff" * 10_000)}})

    assert source.untraced == f"{ROOT}: latestRoundData() answers something that is no round"


def test_a_hostile_description_is_made_harmless() -> None:
    source = traced({ROOT: feed(description=text(b"\xff\xfe<b>\x1b[2J" + b"A" * 5_000))})

    (leaf,) = source.feeds
    assert len(leaf.description) <= 64
    assert leaf.description.isprintable()


def test_a_nameless_feed_is_called_by_its_address() -> None:
    source = traced({ROOT: feed(description=REVERTED)})

    assert source.feeds[0].description == f"feed {ROOT}"


def test_an_unknown_heartbeat_is_a_day_and_assumed() -> None:
    source = traced({ROOT: feed("PEPE / MOON")})

    (leaf,) = source.feeds
    assert (leaf.heartbeat_s, leaf.heartbeat_assumed) == (86_400, True)


def test_the_operators_heartbeat_counts_before_the_published_one() -> None:
    rules = TraceRules(overrides_s={ROOT: 77})

    source = traced({ROOT: feed("ETH / USD", latestRoundData=round_data())}, rules)

    (leaf,) = source.feeds
    assert (leaf.heartbeat_s, leaf.heartbeat_assumed) == (77, False)


def test_a_heartbeat_of_zero_does_not_start() -> None:
    with pytest.raises(ConfigError, match="must be above 0"):
        TraceRules(overrides_s={ROOT: 0})
