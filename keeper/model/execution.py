"""From a plan to its outcome: what is signed, sent, mined, and what became of it."""

from dataclasses import dataclass, replace
from enum import StrEnum

from keeper.model.chain import Address, Hash, Log
from keeper.model.decisions import (
    Intent,
    Why,
)
from keeper.units import Base, Wad, Wei


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """One of several intents that one transaction carries, each of them by itself."""

    intent: Intent
    gas: int
    """Its own, as simulated, before refunds: what its part of the gas paid is reckoned by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A transaction as it will be signed, but for nonce and fees."""

    intent: Intent
    """What it carries out; of several, the first: the journal knows the transaction by it."""
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
    data_fee_wei: Wei = Wei(0)  # noqa: RUF009 - a NewType of int is immutable
    """The most that a rollup may charge besides gas for putting it on its parent chain."""
    shares: tuple[Share, ...] = ()
    """All that it carries where that is more than one intent, the first of them first."""

    @property
    def intents(self) -> tuple[Intent, ...]:
        """All that it carries."""
        return tuple(share.intent for share in self.shares) or (self.intent,)

    @property
    def parts(self) -> "tuple[Plan, ...]":
        """Itself, and for each further intent a plan that takes nothing: the first one pays."""
        further = (
            replace(
                self,
                intent=share.intent,
                data=b"",
                gas_limit=0,
                spends=Base(0),
                data_fee_wei=Wei(0),
                shares=(),
            )
            for share in self.shares[1:]
        )
        return (self, *further)

    @property
    def most_gas_wei(self) -> Wei:
        """The most it may pay in the chain's coin: all of its gas at its cap, and the data fee."""
        return Wei(self.gas_limit * self.max_fee_wei + self.data_fee_wei)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What keys' plans took, or may still take: an open plan counts with its worst case."""

    value: Base
    """Sum of `Plan.spends` on all chains, plans that were abandoned or reverted left out."""
    gas_wei: Wei
    """Open: `Plan.most_gas_wei`.  Ended: what the receipt says and the data fee, 0 without one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wallet:
    """The chain's coin in the account of a claiming key, as it was read at some block."""

    balance_wei: Wei
    nonce: int
    """Transactions of the key mined by then: what those cost is gone from the balance already."""
    least_wei: Wei
    """What must be left after the worst case of everything that may still be paid out of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """What plans since an instant may take, the one that is being claimed included."""

    since: int
    """Chain seconds; plans decided at or after it count, and every open one."""
    value: Base
    """On all chains together."""
    gas_wei: Wei
    """On the chain of the claim: other chains have other coins."""
    together_with: tuple[Address, ...] = ()
    """Other keys whose plans count as well; the claiming key's always do."""
    wallet: Wallet | None = None
    """What gas is paid from: the claiming key's alone.  None: not looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a simulated transaction would pay at the block's prices: likely, not the most."""

    gas_used: int
    wei: Wei
    """Gas at base fee and tip, and the rollup's data fee."""
    value: Base | None
    """The same in base units, rounded up; None where the chain's coin has no price."""


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
    logs: tuple[Log, ...] = ()
    """Of the contract that the transaction went to; not kept in the journal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """What became of one of the further intents of a transaction."""

    intent_id: str
    state: TxState
    receipt: Receipt | None
    """The transaction's, with this intent's part of its gas."""
    health_after: Wad | None = None
    """Of the position at the end of the receipt's block; None where it was not read."""


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
    reason: str = ""
    """Why, where the chain says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """Not known yet: the nonce stays taken and nothing else is sent for this position."""

    plan: Plan
    reason: str
    stuck: bool = False
    """Nothing is done about it by itself, or only once gas falls: people are told.  False for what
    the next block may tell."""


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
    cost: Cost | None = None
    """What it would have paid; None in what older keepers rehearsed."""

    @property
    def intent(self) -> Intent:
        """What it would have carried out."""
        return self.plan.intent


@dataclass(frozen=True, slots=True, kw_only=True)
class Declined:
    """Not sent, and why; nothing was spent."""

    intent: Intent
    reason: str
    why: Why = Why.REFUSED
    again: bool = False
    """A cap of the day declined others before it and stands as it stood then: this one is counted,
    but neither logged nor kept."""
    others: int = 0
    """How many were only counted since the last one that was not."""
    this_way: bool = False
    """Whether it is about how it was to be done, such as a revert: another way may go."""


Submission = Submitted | Rehearsed | Declined
