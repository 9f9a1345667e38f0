"""Default deny, caps, allow-lists, and the second look at the decoded bytes."""

from dataclasses import replace
from typing import Any

import pytest

from keeper.execution.policy import Allowed, Denied, SigningPolicy, Target
from keeper.execution.transaction import UnsignedTx, cancellation, decode_unsigned, transaction
from keeper.model import Address, Fees, IntentKind, OpenPlan, Plan, Spent, TxState
from keeper.units import Base, Wei
from tests.execution.fakes import (
    CHAIN,
    GWEI,
    SELECTOR,
    SIGNER,
    TARGET,
    FakeChain,
    intent,
    policy,
)

RICH = Wei(100 * 10**18)
NOTHING = Spent(value=Base(0), gas_wei=Wei(0))
BLOCK = FakeChain().head


def plan(**changes: Any) -> Plan:
    plain = Plan(
        intent=intent(7, BLOCK),
        to=TARGET,
        data=SELECTOR + bytes(32),
        gas_limit=280_001,
        max_fee_wei=Wei(300 * GWEI),
        deadline=BLOCK.timestamp + 180,
        spends=Base(293_810_420_100),
    )
    return replace(plain, **changes)


def claimed(of: Plan) -> OpenPlan:
    return OpenPlan(plan=of, signer=SIGNER.address, nonce=41, state=TxState.CLAIMED)


def refused(verdict: Allowed | Denied) -> str:
    assert isinstance(verdict, Denied)
    return verdict.reason


def test_an_empty_policy_refuses_everything() -> None:
    empty = SigningPolicy()

    assert "empty" in refused(empty.check(plan(), NOTHING, RICH, Wei(0)))
    tx = transaction(plan(), CHAIN, 41, Fees(max_fee_wei=Wei(1), priority_fee_wei=Wei(1)))
    assert "empty" in refused(empty.check_final(tx, claimed(plan())))


def test_what_is_listed_and_under_every_cap_is_allowed() -> None:
    assert policy().check(plan(), NOTHING, RICH, Wei(0)) == Allowed()


@pytest.mark.parametrize(
    ("changed_policy", "changed_plan", "words"),
    [
        ({"permissions": policy().permissions[1:]}, {}, "does not allow top_up in aave-v3-local"),
        ({"chain_id": 1}, {}, "armed for chain 1"),
        ({}, {"to": Address("0x" + "aa" * 20)}, "is not in the signing policy"),
        ({}, {"data": bytes(36)}, "0x00000000 of"),
        ({}, {"data": b""}, "is not in the signing policy"),
        ({}, {"value_wei": Wei(1)}, "would send 1 wei"),
        ({"max_spend": Base(293_810_420_099)}, {}, "cap per transaction is 2,938.10 USD"),
        ({"max_spend_per_day": Base(293_810_420_099)}, {}, "the day's spending"),
        ({"max_gas_wei": Wei(280_001 * 300 * GWEI - 1)}, {}, "gas may cost 0.0841 ETH; "),
        ({"max_gas_per_day_wei": Wei(280_001 * 300 * GWEI - 1)}, {}, "day's gas to 0.0841 ETH; "),
        ({"min_balance_wei": RICH}, {}, "Fund it"),
    ],
)
def test_each_rule_refuses_alone(
    changed_policy: dict[str, Any], changed_plan: dict[str, Any], words: str
) -> None:
    verdict = policy(**changed_policy).check(plan(**changed_plan), NOTHING, RICH, Wei(0))

    assert words in refused(verdict)


def test_caps_are_said_in_dollars_and_what_is_above_one_never_reads_as_the_cap() -> None:
    spent = Spent(value=Base(100_00000000), gas_wei=Wei(0))
    most = Base(293_810_420_099 + 100_00000000)
    day = policy(max_spend_per_day=most)

    over = day.check(plan(), spent, RICH, Wei(0))

    assert "the day's spending to 3,038.11 USD; the cap is 3,038.10 USD." in refused(over)
    assert isinstance(over, Denied)
    assert over.of_day == ("spending", 100_00000000, most)
    assert "spend 2,938.11 USD; the cap is 2,938.10 USD" in refused(
        policy(max_spend=Base(293_810_420_099)).check_final(
            transaction(plan(), CHAIN, 41, FEES), claimed(plan())
        )
    )


def test_every_cap_is_reached_exactly_and_not_passed() -> None:
    gas = 280_001 * 300 * GWEI
    exact = policy(
        max_spend=Base(293_810_420_100),
        max_spend_per_day=Base(293_810_420_100 + 11),
        max_gas_wei=Wei(gas),
        max_gas_per_day_wei=Wei(gas + 13),
        min_balance_wei=Wei(5),
    )
    spent = Spent(value=Base(11), gas_wei=Wei(13))

    assert exact.check(plan(), spent, Wei(gas + 5 + 17), Wei(17)) == Allowed()
    assert "Fund it" in refused(exact.check(plan(), spent, Wei(gas + 5 + 16), Wei(17)))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (bytes.fromhex("095ea7b3") + bytes(12) + bytes.fromhex(TARGET[2:]) + bytes(32), ""),
        (bytes.fromhex("095ea7b3") + bytes(12) + b"\xbb" * 20 + bytes(32), "would be let to spend"),
        (bytes.fromhex("095ea7b3") + bytes(12) + bytes.fromhex(TARGET[2:]), "malformed"),
        (
            bytes.fromhex("095ea7b3") + b"\x01" * 12 + bytes.fromhex(TARGET[2:]) + bytes(32),
            "malformed",
        ),
    ],
)
def test_an_approval_is_for_a_listed_spender_only(data: bytes, words: str) -> None:
    token = Address("0x" + "d1" * 20)
    allowed = policy(
        targets=(
            *policy().targets,
            Target(chain_id=CHAIN, to=token, selector=bytes.fromhex("095ea7b3")),
        )
    )
    approval = plan(to=token, data=data, intent=intent(7, BLOCK, IntentKind.APPROVE))

    verdict = allowed.check(approval, NOTHING, RICH, Wei(0))

    assert verdict == Allowed() if not words else words in refused(verdict)


FEES = Fees(max_fee_wei=Wei(21 * GWEI), priority_fee_wei=Wei(GWEI))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, ""),
        ({"chain_id": 1}, "for chain 1, armed is chain 31337"),
        ({"nonce": 42}, "nonce 42, the journal gave 41"),
        ({"to": Address("0x" + "aa" * 20)}, "not the one that was planned"),
        ({"data": SELECTOR + bytes(31) + b"\x01"}, "not the one that was planned"),
        ({"gas_limit": 280_000}, "not the one that was planned"),
        ({"value_wei": Wei(1)}, "not the one that was planned"),
        (
            {"fees": Fees(max_fee_wei=Wei(300 * GWEI + 1), priority_fee_wei=Wei(1))},
            "the plan allows",
        ),
        ({"fees": Fees(max_fee_wei=Wei(5), priority_fee_wei=Wei(6))}, "above its maximum fee"),
    ],
)
def test_the_decoded_bytes_are_judged_again_before_the_signature(
    changes: dict[str, Any], words: str
) -> None:
    tx = replace(transaction(plan(), CHAIN, 41, FEES), **changes)

    verdict = policy().check_final(decode_unsigned(tx.payload()), claimed(plan()))

    assert verdict == Allowed() if not words else words in refused(verdict)


def test_a_cancellation_is_allowed_within_the_plans_own_caps() -> None:
    tx = cancellation(SIGNER.address, CHAIN, 41, FEES, 27_300)

    assert policy().check_final(tx, claimed(plan())) == Allowed()
    paying = replace(tx, value_wei=Wei(1))
    assert "not the one that was planned" in refused(policy().check_final(paying, claimed(plan())))


def test_a_policy_that_shrank_since_the_claim_holds_for_bumps() -> None:
    tx: UnsignedTx = transaction(plan(), CHAIN, 41, FEES)
    shrunk = policy(targets=(Target(chain_id=1, to=TARGET, selector=b""),))

    assert "not in the signing policy" in refused(shrunk.check_final(tx, claimed(plan())))
    lower = policy(max_spend=Base(7_00000001))
    assert "the cap is 7.00 USD" in refused(lower.check_final(tx, claimed(plan())))
