"""What was deployed on a devnet, as one document that tools and tests read."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self, TypeVar

import msgspec

from keeper.errors import ConfigError
from keeper.model import Address

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployedFeed:
    """One Chainlink feed: a proxy and the aggregator behind it at the time of deployment."""

    name: str
    """``ETH/USD``; also its `description()`."""
    proxy: Address
    aggregator: Address
    """May rotate: ask ``proxy.aggregator()``."""
    decimals: int
    heartbeat_s: int
    price: str
    """The first answer, in dollars."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployedReserve:
    """One reserve of the market."""

    symbol: str
    reserve: int
    """Its id in the Pool."""
    asset: Address
    decimals: int
    a_token: Address
    variable_debt_token: Address
    source: Address
    """`AaveOracle.getSourceOfAsset`: a feed's proxy or an adapter."""
    feed: str
    """Name of the leaf feed."""
    ltv_bps: int
    liquidation_threshold_bps: int
    liquidation_bonus_bps: int
    isolated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployedPool:
    """One Uniswap v3 pool."""

    address: Address
    token0: Address
    token1: Address
    fee: int
    """Millionths."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployedUniswap:
    """Uniswap v3."""

    factory: Address
    router: Address
    quoter: Address
    position_manager: Address
    pools: tuple[DeployedPool, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """An account whose key is known to everyone: for this chain only."""

    name: str
    address: Address
    private_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Borrower:
    """An account with a position, and why it was made."""

    address: Address
    kind: str
    """``mixed``, ``e_mode``, ``isolated``, ``dust``, ``no_debt``, ``alice`` or ``bob``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """One market with all it stands on."""

    protocol: str
    """``aave_v3_6``."""
    chain_id: int
    rpc_url: str
    ws_url: str
    deployment_block: int
    """The Pool has no code before it."""
    pool: Address
    addresses_provider: Address
    configurator: Address
    oracle: Address
    data_provider: Address
    acl_manager: Address
    ratio_provider: Address
    """`RatioProvider` under the staked token's price; its owner is the deployer."""
    reserves: tuple[DeployedReserve, ...]
    feeds: tuple[DeployedFeed, ...]
    uniswap: DeployedUniswap
    accounts: tuple[Account, ...]
    borrowers: tuple[Borrower, ...] = ()

    def reserve(self, symbol: str) -> DeployedReserve:
        """The reserve of that symbol.  Raises `KeyError` naming those there are."""
        return _named(symbol, {reserve.symbol: reserve for reserve in self.reserves})

    def feed(self, name: str) -> DeployedFeed:
        """The feed ``ETH/USD``, also by the symbol of a reserve it prices alone (``WETH``)."""
        by_name = {feed.name: feed for feed in self.feeds}
        by_symbol = {
            reserve.symbol: by_name[reserve.feed]
            for reserve in self.reserves
            if reserve.source == by_name[reserve.feed].proxy
        }
        return _named(name, by_name | by_symbol)

    def account(self, name: str) -> Account:
        """``deployer``, ``oracle``, ``whale``, ``keeper``, ``alice`` or ``bob``."""
        return _named(name, {account.name: account for account in self.accounts})

    def at(self, rpc_url: str, ws_url: str) -> Self:
        """The same deployment behind other URLs."""
        return replace(self, rpc_url=rpc_url, ws_url=ws_url)

    def to_json(self) -> str:
        """One indented JSON document."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2).decode() + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Raises `ConfigError` when it is not such a document."""
        try:
            return msgspec.json.decode(text, type=cls)
        except msgspec.MsgspecError as error:
            raise ConfigError(f"This is not a devnet's document: {error}.") from None

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what ``./run devnet --json FILE`` wrote."""
        try:
            return cls.from_json(path.read_bytes())
        except OSError as error:
            raise ConfigError(f"{path} cannot be read: {error.strerror}.") from None


def _named(name: str, there: dict[str, T]) -> T:
    if name not in there:
        raise KeyError(f"{name!r} is none of {', '.join(sorted(there))}")
    return there[name]
