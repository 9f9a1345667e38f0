"""From a claimed plan to bytes on the wire, each step durable before the next.

``judge -> sign -> store the bytes -> send -> note it``.  A crash between any two leaves what the
next start needs: without stored bytes nothing was sent; with them they are sent again as they are.

What goes to a private relay first may go to the node later, by policy: the same bytes with the same
nonce, so that one of the two can be mined and never both.  A block that is orphaned with a private
transaction in it has shown it to everybody; it is handed to the relay again, not to the node.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, Protocol

import structlog

from keeper.errors import JournalError, KeeperError, PolicyViolation
from keeper.execution.arming import Arming
from keeper.execution.node import Node
from keeper.execution.policy import Denied, SigningPolicy
from keeper.execution.signer import GuardedSigner, Signer
from keeper.execution.transaction import UnsignedTx, cancelling, decode_unsigned
from keeper.model import Attempt, BlockRef, IntentKind, OpenPlan, TxState
from keeper.ports import Journal

log = structlog.get_logger()


class Relay(Protocol):
    """Met by `keeper.chain.relay.HttpRelay` and by the stand-ins of the tests."""

    @property
    def name(self) -> str: ...

    async def send_private(self, raw: bytes, after_block: int) -> None:
        """Hand over, once.  An error does not mean that it was not taken."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivateRoute:
    """Which actions go to a relay, and when they go to everybody after all."""

    relay: Relay
    kinds: frozenset[IntentKind]
    public_after: int | None
    """Blocks after the decision from which on the same bytes go to the node too; None: never."""

    def takes(self, plan: OpenPlan, attempt: Attempt) -> bool:
        """Whether this attempt is private.  A cancellation never is: it gives nothing away."""
        of = replace(plan, attempts=(attempt,))
        return plan.plan.intent.kind in self.kinds and attempt.tx_hash not in cancelling(of)

    def public_at(self, plan: OpenPlan, block: BlockRef) -> bool:
        """Whether the relay had its time."""
        waited = block.number - plan.plan.intent.block.number
        return self.public_after is not None and waited >= self.public_after


Failpoint = Callable[[str], None]
"""Called with the name of each step passed; crash tests end the process in it."""

FAILPOINTS: Final = (
    "intent.simulated",
    "plan.claimed",
    "tx.judged",
    "tx.signed",
    "tx.stored",
    "tx.sent",
    "tx.recorded",
    "tx.rebroadcast",
    "plan.mined",
    "plan.unmined",
    "plan.settling",
    "plan.settled",
)


def no_failpoint(_name: str) -> None:
    """Do nothing: the default."""


class Sender:
    """The only holder of the signer."""

    def __init__(
        self,
        *,
        node: Node,
        journal: Journal,
        signer: Signer,
        policy: SigningPolicy,
        arming: Arming,
        failpoint: Failpoint,
        private: PrivateRoute | None = None,
    ) -> None:
        self._node = node
        self._journal = journal
        self._signer = GuardedSigner(signer, policy)
        self._policy = policy
        self._arming = arming
        self._failpoint = failpoint
        self._private = private

    async def dispatch(self, plan: OpenPlan, tx: UnsignedTx, block: BlockRef) -> OpenPlan:
        """Judge, sign, store, send and note `tx`, one attempt of `plan`; return the plan as it is.

        Raises `PolicyViolation` before the key is touched, `ExecutionError` or `JournalError`
        before anything is sent.  An error of the send itself is not raised: the outcome is decided
        by receipt and nonce.
        """
        intent_id = plan.plan.intent.intent_id
        verdict = self._policy.check_final(decode_unsigned(tx.payload()), plan)
        if isinstance(verdict, Denied):
            raise PolicyViolation(verdict.reason)
        self._failpoint("tx.judged")
        if refusal := self._arming.refusal():
            raise PolicyViolation(f"Nothing was signed: {refusal}.")
        attempt = await self._signer.sign(tx, plan)
        self._failpoint("tx.signed")
        await self._journal.signed(intent_id, attempt)
        self._failpoint("tx.stored")
        stored = replace(
            plan, state=TxState.SIGNED, attempts=(*plan.attempts, attempt), sent_at_block=None
        )
        return await self._send(stored, attempt, block)

    async def rebroadcast(self, plan: OpenPlan, block: BlockRef) -> OpenPlan:
        """Send the newest attempt's stored bytes again, as they are.  Raises `PolicyViolation`."""
        if refusal := self._arming.refusal():
            raise PolicyViolation(f"Nothing was sent: {refusal}.")
        self._failpoint("tx.rebroadcast")
        attempt = plan.attempts[-1]
        if plan.state is TxState.SIGNED or plan.sent_at_block is None:
            return await self._send(plan, attempt, block)
        await self._hand_over(plan, attempt, block)
        return plan

    async def _send(self, plan: OpenPlan, attempt: Attempt, block: BlockRef) -> OpenPlan:
        await self._hand_over(plan, attempt, block)
        self._failpoint("tx.sent")
        try:
            await self._journal.sent(plan.plan.intent.intent_id, block.number)
        except JournalError as error:
            # It is on its way whatever the journal says: as SIGNED it is sent again and noted then.
            log.warning("tx.unrecorded", intent=plan.plan.intent.intent_id, reason=str(error))
            return plan
        self._failpoint("tx.recorded")
        return replace(plan, state=TxState.SENT, sent_at_block=block.number)

    async def _hand_over(self, plan: OpenPlan, attempt: Attempt, block: BlockRef) -> None:
        """Send once to each that it is for: the relay, the node, or both; always the same bytes.

        An error is logged as the hint it is and decides nothing.
        """
        fields = {
            "intent": plan.plan.intent.intent_id,
            "tx": attempt.tx_hash,
            "nonce": plan.nonce,
            "attempt": len(plan.attempts),
            "max_fee_wei": attempt.fees.max_fee_wei,
        }
        private = self._private
        if private is not None and private.takes(plan, attempt):
            try:
                await private.relay.send_private(attempt.raw, block.number)
            except (KeeperError, OSError) as error:
                log.warning("relay.send_unclear", **fields, hint=str(error)[:200])
            else:
                log.info("relay.sent", **fields, relay=private.relay.name)
            if not private.public_at(plan, block):
                return
            log.warning("relay.given_up", **fields, relay=private.relay.name)
        try:
            await self._node.send_raw(attempt.raw)
        except (KeeperError, OSError) as error:
            log.warning("tx.send_unclear", **fields, hint=str(error)[:200])
        else:
            log.info("tx.sent", **fields)
