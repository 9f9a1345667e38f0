"""Who has just crossed the line is acted upon before those who were below it already."""

from dataclasses import dataclass, field

import pytest

from keeper.model import (
    Act,
    Address,
    Assessment,
    Decision,
    Holdings,
    Intent,
    IntentKind,
    Refuse,
    Submission,
    Watch,
    Why,
)
from keeper.ports import MarketView, Wallet
from keeper.units import WAD, Wad
from tests.engine.fakes import (
    ALICE,
    BOB,
    CAROL,
    DAVE,
    LIQUIDATE,
    ActBelow,
    Story,
    done,
)

DANGEROUS = (2, 2_027)  # 2 * 1,013 / 2,027 = 0.9995
MORE_DANGEROUS = (4, 4_059)  # 4 * 1,013 / 4,059 = 0.9983
HEALTHY = (3, 1_517)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choosy:
    """Acts on `worth` alone; notes whom it was asked about."""

    asked: list[Address] = field(default_factory=list)
    worth: set[Address] = field(default_factory=set)
    why: Why = Why.UNPROFITABLE
    name: str = "choosy"

    def decide(
        self, view: MarketView, holdings: Holdings, assessment: Assessment, wallet: Wallet
    ) -> Decision:
        self.asked.append(holdings.account)
        decided = LIQUIDATE.decide(view, holdings, assessment, wallet)
        if isinstance(decided, Act) and holdings.account not in self.worth:
            return Refuse(position=assessment.position, reason="not worth it", why=self.why)
        return decided


async def test_who_was_below_before_is_looked_at_after_who_has_just_crossed_the_line() -> None:
    choosy = Choosy()
    story = Story(otherwise=choosy)
    await story.begin({ALICE: MORE_DANGEROUS, BOB: HEALTHY})
    await story.mine()
    choosy.asked.clear()
    choosy.worth.update({ALICE, BOB})

    passed = done(await story.mine(moved={BOB: DANGEROUS}))

    # by value at risk alone ALICE, who owes 4,059, would be before BOB
    assert choosy.asked == [BOB, ALICE]
    assert story.acted_on() == [BOB, ALICE]
    assert [a.position.account for a in passed.assessments] == [ALICE, BOB]


async def test_the_first_that_is_acted_upon_is_sent_before_anybody_else_is_looked_at() -> None:
    choosy = Choosy(worth={ALICE, BOB})
    story = Story(otherwise=choosy)
    await story.engine.start(story.chain.head)
    submitted_after: list[int] = []
    submit = story.executor.submit

    async def noting(intent: Intent, view: MarketView) -> Submission:
        submitted_after.append(len(choosy.asked))
        return await submit(intent, view)

    story.executor.submit = noting  # type: ignore[method-assign]  # of this one executor

    await story.mine(moved={ALICE: MORE_DANGEROUS, BOB: DANGEROUS, CAROL: DANGEROUS})

    assert story.acted_on() == [ALICE, BOB]
    assert submitted_after == [1, 3]


async def test_nobody_is_looked_at_twice_and_nobody_is_left_out() -> None:
    choosy = Choosy()
    story = Story(otherwise=choosy)
    story.records.people = (Watch(chat="log:", account=CAROL, label="carol"),)
    await story.begin({ALICE: DANGEROUS, BOB: MORE_DANGEROUS, CAROL: DANGEROUS})
    choosy.asked.clear()

    passed = done(await story.mine(moved={DAVE: DANGEROUS}))

    assert choosy.asked == [CAROL, DAVE, BOB, ALICE]
    assert {a.position.account for a in passed.assessments} == {ALICE, BOB, CAROL, DAVE}
    assert len(passed.assessments) == 4


async def test_who_was_below_before_is_first_again_once_something_is_new_about_him() -> None:
    choosy = Choosy()
    story = Story(otherwise=choosy)
    await story.begin({ALICE: DANGEROUS, BOB: MORE_DANGEROUS})
    await story.mine()
    choosy.asked.clear()

    await story.mine(moved={ALICE: (2, 2_030)})

    assert choosy.asked == [ALICE, BOB]


async def test_whose_cool_down_has_ended_is_looked_at_first() -> None:
    choosy = Choosy(worth={ALICE})
    story = Story(otherwise=choosy)
    story.executor.declines = "over the cap"
    await story.begin({ALICE: DANGEROUS, BOB: MORE_DANGEROUS})  # ALICE waits five blocks
    for _ in range(4):
        await story.mine()
    assert story.acted_on() == [ALICE]
    choosy.asked.clear()

    await story.mine()

    assert choosy.asked == [ALICE, BOB]
    assert story.acted_on() == [ALICE, ALICE]


async def test_what_one_turn_takes_from_the_purse_the_next_does_not_have() -> None:
    choosy = Choosy()
    story = Story(otherwise=choosy)
    await story.begin({ALICE: MORE_DANGEROUS})
    await story.mine()
    choosy.worth.update({ALICE, BOB})

    passed = done(await story.mine(moved={BOB: DANGEROUS}, purse=199))

    # 199 less the 100 for BOB, who came first, is 99
    assert story.acted_on() == [BOB]
    [refused] = [d for d in passed.decisions if isinstance(d, Refuse)]
    assert refused.reason == "99 is too little"


async def test_the_protected_come_before_who_has_just_crossed_the_line() -> None:
    top_up = ActBelow(kind=IntentKind.TOP_UP, below=Wad(110 * WAD // 100))
    choosy = Choosy(worth={BOB})
    story = Story(otherwise=choosy, protections={ALICE: top_up})
    await story.begin({ALICE: HEALTHY})

    await story.mine(moved={ALICE: (2, 1_900), BOB: MORE_DANGEROUS})

    assert [i.kind for i in story.executor.submitted] == [IntentKind.TOP_UP, IntentKind.LIQUIDATE]


@pytest.mark.parametrize(("why", "told"), [(Why.UNPROFITABLE, 1), (Why.TOO_SMALL, 0)])
async def test_nobody_is_told_of_what_is_too_small_for_the_operators_own_floor(
    why: Why, told: int
) -> None:
    story = Story(otherwise=Choosy(why=why))
    await story.begin({ALICE: HEALTHY})

    passed = done(await story.mine(moved={BOB: DANGEROUS}))

    [refused] = [d for d in passed.decisions if isinstance(d, Refuse)]
    assert refused.why is why  # it is written down all the same
    assert story.records.kept[-1].decisions == (refused,)
    assert len([m for m in passed.messages if "not worth it" in m.text]) == told
    assert len(story.records.kept[-1].alerts) == told


async def test_an_exact_answer_is_computed_anew_at_each_block_for_who_was_below_before() -> None:
    story = Story(otherwise=Choosy())
    await story.begin({ALICE: DANGEROUS})
    await story.mine()

    passed = done(await story.mine(price=1_030))  # 2 * 1,030 / 2,027 = 1.016

    assert passed.assessments == ()
    assert passed.decisions == ()
