"""Chains, their nodes and their markets."""

from collections.abc import Mapping
from typing import Annotated, Final, Literal, Self

from pydantic import (
    BeforeValidator,
    Field,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)

from keeper import presets
from keeper.model import Address, MarketId
from keeper.settings.section import Section
from keeper.settings.values import (
    Addresses,
    AddressValue,
    HttpsUrl,
    Names,
    NodeUrls,
    OptionalAddress,
    OptionalInt,
    OptionalPath,
    OptionalSecret,
    WsUrls,
)

RelayMethod = Literal["eth_sendPrivateTransaction", "eth_sendBundle"]
HistoryCheck = Literal["sampled", "full", "off"]
DataFee = Literal["auto", "none", "op_stack", "arbitrum"]


class Market(Section):
    """One deployment of one lending protocol; the rest is discovered from the chain."""

    name: str = Field(description="Any name; it is shown to people and kept in the database.")
    protocol: str = Field("aave_v3", description="The rules it follows.")
    addresses_provider: AddressValue = Field(description="Its PoolAddressesProvider.")
    deployment_block: int | None = Field(
        None, ge=0, description="Where its history starts; discovered when left out."
    )


MARKETS_EXAMPLE: Final = 'markets = [{ name = "my-market", addresses_provider = "0x..." }]'
"""How a market is written that is no preset."""


def _market(value: object) -> object:
    """Take the name of a preset for its table."""
    if not isinstance(value, str):
        return value
    known = presets.markets()
    if value not in known:
        from keeper.settings.sentences import nearest  # noqa: PLC0415 - a cycle otherwise

        raise ValueError(
            f"names {value!r}, which is no known market{nearest(value, known) or ':'} "
            f"A market of your own is written {MARKETS_EXAMPLE}"
        )
    market = known[value]
    return {
        "name": market.name,
        "protocol": market.protocol,
        "addresses_provider": market.addresses_provider,
    }


AggregatorKind = Literal["0x", "1inch"]
AggregatorsAsked = Literal["always", "otherwise"]
AGGREGATORS: Final[dict[str, str]] = {"0x": "https://api.0x.org", "1inch": "https://api.1inch.dev"}
"""Where each is asked, where nothing else is said."""
PATIENCE_MS: Final = 500
"""For an aggregator, at most; and an eighth of the time between blocks."""


class Aggregator(Section):
    """A service that knows sales over many exchanges: asked besides Uniswap v3's pools, and never
    believed.  What it offers counts as far as the simulated transaction confirms it."""

    kind: AggregatorKind = Field(description="Whose API it is: 0x (v2) or 1inch (v6).")
    url: Annotated[HttpsUrl | None, BeforeValidator(lambda v: v or None)] = Field(
        None, repr=False, description="Where it is asked; the service's own address by default."
    )
    api_key_file: OptionalPath = Field(None, description="File that holds its key.")
    targets: Addresses = Field(
        description="Contracts of its that may be called; the liquidator must list them as well."
    )
    spenders: Addresses = Field(
        (), description="Those that may be approved for what is sold; the targets by default."
    )
    timeout_ms: OptionalInt = Field(
        None,
        description="How long a liquidation waits for it, at most a quarter of block_time_s; 500, "
        "or an eighth of block_time_s where that is less, by default.",
    )
    calls_per_second: PositiveFloat = Field(
        1.0, description="The most requests a second that the account with it allows."
    )

    @property
    def may_take(self) -> tuple[Address, ...]:
        """Who may be approved."""
        return self.spenders or self.targets

    @property
    def where(self) -> str:
        """Where it is asked."""
        return self.url or AGGREGATORS[self.kind]

    @model_validator(mode="after")
    def _callable(self) -> Self:
        if not self.targets:
            raise ValueError("targets must name the contract of its that may be called")
        if self.timeout_ms is not None and self.timeout_ms < 1:
            raise ValueError(f"timeout_ms must be at least 1, not {self.timeout_ms}")
        return self


ENS_REGISTRY: Final = Address("0x00000000000c2e074ec69a0dfb2997ba6c7d2e1e")
ENS_CHAINS: Final = frozenset({1, 11_155_111})
"""Ethereum and Sepolia: the registry has the same address on both."""


class Chain(Section):
    """One chain to watch.  A public chain needs only `rpc_urls`; names and ids are known."""

    name: str = Field("", description="The key of the table; not set by hand.")
    chain_id: PositiveInt = Field(description="What eth_chainId must answer.")
    rpc_urls: NodeUrls = Field(
        repr=False,
        description="HTTP endpoints, or ipc:///path of a node's socket, best first; the others "
        "are for when it fails.",
    )
    ws_urls: WsUrls = Field(
        (),
        repr=False,
        description="WebSocket endpoints for new heads, or ipc:///path of a node's socket; without "
        "any, those of rpc_urls that are sockets, else heads are polled over HTTP.",
    )
    calls_per_second: PositiveFloat = Field(
        20.0, description="The most requests a second to one provider."
    )
    quorum: OptionalInt = Field(
        None,
        description="How many rpc_urls must have a block before anything is sent; 2 where there "
        "are two or more.",
    )
    confirmations: PositiveInt = Field(
        12, description="Blocks on top of a transaction until it counts as settled."
    )
    block_time_s: PositiveFloat = Field(
        12.0, description="Expected seconds between blocks: silence is judged by it."
    )
    sequencer_feed: OptionalAddress = Field(
        None, description="The rollup's uptime feed; Chainlink's known one when left out."
    )
    ens_registry: OptionalAddress = Field(
        None,
        description="The ENS registry that names such as vitalik.eth are looked up in; known for "
        "Ethereum and Sepolia.",
    )
    liquidator: OptionalAddress = Field(
        None,
        description="Our liquidator contract: liquidations then borrow what they repay; see "
        "deploy-liquidator.",
    )
    deleverager: OptionalAddress = Field(
        None,
        description="Our deleverager contract, where borrowers allowed it to sell for them; see "
        "deploy-deleverager.",
    )
    uniswap_factory: OptionalAddress = Field(
        None,
        description="Uniswap v3's factory: routes of sales, known for the larger chains; set, its "
        "pools serve as references too.",
    )
    aggregators: tuple[Aggregator, ...] = Field(
        (),
        description="Services that are asked for sales besides Uniswap v3's pools, as tables with "
        "kind and targets; none by default.  They need a liquidator.",
    )
    aggregators_asked: AggregatorsAsked = Field(
        "always",
        description="When: always, and the better sale is taken, or otherwise, only where Uniswap "
        "v3's pools have none, so that no liquidation that they can pay for waits.",
    )
    pending: bool = Field(
        default=False,
        description="Hear of waiting transactions over ws_urls: oracle updates are decided on and "
        "simulated before they land, changes of parameters foretold; nothing is sent earlier.",
    )
    payloads_controller: OptionalAddress = Field(
        None,
        description="Aave governance's PayloadsController: what it has queued is simulated, and "
        "watched positions are told what it would make of them.",
    )
    uniswap_quoter: OptionalAddress = Field(
        None,
        description="Uniswap v3's QuoterV2; known for the larger chains.",
    )
    relay_url: OptionalSecret = Field(
        None,
        description="A private relay that transactions go to instead of the public pool; none by "
        "default.",
    )
    relay_method: RelayMethod = Field(
        "eth_sendPrivateTransaction",
        description="What the relay calls it: eth_sendPrivateTransaction, or eth_sendBundle.",
    )
    relay_kinds: Names = Field(
        ("liquidate", "deleverage"),
        description="What goes to the relay: liquidate, deleverage, top_up, repay.",
    )
    relay_public_after_blocks: OptionalInt = Field(
        None,
        ge=0,
        description="Blocks after which what no builder took goes to the public pool as well; "
        "never when left out.",
    )
    relay_auth_key: OptionalSecret = Field(
        None,
        description="Key that signs requests to the relay: it names you there and must hold "
        "nothing.  A new one at each start when left out.",
    )
    data_fee: DataFee = Field(
        "auto",
        description="How the chain charges for data besides gas: auto (known for the larger "
        "rollups), none, op_stack or arbitrum.",
    )
    history_check: HistoryCheck = Field(
        "sampled",
        description="How the history that only one node tells is held against headers and "
        "receipts: sampled (a header for every 2,000 blocks), full (a header a block, slow), off.",
    )
    markets: tuple[Annotated[Market, BeforeValidator(_market)], ...] = Field(
        (), description="Names of presets, or tables; the chain's main Aave v3 market by default."
    )

    @property
    def pushing(self) -> tuple[str, ...]:
        """Where nodes say new heads unasked: `ws_urls`, else the sockets among `rpc_urls`."""
        return self.ws_urls or tuple(url for url in self.rpc_urls if url.startswith("ipc:"))

    @field_validator("rpc_urls")
    @classmethod
    def _some_url(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value:
            raise ValueError("must name at least one URL")
        return value

    @field_validator("markets", mode="before")
    @classmethod
    def _list(cls, value: object) -> object:
        if isinstance(value, Mapping):
            raise ValueError(f"is a list, such as {MARKETS_EXAMPLE}")  # noqa: TRY004 - pydantic's
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.quorum is not None and self.quorum > len(self.rpc_urls):
            raise ValueError(
                f"quorum asks for {self.quorum} nodes that agree, rpc_urls has "
                f"{len(self.rpc_urls)}: add some, or lower it"
            )
        for kind in self.relay_kinds:
            if kind not in ("liquidate", "deleverage", "top_up", "repay"):
                raise ValueError(
                    f"relay_kinds must be liquidate, deleverage, top_up or repay, not {kind!r}"
                )
        if not self.markets:
            raise ValueError(f"needs markets: names of presets, or {MARKETS_EXAMPLE}")
        if self.pending and not self.pushing:
            raise ValueError("pending needs ws_urls: waiting transactions come over a WebSocket")
        names = [market.name for market in self.markets]
        for market in self.markets:
            if names.count(market.name) > 1:
                raise ValueError(f"markets has two that are called {market.name!r}")
            preset = presets.markets().get(market.name)
            if preset and (preset.chain_id, preset.addresses_provider) != (
                self.chain_id,
                market.addresses_provider,
            ):
                raise ValueError(
                    f"markets: {market.name!r} is the market of chain {preset.chain_id} "
                    f"({preset.chain}), this chain has id {self.chain_id}; "
                    "a market of your own needs a name of its own"
                )
        return self

    @field_validator("quorum")
    @classmethod
    def _some_node(cls, value: int | None) -> int | None:
        if value is not None and value < 1:
            raise ValueError(f"must be at least 1, not {value}")
        return value

    @model_validator(mode="after")
    def _asked_in_time(self) -> Self:
        kinds = [each.kind for each in self.aggregators]
        for each in self.aggregators:
            if kinds.count(each.kind) > 1:
                raise ValueError(f"aggregators has two of the kind {each.kind}: keep one")
            if (each.timeout_ms or 0) > self.block_time_s * 250:
                raise ValueError(
                    f"aggregators: timeout_ms of {each.kind} is {each.timeout_ms}, a liquidation "
                    f"waits a quarter of block_time_s at the most: {self.block_time_s * 250:.0f}"
                )
        return self

    def patience_s(self, aggregator: Aggregator) -> float:
        """How long a liquidation waits for it."""
        usual_ms = min(PATIENCE_MS, self.block_time_s * 125)
        return (aggregator.timeout_ms or usual_ms) / 1000

    @property
    def nodes_needed(self) -> int:
        """How many nodes must agree on a block."""
        return min(2, len(self.rpc_urls)) if self.quorum is None else self.quorum

    @property
    def names_registry(self) -> Address | None:
        """Where names are looked up; None where the chain has none."""
        if self.ens_registry is not None:
            return self.ens_registry
        return ENS_REGISTRY if self.chain_id in ENS_CHAINS else None

    def market_ids(self) -> tuple[MarketId, ...]:
        """The markets in the words of the core, in the order configured."""
        return tuple(
            MarketId(chain_id=self.chain_id, name=m.name, protocol=m.protocol) for m in self.markets
        )
