"""A journal in memory and a small chain in memory, both strict where the real ones are.

`MemoryJournal` keeps the promises of `keeper.ports.Journal`.  `FakeChain` decodes what it is sent,
holds geth's replacement rule (10 % on both fees), mines, reorganises, drops, and can be told to
lose replies and to lie about errors.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from eth_utils.crypto import keccak

from keeper.errors import JournalError, PolicyViolation, RpcError
from keeper.execution.policy import Permission, SigningPolicy, Target
from keeper.execution.signer import KeystoreSigner
from keeper.execution.transaction import SignedTx, UnsignedTx, decode_signed
from keeper.model import (
    Address,
    Allowance,
    Asset,
    Attempt,
    AuditEvent,
    BlockRef,
    Call,
    Ended,
    Fees,
    Hash,
    Holdings,
    Intent,
    IntentKind,
    Leg,
    Liquidation,
    MarketId,
    Message,
    OpenPlan,
    Outcome,
    Plan,
    PositionId,
    Receipt,
    Spent,
    TxState,
    Unassessable,
)
from keeper.units import Base, Raw, Wad, Wei

CHAIN = 31_337
KEY = "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d"
"""Anvil's second account."""
SIGNER = KeystoreSigner.plain(KEY, CHAIN)
MARKET = MarketId(chain_id=CHAIN, name="aave-v3-local", protocol="aave_v3")
TARGET = Address("0x" + "c0" * 20)
SELECTOR = bytes.fromhex("617ba037")
"""supply(address,uint256,address,uint16)"""
USDC = Asset(address=Address("0x" + "d1" * 20), symbol="USDC", decimals=6)
GWEI = 10**9
OPEN = (TxState.CLAIMED, TxState.SIGNED, TxState.SENT, TxState.MINED)
BEFORE = {
    TxState.SIGNED: (TxState.CLAIMED, TxState.SIGNED, TxState.SENT),
    TxState.SENT: (TxState.SIGNED, TxState.SENT),
    TxState.MINED: (TxState.SIGNED, TxState.SENT, TxState.MINED),
    TxState.CONFIRMED: (TxState.SENT, TxState.MINED),
    TxState.REVERTED: (TxState.SENT, TxState.MINED),
    TxState.ABANDONED: OPEN,
}


class Crash(BaseException):
    """The process ends here."""


# --- the journal ------------------------------------------------------------------------------


class MemoryJournal:
    """Survives a `Crash` as a database does: each method is all or nothing."""

    def __init__(self) -> None:
        self.plans: dict[str, OpenPlan] = {}
        self.messages: list[Message] = []
        self.audit: list[AuditEvent] = []
        self.further: list[Ended] = []
        """Ends of what else transactions carried."""
        self.healths: dict[str, Wad | None] = {}
        """By intent, as it ended."""
        self.fail: dict[str, Exception] = {}
        """Raised once by the method of that name, before it does anything."""

    async def claim(
        self,
        plan: Plan,
        signer: Address,
        chain_nonce: int,
        within: Allowance | None = None,
        healths: Sequence[Wad | None] = (),
    ) -> OpenPlan:
        self._maybe_fail("claim")
        assert not healths or len(healths) == len(plan.intents)
        if within is not None:
            spent = await self.spent_since(signer, within.since, *within.together_with)
            gas_wei = spent.gas_wei + plan.most_gas_wei
            if spent.value + plan.spends > within.value or gas_wei > within.gas_wei:
                raise PolicyViolation(f"{plan.intent.intent_id} is over the day's cap")
            if (wallet := within.wallet) is not None:
                mine = [p for p in self._open(signer) if p.nonce >= wallet.nonce]
                reserved = sum(p.plan.most_gas_wei for p in mine) + plan.most_gas_wei
                if wallet.balance_wei - reserved < wallet.least_wei:
                    raise PolicyViolation(f"{plan.intent.intent_id} leaves too little")
        if plan.intent.intent_id in self.plans:
            raise JournalError(f"{plan.intent.intent_id} is in the journal already")
        wanted = {intent.position for intent in plan.intents}
        if any(i.position in wanted for p in self._open(signer) for i in p.plan.intents):
            raise JournalError(f"{plan.intent.position} has an open plan")
        held = [p.nonce for p in self.plans.values() if p.signer == signer and _holds(p)]
        nonce = max([chain_nonce, *(n + 1 for n in held)])
        claimed = OpenPlan(plan=plan, signer=signer, nonce=nonce, state=TxState.CLAIMED)
        self.plans[plan.intent.intent_id] = claimed
        return claimed

    async def signed(self, intent_id: str, attempt: Attempt) -> None:
        self._maybe_fail("signed")
        plan = self._advance(intent_id, TxState.SIGNED)
        self.plans[intent_id] = replace(plan, attempts=(*plan.attempts, attempt))

    async def sent(self, intent_id: str, at_block: int) -> None:
        self._maybe_fail("sent")
        plan = self._advance(intent_id, TxState.SENT)
        self.plans[intent_id] = replace(plan, sent_at_block=at_block)

    async def mined(self, intent_id: str, receipt: Receipt) -> None:
        self._maybe_fail("mined")
        plan = self._advance(intent_id, TxState.MINED)
        self.plans[intent_id] = replace(plan, receipt=receipt)

    async def unmined(self, intent_id: str) -> None:
        self._maybe_fail("unmined")
        plan = self.plans[intent_id]
        if plan.state is not TxState.MINED:
            raise JournalError(f"{intent_id} is {plan.state}: it has no receipt to take back")
        self.plans[intent_id] = replace(plan, state=TxState.SENT, receipt=None)

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
        self._maybe_fail("settle")
        self.healths[intent_id] = health_after
        plan = self._advance(intent_id, state)
        self.plans[intent_id] = replace(plan, receipt=receipt)
        self.further += further
        self.messages += messages
        self.audit += audit

    async def open_plans(self, signer: Address) -> tuple[OpenPlan, ...]:
        self._maybe_fail("open_plans")
        return self._open(signer)

    async def watermark(self, signer: Address) -> int | None:
        held = [p.nonce for p in self.plans.values() if p.signer == signer and _holds(p)]
        return max(held, default=None)

    async def reverts(self, signer: Address, since: int) -> tuple[Plan, ...]:
        found: list[Plan] = []
        for p in self.plans.values():  # in the order of their claims, which is near enough here
            if p.signer == signer and p.plan.intent.block.timestamp >= since:
                if p.state is TxState.CONFIRMED:
                    found.clear()
                elif p.state is TxState.REVERTED:
                    found.append(p.plan)
        return tuple(sorted(found, key=lambda plan: plan.intent.block.timestamp))

    async def spent_since(self, signer: Address, since: int, *others: Address) -> Spent:
        value = gas = 0
        for p in self.plans.values():
            plan = p.plan
            if p.signer not in {signer, *others} or (
                plan.intent.block.timestamp < since and p.state not in OPEN
            ):
                continue
            if p.state in OPEN:
                gas += plan.most_gas_wei
            elif p.receipt is not None:
                gas += p.receipt.gas_used * p.receipt.effective_gas_price_wei
            if p.state in OPEN or p.state is TxState.CONFIRMED:
                value += plan.spends
        return Spent(value=Base(value), gas_wei=Wei(gas))

    def _open(self, signer: Address) -> tuple[OpenPlan, ...]:
        mine = [p for p in self.plans.values() if p.signer == signer and p.state in OPEN]
        return tuple(sorted(mine, key=lambda p: p.nonce))

    def _advance(self, intent_id: str, state: TxState) -> OpenPlan:
        plan = self.plans.get(intent_id)
        if plan is None or plan.state not in BEFORE[state]:
            raise JournalError(f"{intent_id} is {plan and plan.state}: it cannot become {state}")
        self.plans[intent_id] = replace(plan, state=state)
        return self.plans[intent_id]

    def _maybe_fail(self, method: str) -> None:
        if method in self.fail:
            raise self.fail.pop(method)


def _holds(plan: OpenPlan) -> bool:
    return plan.state is not TxState.ABANDONED or bool(plan.attempts)


# --- the chain --------------------------------------------------------------------------------


@dataclass
class FakeChain:
    """Implements `keeper.execution.node.Node`."""

    chain_id: int = CHAIN
    base_fee_wei: int = 10 * GWEI
    tip_wei: int = GWEI
    balance_wei: int = 100 * 10**18
    has_simulate_v1: bool = True
    revert_data: bytes | None = None
    """Set: every simulation reverts with it."""
    health_after: int = 1_500_000_000_000_000_000
    gas_used: int = 200_000
    mined_ok: bool = True
    send_faults: list[str] = field(default_factory=list)
    """For the next sends: ``ok``, ``lost reply``, ``refused``, ``black hole``."""
    read_fault: Exception | None = None
    healths: dict[str, int] = field(default_factory=dict)
    """What the market's contract says of anybody, by block hash; no answer for another one."""
    hide_receipts: bool = False
    blocks: list[tuple[BlockRef, tuple[SignedTx, ...]]] = field(default_factory=list)
    pool: dict[int, SignedTx] = field(default_factory=dict)
    sent: list[SignedTx] = field(default_factory=list)
    """Every transaction ever handed over, in order."""
    calls: list[str] = field(default_factory=list)
    fork: int = 0

    def __post_init__(self) -> None:
        self.mine()

    @property
    def head(self) -> BlockRef:
        return self.blocks[-1][0]

    def mine(self, *, include: bool = True) -> BlockRef:
        """Add a block with what of the pool is executable and pays the base fee."""
        number = self.blocks[-1][0].number + 1 if self.blocks else 100
        parent = self.blocks[-1][0].hash if self.blocks else Hash("0x" + "00" * 32)
        taken: list[SignedTx] = []
        nonce = self.nonce()
        while include and (signed := self.pool.get(nonce)):
            if signed.tx.fees.max_fee_wei < self.base_fee_wei:
                break
            taken.append(self.pool.pop(nonce))
            nonce += 1
        ref = BlockRef(
            number=number,
            hash=Hash("0x" + keccak(f"{number}:{parent}:{self.fork}".encode()).hex()),
            parent_hash=parent,
            timestamp=1_790_000_000 + 12 * number,
            base_fee_wei=Wei(self.base_fee_wei),
        )
        self.blocks.append((ref, tuple(taken)))
        return ref

    def reorg(self, depth: int, *, keep: bool) -> BlockRef:
        """Replace the newest `depth` blocks by one more; `keep`: their transactions come back."""
        self.fork += 1
        orphaned = self.blocks[-depth:]
        del self.blocks[-depth:]
        if keep:
            for _, txs in orphaned:
                self.pool.update({signed.tx.nonce: signed for signed in txs})
        for _ in range(depth):
            self.mine(include=False)
        return self.mine(include=False)

    def steal(self, nonce: int) -> None:
        """Let something else use `nonce`, in the next block."""
        foreign = replace(self._foreign(nonce))
        self.pool[nonce] = foreign

    def executed(self) -> list[bytes]:
        """Calldata of everything on the canonical chain, in order."""
        return [signed.tx.data for _, txs in self.blocks for signed in txs]

    def nonce(self, block_hash: str | None = None) -> int:
        total = 0
        for ref, txs in self.blocks:
            total += len(txs)
            if ref.hash == block_hash:
                return total
        if block_hash is not None:
            raise RpcError(f"header not found: {block_hash}", code=-32000)
        return total

    # --- as a node --------------------------------------------------------------------------

    async def call(self, method: str, params: list[Any], /) -> Any:
        self.calls.append(method)
        if self.read_fault is not None:
            raise self.read_fault
        answers: dict[str, Callable[[list[Any]], Any]] = {
            "eth_chainId": lambda _: hex(self.chain_id),
            "eth_getTransactionCount": lambda p: hex(self._count(p[1])),
            "eth_getBalance": lambda _: hex(self.balance_wei),
            "eth_maxPriorityFeePerGas": lambda _: hex(self.tip_wei),
            "eth_simulateV1": self._simulate,
            "eth_call": self._eth_call,
            "eth_estimateGas": lambda p: hex(21_000 if "data" not in p[0] else self.gas_used),
        }
        return answers[method](params)

    async def send_raw(self, raw: bytes, /) -> Hash:
        fault = self.send_faults.pop(0) if self.send_faults else "ok"
        signed = decode_signed(raw)
        if fault == "refused":
            raise RpcError("insufficient funds for gas * price + value", code=-32000)
        if fault == "black hole":
            return signed.tx_hash
        self.sent.append(signed)
        nonce, known = signed.tx.nonce, self.pool.get(signed.tx.nonce)
        if nonce < self.nonce():
            raise RpcError("nonce too low", code=-32000)
        if known is not None and known.tx_hash != signed.tx_hash and not _replaces(signed, known):
            raise RpcError("replacement transaction underpriced", code=-32000)
        if known is not None and known.tx_hash == signed.tx_hash:
            raise RpcError("already known", code=-32000)
        self.pool[nonce] = signed
        if fault == "lost reply":
            raise RpcError("the node did not answer within 5 s")
        return signed.tx_hash

    async def receipt(self, tx_hash: Hash, /) -> Receipt | None:
        self.calls.append("eth_getTransactionReceipt")
        for ref, txs in self.blocks:
            for signed in txs:
                if signed.tx_hash == tx_hash and not self.hide_receipts:
                    return Receipt(
                        tx_hash=tx_hash,
                        block_number=ref.number,
                        block_hash=ref.hash,
                        succeeded=self.mined_ok,
                        gas_used=self.gas_used,
                        effective_gas_price_wei=Wei(self.base_fee_wei),
                    )
        return None

    def _count(self, at: Any) -> int:
        if at == "pending":
            nonce = self.nonce()
            while nonce in self.pool:
                nonce += 1
            return nonce
        if isinstance(at, dict):
            return self.nonce(at["blockHash"])
        deep = [ref for ref, _ in self.blocks if ref.number <= int(at, 16)]
        return self.nonce(deep[-1].hash) if deep else 0

    def _simulate(self, params: list[Any]) -> Any:
        if not self.has_simulate_v1:
            raise RpcError("the method eth_simulateV1 does not exist", code=-32601)
        calls = params[0]["blockStateCalls"][0]["calls"]
        reverts = self.revert_data is not None
        answers = []
        for call in calls:
            probe = call["data"].startswith("0xbf92857c")
            answers.append(
                {
                    "status": "0x0" if reverts and not probe else "0x1",
                    "gasUsed": hex(self.gas_used),
                    "returnData": "0x"
                    + (
                        self.health_after.to_bytes(32, "big")
                        if probe
                        else (self.revert_data or b"")
                    ).hex(),
                }
            )
        return [{"calls": answers, "gasLimit": hex(30_000_000)}]

    def _eth_call(self, params: list[Any]) -> Any:
        if params[0]["to"] == TARGET and params[0]["data"].startswith("0xbf92857c"):
            return self._health_at(params[1]["blockHash"])
        if self.revert_data is not None:
            raise RpcError("execution reverted", code=3, data="0x" + self.revert_data.hex())
        return "0x"

    def _health_at(self, block_hash: str) -> str:
        if block_hash not in self.healths:
            raise RpcError(f"missing trie node {block_hash}", code=-32000)
        return f"0x{self.healths[block_hash]:064x}"

    def _foreign(self, nonce: int) -> SignedTx:
        tx = UnsignedTx(
            chain_id=CHAIN,
            nonce=nonce,
            to=Address("0x" + "ee" * 20),
            value_wei=Wei(1),
            data=b"foreign",
            gas_limit=21_000,
            fees=Fees(max_fee_wei=Wei(10**15), priority_fee_wei=Wei(1)),
        )
        digest = keccak(tx.payload())
        return SignedTx(tx=tx, sender=SIGNER.address, tx_hash=Hash("0x" + digest.hex()))


def _replaces(new: SignedTx, old: SignedTx) -> bool:
    """geth's rule: strictly more, and at least 10 % more, on both fees."""
    pairs = (
        (new.tx.fees.max_fee_wei, old.tx.fees.max_fee_wei),
        (new.tx.fees.priority_fee_wei, old.tx.fees.priority_fee_wei),
    )
    return all(n > o and 100 * n >= 110 * o for n, o in pairs)


# --- what is done -----------------------------------------------------------------------------


@dataclass(frozen=True)
class FakeView:
    """A market whose every action is `SELECTOR` with the intent's number behind it."""

    block: BlockRef
    market: MarketId = MARKET

    def encode(self, intent: Intent) -> tuple[Address, bytes]:
        return TARGET, SELECTOR + int(intent.intent_id.rpartition("-")[2]).to_bytes(32, "big")

    def assess(self, holdings: Holdings) -> Unassessable:
        return Unassessable(
            position=PositionId(market=self.market, account=holdings.account),
            block=self.block,
            reason="a fake",
        )

    def price_of(self, asset: Address) -> Base | None:
        return Base(100_001_234) if asset == USDC.address else None

    def supply_to_reach(self, holdings: Holdings, leg: Leg, target: Wad) -> Raw | None:
        raise NotImplementedError

    def repay_to_reach(self, holdings: Holdings, leg: Leg, target: Wad) -> Raw:
        raise NotImplementedError

    def liquidations(self, holdings: Holdings) -> tuple[Liquidation, ...]:
        raise NotImplementedError

    def liquidation_at_most(
        self, holdings: Holdings, of: Liquidation, debt_to_cover: Raw
    ) -> Liquidation | None:
        raise NotImplementedError


def intent(number: int, block: BlockRef, kind: IntentKind = IntentKind.TOP_UP) -> Intent:
    """Return an intent for the position of account `number`."""
    return Intent(
        intent_id=f"intent-{number}",
        kind=kind,
        position=PositionId(market=MARKET, account=Address(f"0x{number:040x}")),
        block=block,
        asset=USDC,
        amount=Raw(2_938_104_201),
        value_at_risk=Base(97_190_550_123),
        expected_profit=Base(51_034_000_017),
        health_before=Wad(1_061_060_494_595_665_214),
        reason="health factor 1.061 is below 1.10",
    )


def policy(**changes: Any) -> SigningPolicy:
    """Return a policy that allows the actions of `FakeView`."""
    plain = SigningPolicy(
        chain_id=CHAIN,
        permissions=tuple(Permission(market=MARKET.name, kind=kind) for kind in IntentKind),
        targets=(Target(chain_id=CHAIN, to=TARGET, selector=SELECTOR),),
        max_spend=Base(500_000_000_000),
        max_spend_per_day=Base(5_000_000_000_000),
        max_gas_wei=Wei(10**18),
        max_gas_per_day_wei=Wei(20 * 10**18),
        min_balance_wei=Wei(10**17),
    )
    return replace(plain, **changes)


def health_call(of: Intent) -> Call:
    return Call(to=TARGET, data=bytes.fromhex("bf92857c") + bytes.fromhex(of.position.account[2:]))


def on_settled(
    outcome: Outcome, health: Wad | None
) -> tuple[tuple[Message, ...], tuple[AuditEvent, ...]]:
    name = type(outcome).__name__.lower()
    fields = {"intent": outcome.plan.intent.intent_id, "health_after_wad": health}
    return (), (AuditEvent(event=f"intent.{name}", fields=fields),)
