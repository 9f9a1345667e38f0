"""What to do next with an open plan, from what the chain says at one head.  Pure.

The nonce decides, read by the head's hash: while the signer's nonce has not passed the plan's, no
attempt of it can be mined on this branch, whatever a node says; once it has passed, one of the
attempts has a receipt, or something that is not ours used the nonce.  No error text has a say.

An action that would revert by now is not paid for: `instead_of` uses its nonce up.

After the deadline the action itself is neither sent nor bumped.  A signed nonce cannot be given
up, since any attempt may still be mined: it is used up by a zero-value self-transfer with the same
nonce.  An action's fees stay below the plan's cap by one replacement, so that this always fits.

Caveat: a plan that was confirmed is not looked at again.  If a reorg deeper than
`ProgressRules.confirmations` takes it away, the nonce is missing and `NonceHole` says so.
"""

from dataclasses import dataclass

from keeper.execution.fees import AtCap, bump, initial_fees, leave_room, suggested
from keeper.model import BlockRef, Fees, Hash, OpenPlan, Receipt, TxState
from keeper.units import Wei


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgressRules:
    """How patient the executor is, in blocks."""

    confirmations: int = 3
    """Blocks, the receipt's own included, after which it is taken for good."""
    bump_after: int = 2
    """Blocks without inclusion after which fees rise."""
    looks: int = 2
    """Heads that must agree before a nonce is held to be stolen or missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What is known about one plan at one head."""

    block: BlockRef
    nonce: int
    """The signer's, read at ``block.hash``."""
    pending_nonce: int
    """By the node's pool: a hint whether our transaction is still there."""
    tip_wei: Wei
    receipts: tuple[Receipt, ...] = ()
    """Of any attempt; asked for only once the nonce has passed the plan's."""
    deep_nonce: int | None = None
    """The signer's nonce `confirmations` deep; read only where no receipt was found."""
    cancelling: frozenset[Hash] = frozenset()
    """Attempts that are cancellations."""
    lowest_open: int
    """Lowest nonce of all open plans."""
    highest_signed: int | None
    """Highest nonce of all open plans with an attempt."""
    doubts: int = 0
    """Earlier heads in a row at which this plan's nonce looked stolen or missing."""
    claim_is_dead: bool = False
    """Whoever made the claim is gone or gave up: nobody is about to sign for it."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do."""


@dataclass(frozen=True, slots=True)
class Stuck:
    """Nothing that can be done, and people should know."""

    reason: str


@dataclass(frozen=True, slots=True)
class Rebroadcast:
    """Send the stored bytes of the newest attempt again."""

    raw: bytes


@dataclass(frozen=True, slots=True)
class Bump:
    """Sign the same transaction with these fees."""

    fees: Fees


@dataclass(frozen=True, slots=True)
class Cancel:
    """Sign a self-transfer with the same nonce and these fees."""

    fees: Fees


@dataclass(frozen=True, slots=True)
class MarkMined:
    """In a block that may still be orphaned."""

    receipt: Receipt


@dataclass(frozen=True, slots=True)
class Unmine:
    """The block with the receipt is gone."""


@dataclass(frozen=True, slots=True)
class Settle:
    """The end: `state` is CONFIRMED, REVERTED or ABANDONED."""

    state: TxState
    receipt: Receipt | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class NonceStolen:
    """The nonce is used and no receipt is ours: stop signing.  `final`: deep, and seen twice."""

    reason: str
    final: bool


@dataclass(frozen=True, slots=True)
class NonceHole:
    """An earlier nonce is neither used nor in the journal: nothing after it can be mined."""

    reason: str


Step = (
    Wait
    | Stuck
    | Rebroadcast
    | Bump
    | Cancel
    | MarkMined
    | Unmine
    | Settle
    | NonceStolen
    | NonceHole
)


def next_step(plan: OpenPlan, now: Situation, rules: ProgressRules) -> Step:
    """Return the one next step for `plan`; after a `MarkMined` or `Unmine`, ask again."""
    if plan.nonce < now.nonce:
        return _nonce_used(plan, now, rules)
    if plan.state is TxState.MINED:
        return Unmine()
    if not plan.attempts:
        return _never_signed(plan, now)
    if plan.nonce == now.lowest_open and plan.nonce > now.nonce:
        return NonceHole(
            f"nonce {now.nonce} of {plan.signer} is neither mined nor in the journal, which begins"
            f" at {plan.nonce}: nothing after it can be mined"
        )
    return _in_the_pool(plan, now, rules)


def deep_enough(receipt: Receipt, head: BlockRef, rules: ProgressRules) -> bool:
    """Whether what `receipt` says is believed at `head`."""
    return head.number - receipt.block_number + 1 >= rules.confirmations


def instead_of(plan: OpenPlan, now: Situation) -> Cancel | Stuck:
    """Return what to do instead of sending an action again that would revert."""
    suggestion = suggested(now.block.base_fee_wei, now.tip_wei)
    match bump(plan.attempts[-1].fees, suggestion, plan.plan.max_fee_wei):
        case AtCap():
            return Stuck("it would revert by now and no cancellation fits under its gas cap")
        case fees:
            return Cancel(fees)


def _nonce_used(plan: OpenPlan, now: Situation, rules: ProgressRules) -> Step:
    ours = {attempt.tx_hash for attempt in plan.attempts}
    mined = [r for r in now.receipts if r.tx_hash in ours and r.block_number <= now.block.number]
    if not mined:
        if plan.state is TxState.MINED:
            return Unmine()
        deep = now.deep_nonce is not None and now.deep_nonce > plan.nonce
        return NonceStolen(
            f"nonce {plan.nonce} of {plan.signer} was used by a transaction that is not in the"
            " journal",
            final=deep and now.doubts + 1 >= rules.looks,
        )
    receipt = mined[0]
    known = plan.receipt if plan.state is TxState.MINED else None
    if known is None or (known.tx_hash, known.block_hash) != (receipt.tx_hash, receipt.block_hash):
        return MarkMined(receipt)
    if not deep_enough(receipt, now.block, rules):
        return Wait()
    if receipt.tx_hash in now.cancelling:
        why = "its deadline had passed, or it would have reverted"
        return Settle(TxState.ABANDONED, receipt, f"it was cancelled: {why}")
    return Settle(TxState.CONFIRMED if receipt.succeeded else TxState.REVERTED, receipt)


def _never_signed(plan: OpenPlan, now: Situation) -> Step:
    """A claim without a signature: free to go, unless later nonces wait behind it."""
    if not now.claim_is_dead:
        return Wait()
    if now.highest_signed is None or now.highest_signed < plan.nonce:
        return Settle(TxState.ABANDONED, None, "it was claimed but never signed")
    match initial_fees(now.block.base_fee_wei, now.tip_wei, plan.plan.max_fee_wei):
        case AtCap():
            return Stuck(
                "it was never signed and later nonces wait behind it, but gas is over its cap"
            )
        case fees:
            return Cancel(fees)


def _in_the_pool(  # noqa: PLR0911 - a table
    plan: OpenPlan, now: Situation, rules: ProgressRules
) -> Step:
    newest = plan.attempts[-1]
    is_cancel = newest.tx_hash in now.cancelling
    cap = plan.plan.max_fee_wei
    overdue = now.block.timestamp > plan.plan.deadline
    cancels = is_cancel or overdue
    raised = bump(
        newest.fees,
        suggested(now.block.base_fee_wei, now.tip_wei),
        cap if cancels else leave_room(cap),
    )
    if overdue and not is_cancel:
        if isinstance(raised, AtCap):
            return Stuck("its deadline has passed and no cancellation fits under its gas cap")
        return Cancel(raised)
    if plan.state is TxState.SIGNED or plan.sent_at_block is None:
        return Rebroadcast(newest.raw)
    age = now.block.number - plan.sent_at_block
    holds_up = plan.nonce == now.nonce or newest.fees.max_fee_wei < now.block.base_fee_wei
    due = age >= rules.bump_after and holds_up
    if due and not isinstance(raised, AtCap):
        return Cancel(raised) if is_cancel else Bump(raised)
    if now.pending_nonce <= plan.nonce and age > 0:
        return Rebroadcast(newest.raw)
    if due:
        return Stuck(f"it is not mined and its gas cap of {cap} wei a unit allows no higher fee")
    return Wait()
