"""What is known of one Aave v3 market: what only governance changes, and what a block says.

`Market` is discovered from the PoolAddressesProvider alone; `ReserveState` and `Observed` are read
at one block.  Nothing here computes.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from keeper.model import Address, Asset, Holdings, MarketId
from keeper.protocols.aave_v3.rules import Rules
from keeper.units import Base, Bps


@dataclass(frozen=True, slots=True, kw_only=True)
class Reserve:
    """One listed asset with its tokens."""

    id: int
    """Its place in the Pool's bitmaps; ids have gaps where a reserve was dropped."""
    asset: Asset
    a_token: Address
    debt_token: Address
    stable_debt_token: Address | None
    """Up to 3.1, where the market has one."""
    source: Address
    """`AaveOracle.getSourceOfAsset`."""
    grace_until: int = 0
    """No liquidations at or before this instant; 0 for none.  From 3.1 on, set by governance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EMode:
    """One e-mode category."""

    id: int
    label: str
    """As the chain says it: escape it before it is shown."""
    liquidation_threshold: Bps
    liquidation_bonus: Bps
    collateral_bitmap: int
    """3.2+: bit `reserve id`.  Before, reserves name their category in their configuration."""
    price_source: Address | None
    """Up to 3.1 a category may price its assets by a feed of its own."""
    ltv: Bps = Bps(0)  # noqa: RUF009 - a NewType of int is immutable
    """3.6+; not read before."""
    ltv_zero_bitmap: int = 0
    """3.6+: collaterals of the category whose loan to value is 0 all the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Market:
    """One deployment, as its own contracts describe it."""

    id: MarketId
    provider: Address
    pool: Address
    configurator: Address
    oracle: Address
    sentinel: Address | None
    """Price oracle sentinel, on L2s."""
    rules: Rules
    base_unit: int
    """`BASE_CURRENCY_UNIT`: 10**8 where the base currency is the US dollar."""
    flash_loan_premium: Bps
    reserves: tuple[Reserve, ...]
    """By id."""
    e_modes: Mapping[int, EMode]
    """By category id; categories that were never set are absent."""

    @property
    def id_bound(self) -> int:
        """One more than the greatest reserve id."""
        return self.reserves[-1].id + 1 if self.reserves else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """The fields of a reserve's configuration bitmap that matter here."""

    ltv: Bps
    liquidation_threshold: Bps
    liquidation_bonus: Bps
    decimals: int
    active: bool
    frozen: bool
    paused: bool
    supply_cap: int
    """Whole tokens; 0 means none."""
    reserve_factor: Bps
    protocol_fee: Bps
    """The protocol's share of the liquidation bonus."""
    e_mode: int
    """Up to 3.1: the reserve's one category."""
    borrow_cap: int = 0
    """Whole tokens; 0 means none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReserveState:
    """One reserve as stored at a block: nothing accrued yet."""

    id: int
    configuration: Configuration
    liquidity_index: int
    liquidity_rate: int
    debt_index: int
    debt_rate: int
    """Rates in ray per year, indices in ray."""
    updated_at: int
    accrued_to_treasury: int
    """Scaled units of the aToken not yet minted: they count towards the supply cap."""
    scaled_supply: int | None
    """`aToken.scaledTotalSupply`; None where it was not answered or asked for, as the two that
    follow.  All three are for the supply cap alone."""
    scaled_debt: int | None
    """`variableDebtToken.scaledTotalSupply`: the treasury's share of its interest is minted to it
    by whoever supplies next."""
    stable_interest: int | None
    """What all stable-rate debt together has grown since somebody last borrowed or repaid any; 0
    where there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """One read of one market at one block; satisfies `ports.Observation`."""

    reserves: tuple[ReserveState, ...]
    """In the market's order."""
    prices: tuple[Base | None, ...]
    """By reserve id, base units per whole token; None where the oracle did not answer, and in
    gaps of the ids."""
    e_mode_prices: Mapping[int, Base | None]
    """Of the categories that have a price source of their own (up to 3.1)."""
    liquidations_allowed: bool
    """What the sentinel says; True where there is none."""
    holdings: tuple[Holdings, ...]
    unreadable: tuple[tuple[Address, str], ...]
    """Accounts that could not be read, and why."""
    unfinished: tuple[Address, ...] = ()
    """Known accounts that have a balance which was not asked for."""
