"""From a plan to its outcome: what is signed, sent, mined, and what became of it."""

from dataclasses import dataclass
from enum import StrEnum

from keeper.model.chain import Address, Hash
from keeper.model.decisions import (
    Intent,
)
from keeper.units import Base, Wad, Wei


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A transaction as it will be signed, but for nonce and fees."""

    intent: Intent
    to: Address
    data: bytes
    value_wei: Wei = Wei(0)  # noqa: RUF009 - a NewType of int is immutable
    gas_limit: int
    max_fee_wei: Wei
    """The most that may ever be paid per gas for this intent, bumps included."""
    deadline: int
    """Seconds since the epoch, chain time: not sent or bumped after it."""
    spends: Base = Base(0)  # noqa: RUF009 - a NewType of int is immutable
    """What it takes from the keeper's account, base units at the block's prices: caps count it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What a signer's plans took, or may still take: an open plan counts with its worst case."""

    value: Base
    """Sum of `Plan.spends`, plans that were abandoned or reverted left out."""
    gas_wei: Wei
    """Open: ``gas_limit * max_fee_wei``.  Ended: what the receipt says, 0 without one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fees:
    """EIP-1559 fees of one attempt, wei per gas."""

    max_fee_wei: Wei
    priority_fee_wei: Wei


class TxState(StrEnum):
    """Where an intent's transaction is.  Only the last three are ends."""

    CLAIMED = "claimed"
    SIGNED = "signed"
    SENT = "sent"
    MINED = "mined"
    CONFIRMED = "confirmed"
    REVERTED = "reverted"
    ABANDONED = "abandoned"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One signed transaction of an intent; bumps of it share the nonce."""

    tx_hash: Hash
    raw: bytes
    fees: Fees


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What the chain says became of a transaction."""

    tx_hash: Hash
    block_number: int
    block_hash: Hash
    succeeded: bool
    gas_used: int
    effective_gas_price_wei: Wei


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenPlan:
    """A plan with its nonce and its attempts, as the journal holds it."""

    plan: Plan
    signer: Address
    nonce: int
    state: TxState
    attempts: tuple[Attempt, ...] = ()
    """Oldest first; any of them may be the one that is mined."""
    sent_at_block: int | None = None
    receipt: Receipt | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmed:
    """Mined, succeeded, and deep enough."""

    plan: Plan
    receipt: Receipt


@dataclass(frozen=True, slots=True, kw_only=True)
class Reverted:
    """Mined and failed: gas was spent, nothing else."""

    plan: Plan
    receipt: Receipt


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """Not known yet: the nonce stays taken and nothing else is sent for this position."""

    plan: Plan
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Abandoned:
    """Ended without effect: never signed, cancelled, or its nonce was used by something else."""

    plan: Plan
    reason: str
    receipt: Receipt | None = None
    """Of the cancelling self-transfer, if one was mined: its gas was spent."""


Outcome = Confirmed | Reverted | Unknown | Abandoned


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    """The transaction is on its way: journalled, signed, stored, sent."""

    open_plan: OpenPlan
    health_after: Wad | None
    """As simulated at the pinned block."""

    @property
    def intent(self) -> Intent:
        """What it carries out."""
        return self.open_plan.plan.intent


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsed:
    """Not armed: the same path up to the signature, and what it would have done."""

    plan: Plan
    health_after: Wad | None
    gas_wei: Wei | None = None
    """What its gas would cost at the block's own fee, as simulated; None where nobody asked."""

    @property
    def intent(self) -> Intent:
        """What it would have carried out."""
        return self.plan.intent


@dataclass(frozen=True, slots=True, kw_only=True)
class Declined:
    """Not sent, and why; nothing was spent."""

    intent: Intent
    reason: str


Submission = Submitted | Rehearsed | Declined
