"""Aave v3 and its forks: which calls to make, which logs to hear, what they mean.  No I/O.

Satisfies `ports.LendingAdapter[Market, Observed]`.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from keeper.model import (
    Address,
    Asset,
    BlockRef,
    Call,
    ContractHealth,
    Hash,
    Holdings,
    IntentKind,
    Inventory,
    Liquidated,
    Log,
    LogFilter,
    MarketId,
    ParameterChange,
    Queued,
    ReadAccounts,
    ReserveFacts,
    Side,
    Touched,
)
from keeper.ports import Steps
from keeper.protocols.aave_v3 import (
    actions,
    codec,
    governance,
    liquidated,
    parameters,
    topics,
)
from keeper.protocols.aave_v3.codec import call
from keeper.protocols.aave_v3.discover import ZERO, discover
from keeper.protocols.aave_v3.facts import facts
from keeper.protocols.aave_v3.market import Market, Observed
from keeper.protocols.aave_v3.observe import observe, observe_accounts
from keeper.protocols.aave_v3.view import View, bind
from keeper.units import Raw, Wad

PARAMETERS = frozenset(
    topic
    for contract in (topics.CONFIGURATOR, topics.ORACLE, topics.PROVIDER)
    for topic in contract.values()
)


@dataclass(frozen=True, slots=True)
class AaveV3:
    """One market of Aave v3, from its PoolAddressesProvider."""

    market_id: MarketId
    provider: Address

    @property
    def id(self) -> MarketId:
        """The market's name, protocol and chain."""
        return self.market_id

    @property
    def anchor(self) -> Address:
        """The provider: nothing of the market is older."""
        return self.provider

    def discover(self) -> Steps[Market]:
        """Read what only governance changes.  Raises ConfigError if it is not Aave v3."""
        return discover(self.market_id, self.provider)

    def sources(self, market: Market) -> tuple[tuple[int, Asset, Address], ...]:
        """Return (reserve id, asset, price source) of each reserve."""
        return tuple((r.id, r.asset, r.source) for r in market.reserves)

    # --- logs -------------------------------------------------------------------------------

    def liquidation_filter(self, market: Market) -> LogFilter:
        """Return the filter of every log of a liquidation."""
        return LogFilter(addresses=(market.pool,), topics0=(topics.LIQUIDATION_CALL,))

    def log_filter(self, market: Market) -> LogFilter:
        """Return the filter of every log that says where to look."""
        tokens = tuple(a for r in market.reserves for a in (r.a_token, r.debt_token))
        stable = tuple(r.stable_debt_token for r in market.reserves if r.stable_debt_token)
        return LogFilter(
            addresses=(
                *tokens,
                *stable,
                market.pool,
                market.configurator,
                market.oracle,
                market.provider,
            ),
            topics0=(
                topics.TRANSFER,
                topics.RESERVE_USED_AS_COLLATERAL_ENABLED,
                topics.RESERVE_USED_AS_COLLATERAL_DISABLED,
                topics.USER_E_MODE_SET,
                topics.LIQUIDATION_CALL,
                *sorted(PARAMETERS),
            ),
        )

    def backfill_filter(self, market: Market) -> LogFilter:
        """Return the filter of debt transfers: every borrower received one."""
        debts = tuple(r.debt_token for r in market.reserves)
        stable = tuple(r.stable_debt_token for r in market.reserves if r.stable_debt_token)
        return LogFilter(addresses=(*debts, *stable), topics0=(topics.TRANSFER,))

    def touched(self, market: Market, logs: Sequence[Log]) -> Touched:
        """Return whom and what `logs` speak of; logs of other contracts are ignored."""
        tokens = {r.a_token: (r.id, Side.COLLATERAL) for r in market.reserves}
        for reserve in market.reserves:
            for token in (reserve.debt_token, reserve.stable_debt_token):
                if token is not None:
                    tokens[token] = (reserve.id, Side.DEBT)
        parameters = {market.configurator, market.oracle, market.provider}
        accounts: set[Address] = set()
        moved: defaultdict[Address, set[tuple[int, Side]]] = defaultdict(set)
        borrowers: set[Address] = set()
        changed = False
        for log in logs:
            if not log.topics:
                continue
            if log.address in tokens and log.topics[0] == topics.TRANSFER and len(log.topics) == 3:
                entry = tokens[log.address]
                sender, receiver = _account(log.topics[1]), _account(log.topics[2])
                accounts |= {sender, receiver}
                moved[sender].add(entry)
                moved[receiver].add(entry)
                if entry[1] is Side.DEBT:
                    borrowers.add(receiver)
            elif log.address == market.pool:
                accounts |= _pool_accounts(log)
            elif log.address in parameters:
                changed |= log.topics[0] in PARAMETERS
        return Touched(
            accounts=frozenset(accounts - {ZERO}),
            borrowers=frozenset(borrowers - {ZERO}),
            parameters=changed,
            moved={account: frozenset(of) for account, of in moved.items() if account != ZERO},
        )

    def liquidations(
        self, market: Market, block: BlockRef, logs: Sequence[Log]
    ) -> tuple[Liquidated, ...]:
        """Return every liquidation that `logs` of `block` tell of, whoever did it."""
        return liquidated.liquidations(market, block, logs)

    # --- reads ------------------------------------------------------------------------------

    def observe(
        self,
        market: Market,
        accounts: Sequence[Address],
        known: Callable[[Address], Holdings | None],
        *,
        whole: bool = True,
        rooms: AbstractSet[int] | None = None,
    ) -> Steps[Observed]:
        """Read indices, prices and the accounts; one batch unless a bitmap surprises."""
        return observe(market, accounts, known, whole=whole, rooms=rooms)

    def observe_accounts(
        self,
        market: Market,
        accounts: Sequence[Address],
        known: Callable[[Address], Holdings | None],
    ) -> Steps[ReadAccounts]:
        """Read the accounts alone; one batch unless a bitmap surprises."""
        return observe_accounts(market, accounts, known)

    def view(
        self, market: Market, observation: Observed, block: BlockRef, unusable: Mapping[int, str]
    ) -> View:
        """Bind exact arithmetic to one block; `unusable`: reserve id to the reason."""
        return bind(market, observation, block, unusable)

    # --- governance -------------------------------------------------------------------------

    def changes(
        self, before: parameters.Pair, after: parameters.Pair
    ) -> tuple[ParameterChange, ...]:
        """Return every parameter that differs between two readings."""
        return parameters.changes(before, after)

    def without(
        self, before: parameters.Pair, after: parameters.Pair, repriced: frozenset[int]
    ) -> parameters.Pair:
        """Return the later reading as if no parameter had changed since the earlier one."""
        return parameters.without(before, after, repriced)

    def governed_by(self, market: Market) -> frozenset[Address]:
        """Return the contracts whose transactions can change parameters."""
        return frozenset({market.configurator, market.oracle, market.provider})

    def queued(self, controller: Address) -> Steps[tuple[Queued, ...]]:
        """Return what a PayloadsController has queued, the oldest first."""
        return governance.queued_payloads(controller)

    def actions(self, market: Market) -> tuple[tuple[IntentKind, Address, bytes], ...]:
        """Return (kind, target, selector) of every transaction that may ever be made."""
        return actions.actions(market)

    def health_call(self, market: Market, account: Address) -> Call:
        """Return the Pool's own view of an account's health."""
        return actions.health_call(market, account)

    def decode_health(self, data: bytes) -> Wad:
        """Return the health factor of its answer.  Raises BadAnswer."""
        return actions.decode_health(data)

    def account_data(
        self, market: Market, accounts: Sequence[Address]
    ) -> Steps[tuple[ContractHealth, ...]]:
        """Ask the Pool itself for each account's totals and health factor, to compare."""
        answers = yield tuple(
            call(market.pool, codec.GET_USER_ACCOUNT_DATA, account) for account in accounts
        )
        return tuple(
            codec.decode_account_data(answer, f"getUserAccountData({account})")
            for account, answer in zip(accounts, answers, strict=True)
        )

    def facts(self, market: Market) -> Steps[tuple[ReserveFacts, ...]]:
        """Read rates, liquidity and room under the caps of every reserve."""
        return facts(market)

    def inventory(self, market: Market, owner: Address, block: BlockRef) -> Steps[Inventory]:
        """Read what `owner` has of each listed asset and has granted to the Pool."""
        assets = tuple(r.asset.address for r in market.reserves)
        answers = yield tuple(
            c
            for asset in assets
            for c in (
                call(asset, codec.BALANCE_OF, owner),
                call(asset, codec.ALLOWANCE, owner, market.pool),
            )
        )
        numbers = tuple(
            Raw(codec.uint(answer, f"balance or allowance of {owner} in {assets[i // 2]}"))
            for i, answer in enumerate(answers)
        )
        return Inventory(
            owner=owner,
            block=block,
            balances=dict(zip(assets, numbers[0::2], strict=True)),
            allowances=dict(zip(assets, numbers[1::2], strict=True)),
        )


def _pool_accounts(log: Log) -> set[Address]:
    match log.topics:
        case (
            topics.RESERVE_USED_AS_COLLATERAL_ENABLED | topics.RESERVE_USED_AS_COLLATERAL_DISABLED,
            _,
            user,
        ):
            return {_account(user)}
        case (topics.USER_E_MODE_SET, user):
            return {_account(user)}
        case _:
            return set()


def _account(topic: Hash) -> Address:
    return Address("0x" + topic[-40:])
