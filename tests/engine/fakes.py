"""A tiny chain with a tiny market on it, and everything the engine talks to, written by hand.

One asset is collateral (``ETH``, priced by a feed), one is debt (``USD``, worth one).  An account's
health factor is ``collateral * price / debt``.  Each block has a state of its own, so that a read
of one block can never be answered with another's.  `Story` puts an engine on top.
"""

import asyncio
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np

from keeper.alerts.machine import Policy
from keeper.chain.branch import Advance
from keeper.engine.chronicle import Telling
from keeper.engine.decide import Hand
from keeper.engine.engine import Engine
from keeper.engine.market import WatchedMarket
from keeper.engine.passes import Pass
from keeper.errors import BadAnswer, KeeperError, ObservationError
from keeper.model import (
    Act,
    Address,
    AlertState,
    Assessed,
    Assessment,
    Asset,
    BlockRef,
    Call,
    CallResult,
    Checkpoint,
    Confirmed,
    ContractHealth,
    Decision,
    Declined,
    Entry,
    Failed,
    Hash,
    Hold,
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
    OpenPlan,
    Outcome,
    PassRecord,
    Plan,
    PositionId,
    ReadAccounts,
    Receipt,
    Refuse,
    Rehearsed,
    Returned,
    Reverted,
    Rule,
    Side,
    Submission,
    Submitted,
    Thresholds,
    Touched,
    TxState,
    Unassessable,
    Unknown,
    Watch,
    Weights,
)
from keeper.oracles.judge import JudgeRules
from keeper.oracles.trace import TraceRules
from keeper.ports import MarketView, Steps, Strategy, Wallet
from keeper.units import UINT256_MAX, WAD, Base, Bps, Raw, Wad, Wei
from tests.oracles import fakes as oracle

T = TypeVar("T")

MARKET = MarketId(chain_id=31337, name="tiny", protocol="tiny")
POOL = Address("0x" + "b0" * 20)
OWNER = Address("0x" + "0e" * 20)
OPERATOR = "log:operator"
ETH = Asset(address=Address("0x" + "e1" * 20), symbol="ETH", decimals=0)
USD = Asset(address=Address("0x" + "d1" * 20), symbol="USD", decimals=0)
FEED = oracle.address(0xFEED)
TRUSTED = Address("0x" + "7a" * 20)
"""The debt's price source: it cannot be traced and is trusted."""
TOUCHED, BORROWED, PARAMETERS, LIQUIDATED = (Hash(f"0x{n:064x}") for n in (1, 2, 3, 4))
NOW = 1_763_680_121
PRICE = 1_013
HEARTBEAT_S = 3_600

ALICE, BOB, CAROL, DAVE = (Address(f"0x{n:040x}") for n in (0xA11CE, 0xB0B, 0xCA801, 0xDA7E))


def position(account: Address) -> PositionId:
    return PositionId(market=MARKET, account=account)


def holdings(account: Address, collateral: int, debt: int) -> Holdings:
    entries = (
        Entry(reserve=0, side=Side.COLLATERAL, scaled=collateral),
        Entry(reserve=1, side=Side.DEBT, scaled=debt),
    )
    return Holdings(account=account, e_mode=0, entries=tuple(e for e in entries if e.scaled))


# --- the chain --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What is so at one block."""

    price: int = PRICE
    answered_at: int = NOW
    """When the feed last answered."""
    held: Mapping[Address, tuple[int, int]] = field(default_factory=dict)
    """Collateral and debt of each account."""
    unreadable: frozenset[Address] = frozenset()
    purse: int = 1_000_000
    """Of either asset, what the keeper has and may spend."""
    logs: tuple[Log, ...] = ()


class Chain:
    """Blocks with their states, a canonical branch, and the ways to make it longer."""

    def __init__(self) -> None:
        genesis = BlockRef(
            number=100, hash=block_hash(100, 0), parent_hash=block_hash(99, 0), timestamp=NOW
        )
        self.canonical = [genesis]
        self.states: dict[Hash, State] = {genesis.hash: State()}
        self._forks = 0

    @property
    def head(self) -> BlockRef:
        return self.canonical[-1]

    @property
    def state(self) -> State:
        return self.states[self.head.hash]

    def mine(
        self,
        *,
        moved: Mapping[Address, tuple[int, int]] | None = None,
        silently: bool = False,
        seconds: int = 12,
        feed_answers: bool = True,
        parameters: bool = False,
        liquidated: Mapping[Address, Address] | None = None,
        **changes: Any,
    ) -> BlockRef:
        """Add a block in which these accounts came to hold (collateral, debt).

        Each gets a log unless it happens `silently`; the feed answers unless told otherwise.
        `liquidated`: by whom; 1,000 of the debt is covered for 3 of the collateral.
        """
        before = self.state
        now = self.head.timestamp + seconds
        block = BlockRef(
            number=self.head.number + 1,
            hash=block_hash(self.head.number + 1, self._forks),
            parent_hash=self.head.hash,
            timestamp=now,
        )
        logs = []
        for account, (_, debt) in (moved or {}).items():
            if silently:
                continue
            more = debt > before.held.get(account, (0, 0))[1]
            logs.append(self._log(block, BORROWED if more else TOUCHED, account))
        if parameters:
            logs.append(self._log(block, PARAMETERS, Address("0x" + "00" * 20)))
        for account, by in (liquidated or {}).items():
            told = self._log(block, LIQUIDATED, account)
            topics = (*told.topics, Hash("0x" + "00" * 12 + by[2:]))
            amounts = (1_000).to_bytes(32, "big") + (3).to_bytes(32, "big")
            logs.append(replace(told, topics=topics, data=amounts, log_index=len(logs)))
        self.states[block.hash] = replace(
            before,
            held={**before.held, **(moved or {})},
            answered_at=now if feed_answers else before.answered_at,
            logs=tuple(logs),
            **changes,
        )
        self.canonical.append(block)
        return block

    def drop(self, depth: int) -> tuple[BlockRef, ...]:
        """Orphan the last `depth` blocks; return them newest first."""
        gone = tuple(reversed(self.canonical[-depth:]))
        del self.canonical[-depth:]
        self._forks += 1
        return gone

    def _log(self, block: BlockRef, topic: Hash, account: Address) -> Log:
        return Log(
            address=POOL,
            topics=(topic, Hash("0x" + "00" * 12 + account[2:])),
            data=b"",
            block_number=block.number,
            block_hash=block.hash,
            log_index=0,
        )

    # --- as it is read --------------------------------------------------------------------

    def answer(self, call: Call, block: BlockRef) -> CallResult:
        state = self.states[block.hash]
        if call.to == POOL:
            return self._pool(call.data.decode(), state)
        contracts: dict[Address, oracle.Contract] = {
            FEED: oracle.feed(
                "ETH / USD",
                latestRoundData=oracle.round_data(state.price * 10**8, state.answered_at),
            )
        }
        return oracle.Chain(contracts).answer(call)

    @staticmethod
    def _pool(asked: str, state: State) -> CallResult:
        word, _, account = asked.partition(" ")
        match word:
            case "discover":
                return Returned(b"")
            case "price":
                return Returned(state.price.to_bytes(32, "big"))
            case "purse":
                return Returned(state.purse.to_bytes(32, "big"))
            case _:
                if account in state.unreadable:
                    return Failed("reverted")
                held = state.held.get(Address(account), (0, 0))
                return Returned(json.dumps(held).encode())


def block_hash(number: int, fork: int) -> Hash:
    return Hash(f"0x{fork:032x}{number:032x}")


# --- the market -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    holdings: tuple[Holdings, ...]
    prices: tuple[Base | None, ...]
    unreadable: tuple[tuple[Address, str], ...]
    unfinished: tuple[Address, ...] = ()


@dataclass(frozen=True, slots=True)
class View:
    """Satisfies `ports.LendingView`."""

    market: MarketId
    block: BlockRef
    price: int
    unusable: Mapping[int, str]

    def assess(self, holdings: Holdings) -> Assessment:
        where = position(holdings.account)
        for entry in holdings.entries:
            if entry.reserve in self.unusable:
                return Unassessable(
                    position=where, block=self.block, reason=self.unusable[entry.reserve]
                )
        said = self.contract_health(holdings)
        return Assessed(
            position=where,
            block=self.block,
            health_factor=said.health_factor,
            collateral=said.collateral,
            debt=said.debt,
            legs=tuple(self._leg(entry) for entry in holdings.entries),
        )

    def _leg(self, entry: Entry) -> Leg:
        debt = entry.side is Side.DEBT
        price = 1 if debt else self.price
        return Leg(
            side=entry.side,
            reserve=entry.reserve,
            asset=USD if debt else ETH,
            balance=Raw(entry.scaled),
            value=Base(entry.scaled * price),
            price=Base(price),
            liquidation_threshold=Bps(0 if debt else 10_000),
            liquidation_bonus=Bps(0 if debt else 10_500),
        )

    def contract_health(self, holdings: Holdings) -> ContractHealth:
        collateral = sum(e.scaled for e in holdings.entries if e.side is Side.COLLATERAL)
        debt = sum(e.scaled for e in holdings.entries if e.side is Side.DEBT)
        worth = collateral * self.price
        health = worth * WAD // debt if debt else UINT256_MAX
        return ContractHealth(health_factor=Wad(health), collateral=Base(worth), debt=Base(debt))

    def weights(self) -> Weights:
        return Weights(
            collateral=np.array([[float(self.price), 0.0]]),
            debt=np.array([0.0, 1.0]),
            collateral_slack=np.array([[1.0, 0.0]]),
            debt_slack=np.array([0.0, 1.0]),
        )

    def price_of(self, asset: Address) -> Base | None:
        return {ETH.address: Base(self.price), USD.address: Base(1)}.get(asset)

    def liquidation_price(self, holdings: Holdings, leg: Leg) -> Base | None:
        return None

    def liquidation_price_above(self, holdings: Holdings, leg: Leg) -> Base | None:
        return None

    def price_factor(self, holdings: Holdings) -> Wad | None:
        return None

    def seconds_to_liquidation(self, holdings: Holdings) -> int | None:
        return 90 * 86_400

    def explain(self, holdings: Holdings) -> tuple[str, ...]:
        return ()

    def supply_to_reach(self, holdings: Holdings, leg: Leg, target: Wad) -> Raw | None:
        return None

    def repay_to_reach(self, holdings: Holdings, leg: Leg, target: Wad) -> Raw:
        return Raw(0)

    def liquidations(self, holdings: Holdings) -> tuple[Liquidation, ...]:
        return ()

    def liquidation_at_most(
        self, holdings: Holdings, of: Liquidation, debt_to_cover: Raw
    ) -> Liquidation | None:
        return None

    def encode(self, intent: Intent) -> tuple[Address, bytes]:
        return POOL, b""


class Adapter:
    """Satisfies `ports.LendingAdapter[str, Seen]`."""

    id = MARKET
    anchor = POOL

    def __init__(self) -> None:
        self.surprising: frozenset[Address] = frozenset()
        """Whose first read does not do."""
        self.rooms: list[AbstractSet[int] | None] = []
        """The room under which supply caps was asked for, read by read."""
        self.expected: dict[Address, Holdings | None] = {}
        """What was expected of those read besides."""

    def discover(self) -> Steps[str]:
        yield (_ask("discover"),)
        return "discovered"

    def sources(self, market: str) -> tuple[tuple[int, Asset, Address], ...]:
        return ((0, ETH, FEED), (1, USD, TRUSTED))

    def log_filter(self, market: str) -> LogFilter:
        return LogFilter(addresses=(POOL,), topics0=(TOUCHED, BORROWED, PARAMETERS, LIQUIDATED))

    def backfill_filter(self, market: str) -> LogFilter:
        return LogFilter(addresses=(POOL,), topics0=(BORROWED,))

    def liquidation_filter(self, market: str) -> LogFilter:
        return LogFilter(addresses=(POOL,), topics0=(LIQUIDATED,))

    def touched(self, market: str, logs: Sequence[Log]) -> Touched:
        def named(*topics: Hash) -> frozenset[Address]:
            return frozenset(
                Address("0x" + log.topics[1][-40:]) for log in logs if log.topics[0] in topics
            )

        return Touched(
            accounts=named(TOUCHED, BORROWED),
            borrowers=named(BORROWED),
            parameters=any(log.topics[0] == PARAMETERS for log in logs),
        )

    def liquidations(
        self, market: str, block: BlockRef, logs: Sequence[Log]
    ) -> tuple[Liquidated, ...]:
        """All collateral and debt of the account, by whom the third topic names."""
        return tuple(
            Liquidated(
                position=position(Address("0x" + log.topics[1][-40:])),
                block=block,
                log_index=log.log_index,
                liquidator=Address("0x" + log.topics[2][-40:]),
                collateral=ETH,
                debt=USD,
                covered=Raw(int.from_bytes(log.data[:32], "big")),
                seized=Raw(int.from_bytes(log.data[32:], "big")),
            )
            for log in logs
            if log.topics[0] == LIQUIDATED
        )

    def observe(
        self,
        market: str,
        accounts: Sequence[Address],
        known: Callable[[Address], Holdings | None],
        *,
        whole: bool = True,
        rooms: AbstractSet[int] | None = None,
    ) -> Steps[Seen]:
        self.rooms.append(rooms)
        price, *answers = yield (_ask("price"), *(_ask(f"account {a}") for a in accounts))
        left = () if whole else tuple(a for a in accounts if a in self.surprising)
        pairs = zip(accounts, answers, strict=True)
        there = {account: answer for account, answer in pairs if account not in left}
        read = _read(tuple(there), tuple(there.values()))
        return Seen(
            holdings=read.holdings,
            prices=(Base(_number(price)), Base(1)),
            unreadable=read.unreadable,
            unfinished=left,
        )

    def observe_accounts(
        self,
        market: str,
        accounts: Sequence[Address],
        known: Callable[[Address], Holdings | None],
    ) -> Steps[ReadAccounts]:
        self.expected |= {account: known(account) for account in accounts}
        answers = yield tuple(_ask(f"account {account}") for account in accounts)
        return _read(accounts, answers)

    def inventory(self, market: str, owner: Address, block: BlockRef) -> Steps[Inventory]:
        [answer] = yield (_ask("purse"),)
        there = dict.fromkeys((ETH.address, USD.address), Raw(_number(answer)))
        return Inventory(owner=owner, block=block, balances=there, allowances=there)

    def actions(self, market: str) -> tuple[tuple[IntentKind, Address, bytes], ...]:
        return ()

    def health_call(self, market: str, account: Address) -> Call:
        return _ask(f"account {account}")

    def decode_health(self, data: bytes) -> Wad:
        raise BadAnswer("nobody asks")

    def account_data(
        self, market: str, accounts: Sequence[Address]
    ) -> Steps[tuple[ContractHealth, ...]]:
        raise BadAnswer("nobody asks")
        yield ()

    def view(
        self, market: str, observation: Seen, block: BlockRef, unusable: Mapping[int, str]
    ) -> View:
        return View(MARKET, block, int(observation.prices[0] or 0), dict(unusable))


def _read(accounts: Sequence[Address], answers: Sequence[CallResult]) -> ReadAccounts:
    read, unreadable = [], []
    for account, answer in zip(accounts, answers, strict=True):
        if isinstance(answer, Failed):
            unreadable.append((account, f"{account} does not answer"))
        else:
            read.append(holdings(account, *json.loads(answer.data)))
    return ReadAccounts(holdings=tuple(read), unreadable=tuple(unreadable))


def _ask(what: str) -> Call:
    return Call(to=POOL, data=what.encode())


def _number(answer: CallResult) -> int:
    assert isinstance(answer, Returned)
    return int.from_bytes(answer.data, "big")


def watched_market(sweep_per_block: int = 0) -> WatchedMarket[str, Seen]:
    return WatchedMarket(
        Adapter(),
        tracing=TraceRules(overrides_s={FEED: HEARTBEAT_S}),
        # stories move prices at will: jumps are another story
        judging=JudgeRules(trusted_sources=frozenset({TRUSTED}), max_jump_percent=10**6),
        sweep_per_block=sweep_per_block,
    )


# --- what the engine talks to -----------------------------------------------------------------


class Reader:
    """Answers from the state of the block it is pinned to; fails when told to."""

    def __init__(self, chain: Chain, order: list[str]) -> None:
        self.chain = chain
        self.order = order
        self.accounts: list[set[Address]] = []
        """Which accounts each block's read asked for."""
        self.failures: list[ObservationError] = []
        self.undiscovered: list[ObservationError] = []
        """What the next discoveries fail with."""
        self.runs = 0

    async def run(self, steps: Steps[T], block: BlockRef) -> T:
        self.order.append("discover")
        self._begin()
        if self.undiscovered:
            raise self.undiscovered.pop(0)
        return self._drive(steps, block)

    async def run_all(self, steps: Sequence[Steps[T]], block: BlockRef) -> list[T]:
        self._begin()
        return [self._drive(one, block) for one in steps]

    async def run_all_settled(
        self, steps: Sequence[Steps[T]], block: BlockRef
    ) -> list[T | KeeperError]:
        self.order.append("read")
        self.accounts.append(set())
        self._begin()
        return [self._settle(one, block) for one in steps]

    def _begin(self) -> None:
        self.runs += 1
        if self.failures:
            raise self.failures.pop(0)

    def _settle(self, steps: Steps[T], block: BlockRef) -> T | KeeperError:
        try:
            return self._drive(steps, block)
        except KeeperError as error:
            return error

    def _drive(self, steps: Steps[T], block: BlockRef) -> T:
        try:
            calls = next(steps)
            while True:
                for call in calls:
                    word, _, account = call.data.decode(errors="replace").partition(" ")
                    if word == "account" and call.to == POOL:
                        (self.accounts or [set()])[-1].add(Address(account))
                calls = steps.send(tuple(self.chain.answer(call, block) for call in calls))
        except StopIteration as done:
            result: T = done.value
            return result


class Logs:
    """The wanted logs of one block."""

    def __init__(self, chain: Chain, order: list[str]) -> None:
        self.chain = chain
        self.order = order
        self.wanted = LogFilter(addresses=(), topics0=())
        self.asked: list[int] = []
        self.failing: set[Hash] = set()

    async def at(self, block: BlockRef) -> tuple[Log, ...]:
        self.order.append("logs")
        self.asked.append(block.number)
        await asyncio.sleep(0)  # as a node: what else was asked goes on meanwhile
        if block.hash in self.failing:
            raise ObservationError(f"block {block.number} is not there yet")
        wanted = self.wanted
        return tuple(
            log
            for log in self.chain.states[block.hash].logs
            if log.address in wanted.addresses and log.topics[0] in wanted.topics0
        )


class Records:
    """Satisfies `ports.Records`."""

    def __init__(self, order: list[str]) -> None:
        self.order = order
        self.people: tuple[Watch, ...] = ()
        self.states: tuple[AlertState, ...] = ()
        self.kept: list[PassRecord] = []
        self.checkpoints: list[Checkpoint] = []

    async def watches(self) -> tuple[Watch, ...]:
        return self.people

    async def alert_states(self) -> tuple[AlertState, ...]:
        return self.states

    async def manners(self) -> Manners:
        return Manners()

    async def record(self, record: PassRecord) -> None:
        self.order.append("record")
        self.kept.append(record)

    async def checkpoint(self, market: MarketId) -> Checkpoint | None:
        found = [c for c in self.checkpoints if c.market == market]
        return found[-1] if found else None

    async def save_checkpoint(self, checkpoint: Checkpoint) -> None:
        self.checkpoints.append(checkpoint)


class Executor:
    """Submits as it is told; what it submitted stays open until `end`."""

    armed = True

    def __init__(self, order: list[str]) -> None:
        self.order = order
        self.open: dict[str, Intent] = {}
        self.submitted: list[Intent] = []
        self.together: list[tuple[Address, ...]] = []
        self.declines: str = ""
        """Why every submission is declined; empty: none is."""
        self.rehearses = False
        self.recovered: tuple[Outcome, ...] = ()
        self._due: list[Outcome] = []

    def open_intents(self) -> tuple[Intent, ...]:
        return tuple(self.open.values())

    async def recover(self, block: BlockRef) -> tuple[Outcome, ...]:
        self.order.append("recover")
        return self.recovered

    async def settle(self, block: BlockRef) -> tuple[Outcome, ...]:
        self.order.append("settle")
        due, self._due = tuple(self._due), []
        return due

    async def submit(self, intent: Intent, view: MarketView) -> Submission:
        self.order.append(f"submit {intent.kind}")
        self.submitted.append(intent)
        if self.declines:
            return Declined(intent=intent, reason=self.declines)
        plan = plan_of(intent)
        if self.rehearses:
            return Rehearsed(plan=plan, health_after=None)
        self.open[intent.intent_id] = intent
        open_plan = OpenPlan(plan=plan, signer=OWNER, nonce=7, state=TxState.SENT)
        return Submitted(open_plan=open_plan, health_after=None)

    async def submit_together(
        self, intents: Sequence[Intent], view: MarketView
    ) -> tuple[Submission, ...]:
        self.together.append(tuple(intent.position.account for intent in intents))
        return tuple([await self.submit(intent, view) for intent in intents])

    def due(self, outcome: Outcome) -> None:
        """Answer so at the next `settle`."""
        self._due.append(outcome)

    def end(self, how: type[Confirmed] | type[Reverted] | type[Unknown]) -> None:
        """Everything open ends so at the next `settle`; an unknown one stays open."""
        for intent in self.open.values():
            plan = plan_of(intent)
            if how is Unknown:
                self._due.append(Unknown(plan=plan, reason="not known yet"))
            else:
                good = how is Confirmed
                self._due.append(how(plan=plan, receipt=receipt(good=good)))  # type: ignore[call-arg]
        if how is not Unknown:
            self.open.clear()


def plan_of(intent: Intent) -> Plan:
    return Plan(
        intent=intent,
        to=POOL,
        data=b"",
        gas_limit=21_000,
        max_fee_wei=Wei(1),
        deadline=NOW + 10_000,
    )


def receipt(*, good: bool) -> Receipt:
    return Receipt(
        tx_hash=block_hash(1, 1),
        block_number=101,
        block_hash=block_hash(101, 0),
        succeeded=good,
        gas_used=21_000,
        effective_gas_price_wei=Wei(1),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ActBelow:
    """A strategy that wants `amount` of the debt asset for whoever is below `below`."""

    kind: IntentKind
    below: Wad = WAD
    amount: int = 100
    name: str = "act_below"

    def decide(
        self, view: MarketView, holdings: Holdings, assessment: Assessment, wallet: Wallet
    ) -> Decision:
        where = assessment.position
        if isinstance(assessment, Unassessable):
            return Refuse(position=where, reason=assessment.reason)
        if assessment.health_factor >= self.below:
            return Hold(position=where, reason="healthy")
        if wallet.spendable(USD.address) < self.amount:
            return Refuse(position=where, reason=f"{wallet.spendable(USD.address)} is too little")
        return Act(
            intent=Intent(
                intent_id=f"{self.kind}-{where.account[-5:]}-{assessment.block.number}",
                kind=self.kind,
                position=where,
                block=assessment.block,
                asset=USD,
                amount=Raw(self.amount),
                value_at_risk=assessment.debt,
                health_before=assessment.health_factor,
                reason="below",
            )
        )


LIQUIDATE = ActBelow(kind=IntentKind.LIQUIDATE)


# --- all of it --------------------------------------------------------------------------------


class Story:
    """An engine on a tiny chain.  `order` is what happened, in order."""

    def __init__(
        self,
        *,
        protections: Mapping[Address, ActBelow] | None = None,
        otherwise: Strategy = LIQUIDATE,
        owner: Address | None = OWNER,
        sweep_per_block: int = 0,
        patience_s: float = math.inf,
        rules: tuple[Rule, ...] = (),
        records: Records | None = None,
    ) -> None:
        self.patience_s = patience_s
        self.rules = rules
        self.order: list[str] = []
        self.late_s = 3.0
        """How old the head is by the machine's clock."""
        self.overtaken = False
        """Whether the next head has come already."""
        self.chain = Chain()
        self.market = watched_market(sweep_per_block)
        self.reader = Reader(self.chain, self.order)
        self.logs = Logs(self.chain, self.order)
        self.records = records or Records(self.order)
        self.executor = Executor(self.order)
        self.engine = self._engine(
            Hand(
                owner=owner,
                protections=dict(protections or {}),
                otherwise=otherwise,
                ours=frozenset({OWNER}),
            )
        )

    @property
    def adapter(self) -> Adapter:
        there = self.market.adapter
        assert isinstance(there, Adapter)
        return there

    def _engine(self, hand: Hand) -> Engine:
        return Engine(
            markets=(self.market,),
            hands={MARKET.name: hand},
            logs=self.logs,
            reader=self.reader,
            records=self.records,
            executor=self.executor,
            telling=Telling(
                operators=(OPERATOR,),
                thresholds=Thresholds(
                    info=Wad(130 * WAD // 100),
                    warning=Wad(115 * WAD // 100),
                    critical=Wad(105 * WAD // 100),
                ),
                policy=Policy(),
                rules=lambda _: self.rules,
            ),
            rpc_calls=lambda: self.reader.runs + len(self.logs.asked),
            overtaken=lambda: self.overtaken,
            patience_s=self.patience_s,
            clock=_ticks(),
            wall=lambda: self.chain.head.timestamp + self.late_s,
        )

    async def begin(self, held: Mapping[Address, tuple[int, int]] | None = None) -> None:
        """Start, and take a first block in which these accounts borrowed."""
        await self.engine.start(self.chain.head)
        await self.mine(moved=held or {})
        self.order.clear()

    async def mine(self, **what: Any) -> Pass | None:
        """Mine one block and take it."""
        block = self.chain.mine(**what)
        return await self.take(block)

    async def take(
        self, *adopted: BlockRef, orphaned: tuple[BlockRef, ...] = (), doubt: str = ""
    ) -> Pass | None:
        return await self.engine.take(
            Advance(orphaned=orphaned, adopted=adopted, received_at=0.0, doubt=doubt)
        )

    def acted_on(self) -> list[Address]:
        return [intent.position.account for intent in self.executor.submitted]


def _ticks() -> Callable[[], float]:
    seconds: Iterator[int] = iter(range(1, 1_000_000))
    return lambda: float(next(seconds))


def done(passed: Pass | None) -> Pass:
    assert passed is not None, "the pass was skipped"
    return passed
