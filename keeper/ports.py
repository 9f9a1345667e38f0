"""The seams between the pure core and the shell, and between rooms that do not know one another.

All in one file, though it is long: this is the page on which a newcomer sees every seam at once,
and nothing in it runs.
"""

from collections.abc import AsyncIterator, Callable, Generator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Protocol, TypeVar, runtime_checkable

from keeper.errors import KeeperError
from keeper.model import (
    Address,
    AlertState,
    Allowance,
    Assessment,
    Asset,
    Attempt,
    AuditEvent,
    BlockRef,
    Call,
    CallResult,
    Checkpoint,
    ContractHealth,
    Decision,
    Deleverage,
    Ended,
    Holdings,
    Intent,
    IntentKind,
    Inventory,
    Leg,
    Liquidated,
    Liquidation,
    Log,
    LogFilter,
    Manners,
    MarketId,
    Message,
    Offer,
    OpenPlan,
    Outcome,
    ParameterChange,
    PassRecord,
    Plan,
    Queued,
    ReadAccounts,
    Receipt,
    ReserveFacts,
    Sought,
    Spent,
    Submission,
    Touched,
    TxState,
    Watch,
    Way,
    Weights,
)
from keeper.units import Base, Bps, Raw, Wad

T = TypeVar("T")

Steps = Generator[tuple[Call, ...], tuple[CallResult, ...], T]
"""A read written without I/O: yields batches of calls, is sent their results in order, returns T.

One batch is one packed read where the node allows it; batches of one `Steps` are pinned to one
block.  Decoders raise `BadAnswer` for what cannot be true.
"""


class Reader(Protocol):
    """Runs `Steps` against one block."""

    async def run(self, steps: Steps[T], block: BlockRef) -> T:
        """Drive `steps` to its end, every call pinned to ``block.hash``."""
        ...

    async def run_all(self, steps: Sequence[Steps[T]], block: BlockRef) -> list[T]:
        """The same for several at once, their batches merged into common packed reads."""
        ...

    async def run_all_settled(
        self, steps: Sequence[Steps[T]], block: BlockRef
    ) -> list[T | KeeperError]:
        """The same, a `Steps` that raises having its error in its place."""
        ...


class Heads(Protocol):
    """New heads of one chain, gaps filled and reorgs said."""

    def follow(self, after: BlockRef | None) -> AsyncIterator["Advance"]:
        """Yield an `Advance` for each change of the canonical head after `after`."""
        ...


class Advance(Protocol):
    """A step of the canonical chain: undo `orphaned` (newest first), then take `adopted`."""

    @property
    def orphaned(self) -> tuple[BlockRef, ...]: ...
    @property
    def adopted(self) -> tuple[BlockRef, ...]:
        """Oldest first; the last one is the head."""
        ...

    @property
    def received_at(self) -> float:
        """Monotonic seconds at which the head reached us."""
        ...

    @property
    def doubt(self) -> str:
        """Why nothing may be sent because of this head, or empty: too few nodes agree on it."""
        ...


class Logs(Protocol):
    """Event logs of one chain."""

    async def at(self, block: BlockRef) -> tuple[Log, ...]:
        """The wanted logs of one block, asked for by its hash."""
        ...


class MarketView(Protocol):
    """One market at one block: the protocol's exact arithmetic over what was read there.

    Strategies ask it; it never asks back.  All amounts are exact in the contract's rounding.
    """

    @property
    def market(self) -> MarketId: ...
    @property
    def block(self) -> BlockRef: ...

    def assess(self, holdings: Holdings) -> Assessment:
        """The health factor the contract would answer, or why it is unknown."""
        ...

    def price_of(self, asset: Address) -> Base | None:
        """What the market's oracle answers, base units per whole token, usable or not."""
        ...

    def supply_to_reach(self, holdings: Holdings, leg: Leg, target: Wad) -> Raw | None:
        """Least supply into collateral `leg` that reaches `target`; None if no amount does.

        Rounded up: the health factor after it is never below `target`, as of this block.
        """
        ...

    def repay_to_reach(self, holdings: Holdings, leg: Leg, target: Wad) -> Raw | None:
        """Least repayment of debt `leg` that reaches `target`, or its whole balance.

        None where none of it can be repaid now.
        """
        ...

    def liquidations(self, holdings: Holdings) -> tuple[Liquidation, ...]:
        """Every legal liquidation of an account below 1, most profitable first."""
        ...

    def liquidation_at_most(
        self, holdings: Holdings, of: Liquidation, debt_to_cover: Raw
    ) -> Liquidation | None:
        """The same pair with no more than `debt_to_cover`; None where that is not legal."""
        ...

    def encode(self, intent: Intent) -> tuple[Address, bytes]:
        """Target and calldata of `intent`; supply and repay are on behalf of the position."""
        ...


class LendingView(MarketView, Protocol):
    """The rest of a view: what the engine screens with and what people are shown."""

    def weights(self) -> Weights:
        """Float weights and slack for `keeper.risk.screen`."""
        ...

    def contract_health(self, holdings: Holdings) -> ContractHealth:
        """What the contract itself would answer, stale prices or not."""
        ...

    def liquidation_price(self, holdings: Holdings, leg: Leg) -> Base | None:
        """The price of collateral `leg` below which it is liquidated; None if there is none."""
        ...

    def liquidation_price_above(self, holdings: Holdings, leg: Leg) -> Base | None:
        """The price of `leg` above which it is liquidated; None if there is none."""
        ...

    def price_factor(self, holdings: Holdings) -> Wad | None:
        """The fraction of today's prices at which all collateral together leads to 1, wad.

        Of what is owed of an asset as much moves with it as is held of it.  Rounded up; 0 where no
        fall leads there; above 1 for an account below 1; None if unknown, or no price leads to 1.
        """
        ...

    def seconds_to_liquidation(self, holdings: Holdings) -> int | None:
        """After how many seconds interest alone brings the health factor below 1, all else still.

        The first such second, or sooner where that takes too long to find; never later.  0 if it
        is below already; None if not in ten years, or the health factor is unknown.
        """
        ...

    def explain(self, holdings: Holdings) -> tuple[str, ...]:
        """The arithmetic, a line each."""
        ...


@runtime_checkable
class TokenView(Protocol):
    """A view of a market that keeps what is supplied and owed as tokens."""

    def tokens(self, asset: Address) -> tuple[Address, Address] | None:
        """The token of what is supplied of `asset`, and of what is owed; None if not listed."""
        ...


@runtime_checkable
class DeleverageView(Protocol):
    """A view that also knows what a position is after it sold collateral to repay debt."""

    def deleverage_to_reach(
        self, holdings: Holdings, collateral: Leg, debt: Leg, target: Wad, cost: Bps
    ) -> Deleverage | None:
        """The least that reaches `target`; None where nothing does.  `cost`: how much dearer than
        the market's prices the exchange may be."""
        ...

    def deleveraged(
        self, holdings: Holdings, collateral: Leg, debt: Leg, repay: Raw, cost: Bps
    ) -> Deleverage | None:
        """What repaying `repay` takes and leaves; None where the account has not that much."""
        ...


@runtime_checkable
class AvoidingView(Protocol):
    """A view that can leave out what was tried in vain."""

    def avoiding(self, ways: frozenset[Way]) -> LendingView:
        """The same view, in which none of `ways` is possible."""
        ...


class Observation(Protocol):
    """What one read of one market brought."""

    @property
    def holdings(self) -> tuple[Holdings, ...]: ...
    @property
    def prices(self) -> Sequence[Base | None]:
        """By reserve id."""
        ...

    @property
    def unreadable(self) -> tuple[tuple[Address, str], ...]: ...
    @property
    def unfinished(self) -> tuple[Address, ...]:
        """Accounts left for a later read of the same block: see `LendingAdapter.observe`."""
        ...


M = TypeVar("M")
M_contra = TypeVar("M_contra", contravariant=True)
Obs = TypeVar("Obs", bound=Observation)


class LendingAdapter(Protocol[M, Obs]):
    """One lending protocol: which calls to make and what their answers mean.  No I/O."""

    @property
    def id(self) -> MarketId: ...
    @property
    def anchor(self) -> Address:
        """The contract a market is found from: its first block is the market's first."""
        ...

    def discover(self) -> Steps[M]:
        """Everything that changes only by governance, from the chain alone."""
        ...

    def sources(self, market: M) -> tuple[tuple[int, Asset, Address], ...]:
        """(reserve id, asset, price source) of each reserve."""
        ...

    def log_filter(self, market: M) -> LogFilter:
        """Every log that says where to look."""
        ...

    def backfill_filter(self, market: M) -> LogFilter:
        """Enough of history to find every borrower."""
        ...

    def liquidation_filter(self, market: M) -> LogFilter:
        """Every log of a liquidation, and few others."""
        ...

    def touched(self, market: M, logs: Sequence[Log]) -> Touched:
        """Whom and what the logs speak of."""
        ...

    def liquidations(
        self, market: M, block: BlockRef, logs: Sequence[Log]
    ) -> tuple[Liquidated, ...]:
        """Every liquidation that the logs of `block` tell of, whoever did it."""
        ...

    def observe(
        self,
        market: M,
        accounts: Sequence[Address],
        known: Callable[[Address], Holdings | None],
        *,
        whole: bool = True,
        rooms: AbstractSet[int] | None = None,
    ) -> Steps[Obs]:
        """Read indices, prices and the accounts; one batch unless a bitmap surprises.

        Not `whole`: somebody known whose bitmap surprises is left `unfinished`, for whoever reads
        again anyhow.  `rooms`: the reserves of which it must be known how much may still be
        supplied, all where None; of the others `supply_to_reach` may find nothing.
        """
        ...

    def observe_accounts(
        self,
        market: M,
        accounts: Sequence[Address],
        known: Callable[[Address], Holdings | None],
    ) -> Steps[ReadAccounts]:
        """Read the accounts alone, as `observe` does."""
        ...

    def inventory(self, market: M, owner: Address, block: BlockRef) -> Steps[Inventory]:
        """What `owner` has of each listed asset and has granted to the market."""
        ...

    def actions(self, market: M) -> tuple[tuple[IntentKind, Address, bytes], ...]:
        """(kind, target, selector) of every transaction that may ever be made."""
        ...

    def health_call(self, market: M, account: Address) -> Call:
        """The market's own view of an account's health."""
        ...

    def decode_health(self, data: bytes) -> Wad:
        """The health factor of its answer.  Raises `BadAnswer`."""
        ...

    def account_data(
        self, market: M, accounts: Sequence[Address]
    ) -> Steps[tuple[ContractHealth, ...]]:
        """The market's own totals and health factor of each account, to compare with."""
        ...

    def view(
        self, market: M, observation: Obs, block: BlockRef, unusable: Mapping[int, str]
    ) -> LendingView:
        """Bind exact arithmetic to one block; `unusable`: reserve id to the reason."""
        ...


@runtime_checkable
class ComparingAdapter(Protocol):
    """An adapter that can tell what governance changed between two readings of its market.

    Each reading is what `discover` learnt and what `observe` then read.
    """

    def changes(self, before: tuple[Any, Any], after: tuple[Any, Any]) -> Sequence[ParameterChange]:
        """Every parameter that differs."""
        ...

    def without(
        self, before: tuple[Any, Any], after: tuple[Any, Any], repriced: frozenset[int]
    ) -> tuple[Any, Any]:
        """The later reading as it would have been had no parameter changed since the earlier.

        `repriced`: reserves whose price changed by a parameter, besides those with another source.
        """
        ...

    def governed_by(self, market: Any) -> frozenset[Address]:
        """Contracts whose transactions can change parameters."""
        ...

    def queued(self, controller: Address) -> Steps[tuple[Queued, ...]]:
        """What governance has queued at `controller`, the oldest first."""
        ...


@runtime_checkable
class Metered(Protocol[M_contra]):
    """An adapter that can also say what its reserves have room for, for people's rules."""

    def facts(self, market: M_contra) -> Steps[tuple[ReserveFacts, ...]]:
        """Every reserve, in one batch."""
        ...


class Strategy(Protocol):
    """Decides for one position."""

    @property
    def name(self) -> str: ...

    def decide(
        self, view: MarketView, holdings: Holdings, assessment: Assessment, wallet: "Wallet"
    ) -> Decision:
        """Hold, Act or Refuse, with the reason.  Pure: the same inputs, the same answer."""
        ...


class Wallet(Protocol):
    """What may still be spent in this pass: an inventory less what earlier intents took."""

    def spendable(self, asset: Address) -> Raw: ...

    def held(self, asset: Address) -> Raw:
        """Return the balance, whatever the allowance, less what earlier intents took."""
        ...


class Journal(Protocol):
    """Rows written before the key is touched.  Each method is one durable transaction."""

    async def claim(
        self,
        plan: Plan,
        signer: Address,
        chain_nonce: int,
        within: Allowance | None = None,
        healths: Sequence[Wad | None] = (),
    ) -> OpenPlan:
        """Take a nonce and write the plan as CLAIMED.

        `healths`: the health factor after it of each intent that it carries, as simulated.

        `within`: what is reserved in the same transaction; raises `PolicyViolation` where this plan
        would go beyond it, whoever else claimed what is gone.

        The nonce is the greater of `chain_nonce` (pending) and one past the last unfinished
        claim.  Raises `JournalError` when the position has an open plan or the intent id is known;
        of a plan that carries several intents, when that is so of any of them.
        """
        ...

    async def signed(self, intent_id: str, attempt: Attempt) -> None:
        """Append an attempt; state SIGNED.  Its bytes are durable when this returns."""
        ...

    async def sent(self, intent_id: str, at_block: int) -> None:
        """State SENT."""
        ...

    async def mined(self, intent_id: str, receipt: Receipt) -> None:
        """State MINED: in a block that may still be orphaned."""
        ...

    async def unmined(self, intent_id: str) -> None:
        """Back to SENT: the block with the receipt is gone."""
        ...

    async def settle(
        self,
        intent_id: str,
        state: TxState,
        receipt: Receipt | None,
        messages: Sequence[Message],
        audit: Sequence[AuditEvent],
        *,
        further: Sequence[Ended] = (),
        health_after: Wad | None = None,
    ) -> None:
        """End the intent; its messages and audit rows are in the same transaction.

        `further`: what became of each other intent of the same transaction, each of which ends
        with it; abandoned ones need not be named.  `health_after`: see `Ended`.
        """
        ...

    async def open_plans(self, signer: Address) -> tuple[OpenPlan, ...]:
        """All that are not ended, by nonce."""
        ...

    async def watermark(self, signer: Address) -> int | None:
        """The highest nonce ever signed for (claimed counts too), ended plans included.

        None when this journal never saw the signer.
        """
        ...

    async def spent_since(self, signer: Address, since: int, *others: Address) -> Spent:
        """Of these keys' plans whose ``intent.block.timestamp >= since``, and of every open one."""
        ...

    async def reverts(self, signer: Address, since: int) -> tuple[Plan, ...]:
        """The plans that reverted, by when they were decided, the oldest first.

        Of those decided at or after `since` and ended after the last one that was confirmed.
        """
        ...


class Records(Protocol):
    """What the engine remembers and leaves behind; the outbox is filled here."""

    async def watches(self) -> tuple[Watch, ...]:
        """All watches of all chats that are not disabled."""
        ...

    async def alert_states(self) -> tuple[AlertState, ...]:
        """Every alert that is not clear, as it was left."""
        ...

    async def manners(self) -> Manners:
        """What people acknowledged or snoozed, and their quiet hours."""
        ...

    async def record(self, record: PassRecord) -> None:
        """Write one pass: history, alerts, outbox rows and audit, in one transaction."""
        ...

    async def checkpoint(self, market: MarketId) -> Checkpoint | None:
        """The last saved one, with its checksum verified; None when absent or damaged."""
        ...

    async def save_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Replace the market's."""
        ...


class Executor(Protocol):
    """Turns intents into transactions, once each."""

    @property
    def armed(self) -> bool: ...

    def open_intents(self) -> tuple[Intent, ...]:
        """What is on its way."""
        ...

    async def recover(self, block: BlockRef) -> tuple[Outcome, ...]:
        """Reconcile every open plan with nonce and receipts; before the first block is taken."""
        ...

    async def settle(self, block: BlockRef) -> tuple[Outcome, ...]:
        """Look at every open plan at this head: confirm, bump, re-broadcast, or wait."""
        ...

    async def submit(self, intent: Intent, view: MarketView) -> Submission:
        """Policy, simulate at the pinned block, journal, sign, store, send."""
        ...

    async def submit_together(
        self, intents: Sequence[Intent], view: MarketView
    ) -> tuple[Submission, ...]:
        """The same for several liquidations with borrowed money in one market, in as few
        transactions as can be: one submission for each, in any order.
        """
        ...


class RouteSource(Protocol):
    """Somebody besides Uniswap v3's pools who may know a sale: a call of theirs, and their word."""

    name: str
    """As a person reads it."""
    patience_s: float
    """How long it is waited for, well below a block."""

    async def offer(self, sought: Sought) -> Offer:
        """Return what they offer, within `patience_s`.  Raises `ExecutionError`, one sentence."""
        ...


class Channel(Protocol):
    """Somewhere messages go."""

    prefix: str
    """The part of `Message.chat` before the colon."""

    async def send(self, message: Message, *, reply_to: str = "") -> str | None:
        """Return when the provider acknowledged, with its own id of the message if it has one.

        `reply_to`: such an id of the message that this one answers.  Raises `DeliveryError`.
        """
        ...
