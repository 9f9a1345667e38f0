"""How far a price is trusted, and what it is compared with."""

from collections.abc import Mapping

from pydantic import (
    Field,
    PositiveFloat,
    PositiveInt,
    field_validator,
)

from keeper.model import Cause, Stance
from keeper.settings.section import Section
from keeper.settings.values import (
    Addresses,
    AddressValue,
    Names,
    UsdValue,
)
from keeper.units import Base

EXCHANGES = ("coinbase", "kraken", "bitstamp")
"""Whose public tickers `keeper.reference.exchanges` can read."""


class Oracles(Section):
    """When a price is not a price."""

    grace_s: int = Field(
        120,
        ge=0,
        description="A feed is stale this long after its heartbeat was missed; daily ones at 216.",
    )
    trusted_sources: Addresses = Field(
        (), description="Price sources believed although they cannot be traced to a feed."
    )
    heartbeats_s: Mapping[AddressValue, PositiveInt] = Field(
        default_factory=dict, description="Heartbeat of a feed, by its address, in seconds."
    )
    max_jump_percent: PositiveInt = Field(
        20, description="An answer that moves further between two blocks is doubted."
    )
    jump_hold_s: int = Field(
        600, ge=0, description="It is believed when it lasted this long, or a reference agrees."
    )
    max_difference_bps: PositiveInt = Field(
        300, description="A price further than this from its reference is doubted; 300 is 3 %."
    )
    sequencer_grace_s: int = Field(
        3600, ge=0, description="How long a rollup's prices are doubted after it was down."
    )
    queue_every_s: PositiveInt = Field(
        300,
        description="How often a chain's payloads_controller is asked what governance queued.",
    )
    policy: Mapping[Cause, Stance] = Field(
        default_factory=dict,
        description=(
            "What is done about a cause of doubt, such as stale, jump, capped or disagrees: "
            "alert, hold_liquidations, protect_anyway or hold_all."
        ),
    )


class References(Section):
    """Independent prices that the protocol's own are compared with; none by default."""

    feeds: Mapping[AddressValue, AddressValue] = Field(
        default_factory=dict, description="Another feed in USD for an asset, address to address."
    )
    exchanges: Names = Field(
        (), description="Public tickers to ask: coinbase, kraken, bitstamp; no account is needed."
    )
    tickers: Mapping[str, str] = Field(
        default_factory=dict,
        description="What exchanges call an asset, by its symbol; WETH is ETH and WBTC is BTC.",
    )
    every_s: PositiveFloat = Field(15.0, description="How often exchanges are asked.")
    quotes: Names = Field(
        ("USDC", "USDT", "DAI", "WETH"),
        description="Tokens whose Uniswap v3 pools are looked for, by symbol, best first.",
    )
    window_s: PositiveInt = Field(
        300, description="Over how long a pool's price is averaged, in seconds."
    )
    min_depth_usd: UsdValue = Field(
        Base(1_000_000 * 10**8), description="A pool must be this deep to be heard."
    )
    min_sources: PositiveInt = Field(1, description="Fewer sources than this make no reference.")
    max_age_s: PositiveInt = Field(120, description="An older quote is not counted.")

    @field_validator("exchanges")
    @classmethod
    def _known_exchanges(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if name not in EXCHANGES:
                raise ValueError(f"names {name!r}: there is {', '.join(EXCHANGES)}")
        return value
