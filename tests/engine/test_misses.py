"""Whose each liquidation was, since when it was possible, and why it was not ours."""

from dataclasses import dataclass, replace

import pytest

from keeper.engine.passes import Pass
from keeper.errors import ObservationError
from keeper.model import (
    Address,
    Assessment,
    Decision,
    Hash,
    Holdings,
    IntentKind,
    Reckoned,
    Refuse,
    Taken,
    Why,
)
from keeper.ports import MarketView, Wallet
from keeper.strategies.alert_only import AlertOnly
from tests.engine.fakes import ALICE, BOB, CAROL, LIQUIDATE, OWNER, ActBelow, Story, done

RIVAL = Address("0x" + "f0" * 20)
HEALTHY = (3, 1_517)  # 3 * 1,013 / 1,517 = 2.003
DANGEROUS = (2, 2_027)  # 2 * 1,013 / 2,027 = 0.9995
PROFIT = 3 * 1_013 - 1_000
"""What the fake's liquidations leave at its price."""


def only(passed: Pass | None) -> Reckoned:
    [found] = done(passed).liquidations
    return found


async def test_one_that_ours_was_sent_for_and_another_took_is_late_with_our_intent() -> None:
    story = Story()
    await story.begin({ALICE: HEALTHY})
    fell = done(await story.mine(moved={ALICE: DANGEROUS})).block

    found = only(await story.mine(liquidated={ALICE: RIVAL}))

    assert found.taken is Taken.LATE
    assert found.reason == f"ours was sent at block {fell.number} with nonce 7; theirs was first"
    assert found.intent_id == story.executor.submitted[0].intent_id
    assert found.possible_after == fell.number - 1
    assert found.possible_by == found.seen_block == fell.number
    assert found.liquidated.block.number == fell.number + 1
    assert (found.liquidated.liquidator, found.profit) == (RIVAL, PROFIT)


async def test_our_own_is_ours() -> None:
    story = Story()
    await story.begin({ALICE: DANGEROUS})

    assert only(await story.mine(liquidated={ALICE: OWNER})).taken is Taken.OURS


async def test_one_that_fell_and_was_taken_within_a_block_was_never_seen() -> None:
    story = Story()
    await story.begin({ALICE: HEALTHY})
    before = story.chain.head.number

    found = only(await story.mine(liquidated={ALICE: RIVAL}))

    assert found.taken is Taken.LATE
    assert found.seen_block is None
    assert (found.possible_after, found.possible_by) == (before, before + 1)


async def test_blocks_that_were_skipped_widen_since_when_it_was_possible() -> None:
    story = Story()
    await story.begin({ALICE: HEALTHY})
    before = story.chain.head.number
    story.reader.failures = [ObservationError("the node is away")]
    first = story.chain.mine(liquidated={ALICE: RIVAL})
    assert await story.take(first) is None

    found = only(await story.mine())

    assert found.liquidated.block == first
    assert (found.possible_after, found.possible_by) == (before, before + 1)


async def test_a_stranger_was_not_covered() -> None:
    story = Story()
    await story.begin({ALICE: HEALTHY})

    found = only(await story.mine(liquidated={CAROL: RIVAL}))

    assert found.taken is Taken.NOT_COVERED
    assert found.possible_after is None


async def test_what_was_only_rehearsed_was_watched_only() -> None:
    story = Story()
    story.executor.rehearses = True
    await story.begin({ALICE: DANGEROUS})
    await story.mine()

    found = only(await story.mine(liquidated={ALICE: RIVAL}))

    assert found.taken is Taken.WATCH_ONLY
    assert found.reason == "nothing is armed: rehearsed at block 101"
    assert found.intent_id is not None


async def test_without_a_key_and_without_the_wish_it_is_watched_only() -> None:
    for story, why in (
        (Story(owner=None), "no key is configured"),
        (Story(otherwise=AlertOnly()), "liquidating is not enabled"),
    ):
        await story.begin({ALICE: DANGEROUS, BOB: HEALTHY})

        seen, unseen = done(await story.mine(liquidated={ALICE: RIVAL, BOB: RIVAL})).liquidations

        assert (seen.taken, seen.reason) == (Taken.WATCH_ONLY, why)
        assert (unseen.taken, unseen.reason) == (Taken.WATCH_ONLY, why)


async def test_a_declined_one_is_refused_in_the_executors_words() -> None:
    story = Story()
    story.executor.declines = "It would revert: paused."
    await story.begin({ALICE: DANGEROUS})
    await story.mine()  # the cool-down says nothing new

    found = only(await story.mine(liquidated={ALICE: RIVAL}))

    assert (found.taken, found.reason) == (Taken.REFUSED, "It would revert: paused.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusing(ActBelow):
    """Refuses everybody, for `why`."""

    why: Why

    def decide(
        self, view: MarketView, holdings: Holdings, assessment: Assessment, wallet: Wallet
    ) -> Decision:
        return Refuse(position=assessment.position, reason="because", why=self.why)


@pytest.mark.parametrize(
    ("why", "taken"),
    [
        (Why.REFUSED, Taken.REFUSED),
        (Why.UNPROFITABLE, Taken.UNPROFITABLE),
        (Why.TOO_SMALL, Taken.UNPROFITABLE),
        (Why.HELD, Taken.HELD),
    ],
)
async def test_a_refusal_says_of_which_sort_it_is(why: Why, taken: Taken) -> None:
    story = Story(otherwise=Refusing(kind=IntentKind.LIQUIDATE, why=why))
    await story.begin({ALICE: DANGEROUS})

    found = only(await story.mine(liquidated={ALICE: RIVAL}))

    assert (found.taken, found.reason) == (taken, "because")


async def test_nodes_that_disagree_hold_it() -> None:
    story = Story()
    await story.engine.start(story.chain.head)
    block = story.chain.mine(moved={ALICE: DANGEROUS})
    await story.take(block, doubt="1 of 2 has another block")

    found = only(await story.mine(liquidated={ALICE: RIVAL}))

    assert found.taken is Taken.HELD
    assert found.reason.startswith("the nodes do not agree")


async def test_one_that_is_protected_is_held_for_its_protection() -> None:
    top_up = replace(LIQUIDATE, kind=IntentKind.TOP_UP)
    story = Story(protections={ALICE: top_up})
    story.executor.declines = "over the cap"
    await story.begin({ALICE: DANGEROUS})

    found = only(await story.mine(liquidated={ALICE: RIVAL}))

    assert (found.taken, found.reason) == (Taken.REFUSED, "over the cap")


async def test_recovered_in_between_it_is_forgotten() -> None:
    story = Story()
    story.executor.declines = "no"
    await story.begin({ALICE: DANGEROUS})
    await story.mine(moved={ALICE: HEALTHY})

    found = only(await story.mine(liquidated={ALICE: RIVAL}))

    assert found.taken is Taken.LATE
    assert found.seen_block is None


async def test_a_liquidation_of_an_orphaned_block_is_taken_back() -> None:
    story = Story()
    await story.begin({ALICE: DANGEROUS})
    await story.mine(liquidated={ALICE: RIVAL})
    gone = story.chain.drop(1)
    story.reader.failures = [ObservationError("the node is away")]
    await story.take(story.chain.mine(), orphaned=gone)

    passed = done(await story.mine())

    assert passed.liquidations == ()
    assert story.records.kept[-1].orphaned == (gone[0].hash,)
    assert story.records.kept[-2].orphaned == ()


async def test_an_orphaned_one_that_nobody_was_told_of_yet_is_dropped() -> None:
    story = Story()
    await story.begin({ALICE: DANGEROUS})
    story.reader.failures = [ObservationError("away")]
    await story.take(story.chain.mine(liquidated={ALICE: RIVAL}))
    gone = story.chain.drop(1)

    passed = done(await story.take(story.chain.mine(), orphaned=gone))

    assert passed.liquidations == ()


async def test_every_one_is_recorded_once() -> None:
    story = Story()
    await story.begin({ALICE: DANGEROUS, BOB: DANGEROUS})
    await story.mine(liquidated={ALICE: RIVAL, BOB: OWNER})
    await story.mine()

    kept: list[tuple[Hash, int]] = [
        (one.liquidated.block.hash, one.liquidated.log_index)
        for record in story.records.kept
        for one in record.liquidations
    ]
    assert len(kept) == len(set(kept)) == 2
