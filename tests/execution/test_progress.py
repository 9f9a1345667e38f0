"""Every row of the table: plan, chain, next step."""

from dataclasses import replace
from typing import Any

import pytest

from keeper.execution.progress import (
    Bump,
    Cancel,
    MarkMined,
    NonceHole,
    NonceStolen,
    ProgressRules,
    Rebroadcast,
    Settle,
    Situation,
    Step,
    Stuck,
    Unmine,
    Wait,
    next_step,
)
from keeper.model import Attempt, BlockRef, Fees, Hash, OpenPlan, Plan, Receipt, TxState
from keeper.units import Wei
from tests.execution.fakes import GWEI, SELECTOR, SIGNER, TARGET, intent

RULES = ProgressRules(confirmations=3, bump_after=2, looks=2)
BLOCK = BlockRef(
    number=1_000,
    hash=Hash("0x" + "b1" * 32),
    parent_hash=Hash("0x" + "b0" * 32),
    timestamp=1_790_000_000,
    base_fee_wei=Wei(10 * GWEI),
)
CAP = Wei(100 * GWEI)
ROOM = Wei(100 * GWEI * 8 // 9)
PLAN = Plan(
    intent=intent(7, BLOCK),
    to=TARGET,
    data=SELECTOR,
    gas_limit=280_001,
    max_fee_wei=CAP,
    deadline=1_790_000_000,
)
FIRST = Attempt(
    tx_hash=Hash("0x" + "01" * 32),
    raw=b"first",
    fees=Fees(max_fee_wei=Wei(20 * GWEI), priority_fee_wei=Wei(GWEI)),
)
SECOND = Attempt(
    tx_hash=Hash("0x" + "02" * 32),
    raw=b"second",
    fees=Fees(max_fee_wei=Wei(24 * GWEI), priority_fee_wei=Wei(2 * GWEI)),
)
# 24 * 9 / 8 = 27 gwei, 2 * 9 / 8 = 2.25 gwei
RAISED = Fees(max_fee_wei=Wei(27 * GWEI), priority_fee_wei=Wei(2_250_000_000))


def receipt(at: int, tx_hash: Hash = FIRST.tx_hash, *, succeeded: bool = True) -> Receipt:
    return Receipt(
        tx_hash=tx_hash,
        block_number=at,
        block_hash=Hash(f"0x{at:064x}"),
        succeeded=succeeded,
        gas_used=200_003,
        effective_gas_price_wei=Wei(11 * GWEI),
    )


def plan(state: TxState, **changes: Any) -> OpenPlan:
    """Return the plan with nonce 5 and two attempts, sent at block 999."""
    plain = OpenPlan(
        plan=PLAN,
        signer=SIGNER.address,
        nonce=5,
        state=state,
        attempts=(FIRST, SECOND),
        sent_at_block=999,
    )
    return replace(plain, **changes)


def now(**changes: Any) -> Situation:
    plain = Situation(
        block=BLOCK,
        nonce=5,
        pending_nonce=6,
        tip_wei=Wei(GWEI),
        lowest_open=5,
        highest_signed=5,
    )
    return replace(plain, **changes)


CLAIMED = plan(TxState.CLAIMED, attempts=(), sent_at_block=None)
SENT = plan(TxState.SENT)
MINED = plan(TxState.MINED, receipt=receipt(998))
LATE = replace(BLOCK, timestamp=1_790_000_001)
AT_CAP = replace(PLAN, max_fee_wei=Wei(26 * GWEI))
HUNGRY = replace(BLOCK, base_fee_wei=Wei(25 * GWEI))
SECOND_CANCELS = frozenset({SECOND.tx_hash})
STOLEN = f"nonce 5 of {SIGNER.address} was used by a transaction that is not in the journal"

TABLE: dict[str, tuple[OpenPlan, Situation, Step]] = {
    # never signed
    "a claim of a living process waits": (CLAIMED, now(highest_signed=None), Wait()),
    "a dead claim is given up": (
        CLAIMED,
        now(highest_signed=None, claim_is_dead=True),
        Settle(TxState.ABANDONED, None, "it was claimed but never signed"),
    ),
    "a dead claim behind others is given up": (
        CLAIMED,
        now(nonce=4, lowest_open=4, highest_signed=4, claim_is_dead=True),
        Settle(TxState.ABANDONED, None, "it was claimed but never signed"),
    ),
    "a dead claim with later nonces behind it is filled by a cancellation": (
        CLAIMED,
        now(highest_signed=6, claim_is_dead=True),
        Cancel(Fees(max_fee_wei=Wei(21 * GWEI), priority_fee_wei=Wei(GWEI))),
    ),
    # in the pool
    "a fresh transaction waits": (SENT, now(), Wait()),
    "signed but not known to be sent goes out as it is": (
        plan(TxState.SIGNED, sent_at_block=None),
        now(),
        Rebroadcast(b"second"),
    ),
    "a dropped transaction goes out again": (SENT, now(pending_nonce=5), Rebroadcast(b"second")),
    "a transaction of this very block is not yet dropped": (
        plan(TxState.SENT, sent_at_block=1_000),
        now(pending_nonce=5),
        Wait(),
    ),
    "two blocks without inclusion raise the fees": (
        plan(TxState.SENT, sent_at_block=998),
        now(),
        Bump(RAISED),
    ),
    "a dropped transaction that is due is raised rather than repeated": (
        plan(TxState.SENT, sent_at_block=998),
        now(pending_nonce=5),
        Bump(RAISED),
    ),
    "one that waits behind another nonce is not raised": (
        plan(TxState.SENT, sent_at_block=990),
        now(nonce=4, lowest_open=4),
        Wait(),
    ),
    "one that waits behind another but cannot pay the base fee is": (
        plan(TxState.SENT, sent_at_block=998),
        now(nonce=4, lowest_open=4, block=HUNGRY),
        Bump(Fees(max_fee_wei=Wei(51 * GWEI), priority_fee_wei=Wei(2_250_000_000))),
    ),
    "at the cap it is said": (
        plan(TxState.SENT, sent_at_block=998, plan=AT_CAP),
        now(),
        Stuck("it is not mined and its gas cap of 26000000000 wei a unit allows no higher fee"),
    ),
    "at the cap and dropped it goes out again": (
        plan(TxState.SENT, sent_at_block=998, plan=AT_CAP),
        now(pending_nonce=5),
        Rebroadcast(b"second"),
    ),
    # past the deadline
    "past the deadline the nonce is used up by a cancellation": (
        SENT,
        now(block=LATE),
        Cancel(RAISED),
    ),
    "past the deadline nothing that was only signed is sent": (
        plan(TxState.SIGNED, sent_at_block=None),
        now(block=LATE, pending_nonce=5),
        Cancel(RAISED),
    ),
    "past the deadline and at the cap it is said": (
        plan(TxState.SENT, plan=AT_CAP),
        now(block=LATE, pending_nonce=5),
        Stuck("its deadline has passed and no cancellation fits under its gas cap"),
    ),
    "a cancellation is followed like any other": (
        SENT,
        now(block=LATE, cancelling=SECOND_CANCELS),
        Wait(),
    ),
    "a dropped cancellation goes out again": (
        SENT,
        now(block=LATE, cancelling=SECOND_CANCELS, pending_nonce=5),
        Rebroadcast(b"second"),
    ),
    "a cancellation that is due is raised as one": (
        plan(TxState.SENT, sent_at_block=998),
        now(block=LATE, cancelling=SECOND_CANCELS),
        Cancel(RAISED),
    ),
    # mined
    "a receipt of any attempt counts": (
        SENT,
        now(nonce=6, receipts=(receipt(1_000, FIRST.tx_hash),)),
        MarkMined(receipt(1_000, FIRST.tx_hash)),
    ),
    "a receipt in a block above this head does not": (
        SENT,
        now(nonce=6, receipts=(receipt(1_001),)),
        NonceStolen(STOLEN, final=False),
    ),
    "a receipt of something else does not": (
        SENT,
        now(nonce=6, receipts=(receipt(1_000, Hash("0x" + "ff" * 32)),)),
        NonceStolen(STOLEN, final=False),
    ),
    "mined but not deep waits": (
        plan(TxState.MINED, receipt=receipt(999)),
        now(nonce=6, receipts=(receipt(999),)),
        Wait(),
    ),
    "mined elsewhere is marked again": (
        plan(TxState.MINED, receipt=receipt(997)),
        now(nonce=6, receipts=(receipt(998),)),
        MarkMined(receipt(998)),
    ),
    "mined and deep is confirmed": (
        MINED,
        now(nonce=6, receipts=(receipt(998),)),
        Settle(TxState.CONFIRMED, receipt(998)),
    ),
    "failed and deep is reverted": (
        plan(TxState.MINED, receipt=receipt(998, succeeded=False)),
        now(nonce=6, receipts=(receipt(998, succeeded=False),)),
        Settle(TxState.REVERTED, receipt(998, succeeded=False)),
    ),
    "a cancellation that is deep abandons": (
        plan(TxState.MINED, receipt=receipt(998, SECOND.tx_hash)),
        now(nonce=6, receipts=(receipt(998, SECOND.tx_hash),), cancelling=SECOND_CANCELS),
        Settle(
            TxState.ABANDONED,
            receipt(998, SECOND.tx_hash),
            "it was cancelled: its deadline had passed, or it would have reverted",
        ),
    ),
    "the action that was mined despite its cancellation is confirmed": (
        MINED,
        now(nonce=6, receipts=(receipt(998),), cancelling=SECOND_CANCELS),
        Settle(TxState.CONFIRMED, receipt(998)),
    ),
    "a receipt whose nonce is unused again is gone": (MINED, now(), Unmine()),
    "a receipt that vanished while the nonce is used is gone": (MINED, now(nonce=6), Unmine()),
    # used by something else
    "a used nonce without a receipt is doubtful": (
        SENT,
        now(nonce=6, deep_nonce=6),
        NonceStolen(STOLEN, final=False),
    ),
    "seen twice but not deep it is not final": (
        SENT,
        now(nonce=6, deep_nonce=5, doubts=1),
        NonceStolen(STOLEN, final=False),
    ),
    "seen twice and deep it is final": (
        SENT,
        now(nonce=6, deep_nonce=6, doubts=1),
        NonceStolen(STOLEN, final=True),
    ),
    "a claim whose nonce something else used is doubtful too": (
        CLAIMED,
        now(nonce=6, deep_nonce=6, claim_is_dead=True),
        NonceStolen(STOLEN, final=False),
    ),
    "a missing earlier nonce is said": (
        SENT,
        now(nonce=4),
        NonceHole(
            f"nonce 4 of {SIGNER.address} is neither mined nor in the journal, which begins at 5:"
            " nothing after it can be mined"
        ),
    ),
}


@pytest.mark.parametrize("row", TABLE)
def test_the_next_step_is_the_tables(row: str) -> None:
    given, situation, step = TABLE[row]

    assert next_step(given, situation, RULES) == step
