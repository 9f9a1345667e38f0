"""Of whom nobody watches only what is new is written down; of everybody else everything."""

from dataclasses import replace

import pytest

from keeper.engine.standing import EVERY_S, MOST_A_PASS, Standing
from keeper.errors import JournalError, ObservationError
from keeper.model import (
    Address,
    Assessed,
    Assessment,
    Decision,
    PassRecord,
    PositionId,
    Refuse,
    Unassessable,
    Watch,
)
from keeper.units import Base, Wad
from tests.engine.fakes import ALICE, BOB, MARKET, Chain, Story, done, position
from tests.engine.test_turns import DANGEROUS, HEALTHY, Choosy

BLOCK = Chain().head
HEALTH = 973_210_000_000_000_001
DEBT = 1_943_810_003
POOR = "health factor 0.973 is below 1: profit $0.11 is below the floor of $5.00"


def health(account: Address = ALICE, wad: int = HEALTH, debt: int = DEBT) -> Assessed:
    return Assessed(
        position=position(account),
        block=BLOCK,
        health_factor=Wad(wad),
        collateral=Base(2_113_000_007),
        debt=Base(debt),
        legs=(),
    )


def unknown(reason: str) -> Unassessable:
    return Unassessable(position=position(ALICE), block=BLOCK, reason=reason)


def refused(reason: str = POOR, account: Address = ALICE) -> Refuse:
    return Refuse(position=position(account), reason=reason)


class Pages:
    """What was written, pass by pass."""

    def __init__(self) -> None:
        self.standing = Standing()
        self.at = BLOCK

    def turn(
        self,
        *assessments: Assessment,
        decisions: tuple[Decision, ...] = (),
        watched: frozenset[Address] = frozenset(),
        acted: frozenset[PositionId] = frozenset(),
        seconds: int = 12,
        market: str = MARKET.name,
        written: bool = True,
    ) -> tuple[int, int]:
        """How many rows of health and of decisions one pass leaves."""
        self.at = replace(self.at, timestamp=self.at.timestamp + seconds)
        history, worth = self.standing.worth_keeping(
            self.at, assessments, decisions, watched={market: watched}, acted=acted
        )
        if written:
            self.standing.kept()
        return len(history), len(worth)


def test_what_stays_as_it_is_is_written_once() -> None:
    pages = Pages()
    rows = [pages.turn(health(), health(BOB), decisions=(refused(),)) for _ in range(3)]

    assert rows == [(2, 1), (0, 0), (0, 0)]


@pytest.mark.parametrize(
    ("now", "rows"),
    [
        (health(wad=HEALTH * 1_009 // 1_000), 0),
        (health(wad=HEALTH * 1_011 // 1_000), 1),
        (health(wad=HEALTH * 989 // 1_000), 1),
        (health(debt=DEBT * 989 // 1_000), 1),
        (health(debt=DEBT * 991 // 1_000), 0),
        (unknown("ETH/USD is stale"), 1),
    ],
)
def test_a_move_of_more_than_a_per_cent_is_written(now: Assessment, rows: int) -> None:
    pages = Pages()
    pages.turn(health())

    assert pages.turn(now) == (rows, 0)
    assert pages.turn(now) == (0, 0)


def test_small_moves_add_up_to_one_that_is_written() -> None:
    pages = Pages()
    pages.turn(health())

    # 1.004 * 1.004 = 1.008, and once more 1.012
    rows = [pages.turn(health(wad=HEALTH * 1_004**n // 1_000**n))[0] for n in (1, 2, 3, 4)]

    assert rows == [0, 0, 1, 0]


def test_what_is_not_known_is_written_when_the_reason_changes_and_not_when_its_age_does() -> None:
    pages = Pages()
    reasons = ["ETH/USD: last answer 90,314 s old", "ETH/USD: last answer 90,326 s old", "no feed"]

    assert [pages.turn(unknown(reason))[0] for reason in reasons] == [1, 0, 1]
    assert pages.turn(health()) == (1, 0)


def test_a_refusal_is_written_when_its_reason_changes_and_not_when_its_numbers_do() -> None:
    pages = Pages()
    reasons = [POOR, POOR.replace("0.11", "0.12"), "needs 3,112.07 USDC, 12.00 spendable", POOR]

    assert [pages.turn(decisions=(refused(r),))[1] for r in reasons] == [1, 0, 1, 1]


def test_who_is_watched_is_written_at_each_block() -> None:
    pages = Pages()
    rows = [
        pages.turn(health(), health(BOB), decisions=(refused(),), watched=frozenset({ALICE}))
        for _ in range(3)
    ]

    assert rows == [(2, 1), (1, 1), (1, 1)]


def test_who_is_acted_upon_is_written() -> None:
    pages = Pages()
    pages.turn(health())

    assert pages.turn(health(), acted=frozenset({position(ALICE)})) == (1, 0)


def test_once_an_hour_everything_is_written_but_not_of_all_in_one_block() -> None:
    pages = Pages()
    accounts = [Address(f"0x{n * 977:040x}") for n in range(1, 41)]
    crowd = [health(account) for account in accounts]
    poor = tuple(refused(account=account) for account in accounts)
    pages.turn(*crowd, decisions=poor)

    rows = [pages.turn(*crowd, decisions=poor, seconds=EVERY_S // 12) for _ in range(12)]

    assert sum(history for history, _ in rows) == sum(worth for _, worth in rows) == 40
    assert max(history for history, _ in rows) < 10


def test_of_a_crowd_so_many_are_written_a_pass_and_the_others_at_those_that_follow() -> None:
    pages = Pages()
    accounts = [Address(f"0x{n:040x}") for n in range(1, MOST_A_PASS + 8)]
    crowd = [health(account) for account in accounts]
    poor = tuple(refused(account=account) for account in accounts)
    watched = frozenset(accounts[:3])

    rows = [pages.turn(*crowd, decisions=poor, watched=watched) for _ in range(3)]
    moved = [replace(one, health_factor=Wad(HEALTH * 98 // 100)) for one in crowd]
    after = [pages.turn(*moved)[0] for _ in range(3)]

    # three are watched and are written at each pass, whoever else is
    assert rows == [(MOST_A_PASS + 3, MOST_A_PASS + 3), (3 + 4, 3 + 4), (3, 3)]
    assert after == [MOST_A_PASS, 7, 0]


def test_what_was_not_written_after_all_is_written_with_the_next_pass() -> None:
    pages = Pages()

    assert pages.turn(health(), decisions=(refused(),), written=False) == (1, 1)
    assert pages.turn(health(), decisions=(refused(),)) == (1, 1)
    assert pages.turn(health(), decisions=(refused(),)) == (0, 0)


def test_who_was_out_of_danger_is_new_when_he_is_back() -> None:
    pages = Pages()
    pages.turn(health(), decisions=(refused(),))
    pages.turn()

    assert pages.turn(health(), decisions=(refused(),)) == (1, 1)


def test_a_market_that_was_not_read_stays_as_it_was() -> None:
    pages = Pages()
    pages.turn(health(), decisions=(refused(),))
    pages.turn(market="another")

    assert pages.turn(health(), decisions=(refused(),)) == (0, 0)


# --- in a pass ------------------------------------------------------------------------------------


def rows_of(story: Story) -> list[tuple[int, int]]:
    return [(len(kept.history), len(kept.decisions)) for kept in story.records.kept]


async def test_a_crowd_that_is_not_worth_it_leaves_no_rows_at_the_blocks_that_follow() -> None:
    story = Story(otherwise=Choosy())
    story.records.people = (Watch(chat="log:", account=BOB, label="bob"),)
    await story.begin({ALICE: DANGEROUS, BOB: HEALTHY})
    story.records.kept.clear()

    await story.mine()
    passed = done(await story.mine())

    # everybody is looked at and decided about all the same
    assert {a.position.account for a in passed.assessments} == {ALICE, BOB}
    assert position(ALICE) in {d.position for d in passed.decisions if isinstance(d, Refuse)}
    assert [a.position.account for a in story.records.kept[-1].history] == [BOB]
    assert story.records.kept[-1].decisions == ()


async def test_after_a_reorg_everything_is_written_of_the_new_blocks() -> None:
    story = Story(otherwise=Choosy())
    await story.begin({ALICE: DANGEROUS})
    await story.mine()
    story.records.kept.clear()
    await story.mine()
    orphaned = story.chain.drop(1)

    await story.take(story.chain.mine(), orphaned=orphaned)

    assert rows_of(story) == [(0, 0), (1, 1)]


async def test_after_a_reorg_whose_pass_was_skipped_everything_is_written_too() -> None:
    story = Story(otherwise=Choosy())
    await story.begin({ALICE: DANGEROUS})
    await story.mine()
    orphaned = story.chain.drop(1)
    story.reader.failures.append(ObservationError("the node is away"))
    assert await story.take(story.chain.mine(), orphaned=orphaned) is None
    story.records.kept.clear()

    await story.mine()

    assert rows_of(story) == [(1, 1)]


async def test_a_pass_that_could_not_be_written_is_written_with_the_next() -> None:
    story = Story(otherwise=Choosy())
    await story.engine.start(story.chain.head)
    record = story.records.record

    async def full(record: PassRecord) -> None:
        raise JournalError("disk full")

    story.records.record = full  # type: ignore[method-assign]  # of this one
    with pytest.raises(JournalError):
        await story.mine(moved={ALICE: DANGEROUS})
    story.records.record = record  # type: ignore[method-assign]  # of this one
    await story.mine()

    assert rows_of(story) == [(1, 1)]
