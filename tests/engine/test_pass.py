"""One block, one pass: what happens in which order, and what never happens."""

from keeper.alerts.machine import AlertKey
from keeper.alerts.rules import parse_rule
from keeper.errors import BadAnswer, ObservationError, RpcError
from keeper.model import (
    Abandoned,
    Act,
    Address,
    Assessed,
    Confirmed,
    Declined,
    IntentKind,
    Inventory,
    Refuse,
    Reverted,
    Submission,
    Submitted,
    Unassessable,
    Unknown,
    Watch,
)
from keeper.ports import Steps
from keeper.units import WAD, Wad
from tests.engine.fakes import (
    ALICE,
    BOB,
    CAROL,
    DAVE,
    HEARTBEAT_S,
    LIQUIDATE,
    OPERATOR,
    PRICE,
    ActBelow,
    Story,
    done,
    holdings,
    plan_of,
    position,
)

HEALTHY = (3, 1_517)  # 3 * 1,013 / 1,517 = 2.003
DANGEROUS = (2, 2_027)  # 2 * 1,013 / 2,027 = 0.9995
CRASH = 500
TOP_UP = ActBelow(kind=IntentKind.TOP_UP, below=Wad(110 * WAD // 100))


async def test_a_pass_reads_hears_submits_settles_and_records_in_this_order() -> None:
    story = Story()
    await story.begin({ALICE: DANGEROUS})

    await story.mine()

    # The first block already submitted for ALICE: she is in flight, nothing is submitted now.
    assert story.order == ["read", "logs", "settle", "record"]


async def test_a_submission_comes_after_the_read_and_before_settling() -> None:
    story = Story()
    await story.engine.start(story.chain.head)
    story.order.clear()

    passed = done(await story.mine(moved={ALICE: DANGEROUS, BOB: HEALTHY}))

    assert story.order == ["read", "logs", "read", "submit liquidate", "settle", "record"]
    assert story.acted_on() == [ALICE]
    assert [type(s) for s in passed.submissions] == [Submitted]
    assert passed.broadcast_s is not None
    assert passed.broadcast_s > passed.decision_s


async def test_start_recovers_what_was_on_its_way_before_anything_is_read() -> None:
    story = Story()

    await story.engine.start(story.chain.head)

    assert story.order == ["recover", "discover"]


async def test_a_quiet_block_costs_two_requests() -> None:
    story = Story()
    await story.begin({ALICE: HEALTHY, BOB: HEALTHY})

    passed = done(await story.mine())

    assert passed.rpc_calls == 2
    assert story.reader.accounts[-1] == set()


async def test_whom_the_logs_speak_of_is_read_after_them_at_the_same_block() -> None:
    story = Story()
    await story.begin({ALICE: HEALTHY, BOB: HEALTHY})
    reads = len(story.reader.accounts)

    passed = done(await story.mine(moved={ALICE: DANGEROUS}))

    assert passed.rpc_calls == 3
    assert story.reader.accounts[reads:] == [set(), {ALICE}]
    assert [a.position for a in passed.assessments] == [position(ALICE)]


async def test_where_the_logs_cannot_be_had_what_was_read_meanwhile_changes_nothing() -> None:
    story = Story(sweep_per_block=1)
    await story.begin({ALICE: HEALTHY})
    deaf = story.chain.mine(moved={ALICE: DANGEROUS})
    story.logs.failing.add(deaf.hash)

    assert await story.take(deaf) is None

    assert story.market.holdings(ALICE) == holdings(ALICE, *HEALTHY)


async def test_whoever_is_not_read_in_time_stays_on_the_list() -> None:
    story = Story()
    await story.begin({ALICE: HEALTHY})
    story.chain.mine(moved={BOB: DANGEROUS}, silently=True)
    story.market.admit((BOB,))
    deaf = story.chain.mine()
    story.logs.failing.add(deaf.hash)
    assert await story.take(deaf) is None
    story.logs.failing.clear()

    passed = done(await story.mine())

    assert story.reader.accounts[-1] == {BOB}
    assert [a.position for a in passed.assessments] == [position(BOB)]


async def test_only_those_a_log_speaks_of_are_read_again() -> None:
    story = Story()
    await story.begin({ALICE: HEALTHY, BOB: HEALTHY, CAROL: HEALTHY})

    await story.mine(moved={BOB: (4, 1_500)})

    assert story.reader.accounts[-1] == {BOB}


async def test_parameters_that_changed_are_learnt_before_the_block_is_read() -> None:
    story = Story()
    await story.begin({ALICE: HEALTHY})

    await story.mine(parameters=True)

    # What was read beside the logs was read as if nothing had changed: it counts for nothing.
    assert story.order == ["read", "logs", "discover", "read", "settle", "record"]


async def test_history_and_decisions_of_a_pass_are_kept_in_one_record() -> None:
    story = Story()
    await story.engine.start(story.chain.head)

    passed = done(await story.mine(moved={ALICE: DANGEROUS, BOB: HEALTHY}))

    [kept] = story.records.kept
    assert kept.block == passed.block
    assert [a.position for a in kept.history] == [position(ALICE)]
    assert [type(d) for d in kept.decisions] == [Act]


# --- a block that cannot be observed ----------------------------------------------------------


async def test_a_failed_read_skips_the_pass_and_the_next_one_makes_up_for_it() -> None:
    story = Story()
    await story.begin({ALICE: HEALTHY})
    story.reader.failures.append(RpcError("the node does not answer"))
    recorded = len(story.records.kept)

    skipped = await story.mine(moved={ALICE: DANGEROUS})
    assert skipped is None
    assert story.acted_on() == []
    assert len(story.records.kept) == recorded
    passed = done(await story.mine())

    assert story.reader.accounts[-1] == {ALICE}
    assert passed.block == story.chain.head
    assert story.acted_on() == [ALICE]


async def test_a_block_whose_logs_were_not_heard_is_heard_at_the_next_one() -> None:
    story = Story()
    await story.begin({ALICE: HEALTHY})
    deaf = story.chain.mine(moved={ALICE: DANGEROUS})
    story.logs.failing.add(deaf.hash)

    assert await story.take(deaf) is None
    story.logs.failing.clear()
    story.logs.asked.clear()
    after = story.chain.mine()
    await story.take(after)

    assert story.logs.asked == [deaf.number, after.number]
    assert story.acted_on() == [ALICE]


async def test_several_blocks_at_once_are_each_heard_and_the_head_alone_is_read() -> None:
    story = Story()
    await story.begin({ALICE: HEALTHY})
    story.logs.asked.clear()
    reads = len(story.reader.accounts)

    blocks = (story.chain.mine(moved={ALICE: (5, 1_500)}), story.chain.mine(moved={BOB: HEALTHY}))
    passed = done(await story.take(*blocks))

    assert story.logs.asked == [block.number for block in blocks]
    assert story.reader.accounts[reads:] == [set(), {ALICE, BOB}]
    assert passed.block == blocks[-1]


async def test_what_was_read_before_parameters_changed_counts_for_nothing() -> None:
    story = Story()
    await story.begin({ALICE: HEALTHY})
    story.reader.undiscovered.append(ObservationError("discovery failed"))

    assert await story.mine(moved={ALICE: DANGEROUS}, parameters=True) is None
    assert story.acted_on() == []
    passed = done(await story.mine())

    assert passed.unread == {}
    assert story.acted_on() == [ALICE]


async def test_whoever_is_asked_for_while_a_block_is_read_stays_on_the_list() -> None:
    story = Story()
    await story.begin({ALICE: HEALTHY})
    block = story.chain.mine()
    seen = await story.reader.run(story.market.observe(), block)
    rounds = await story.reader.run(story.market.rounds(), block)
    story.market.watch(frozenset({DAVE}))
    story.market.take(block, seen, rounds)

    await story.mine()

    assert DAVE in story.reader.accounts[-1]


async def test_a_market_that_cannot_be_learnt_is_not_acted_on_and_is_tried_again() -> None:
    story = Story()
    await story.begin({ALICE: HEALTHY})
    story.reader.failures.append(ObservationError("discovery failed"))

    assert await story.mine(moved={ALICE: DANGEROUS}, parameters=True) is None
    assert story.acted_on() == []
    await story.mine()

    assert story.acted_on() == [ALICE]


async def test_what_is_on_its_way_is_looked_after_although_the_block_cannot_be_observed() -> None:
    story = Story()
    await story.begin({ALICE: DANGEROUS})
    story.executor.end(Confirmed)
    story.reader.failures.append(ObservationError("no node answers"))

    assert await story.mine() is None
    assert story.order[-1] == "settle"
    await story.mine()

    assert story.acted_on() == [ALICE, ALICE]  # the success was noted in the pass that was skipped


async def test_a_head_that_is_doubted_is_not_believed_of_what_is_on_its_way() -> None:
    story = Story()
    await story.begin({ALICE: DANGEROUS})
    story.executor.end(Confirmed)
    story.reader.failures.append(ObservationError("no node answers"))

    assert await story.take(story.chain.mine(), doubt="one of two agrees") is None
    await story.take(story.chain.mine(), doubt="one of two agrees")

    assert "settle" not in story.order
    assert story.acted_on() == [ALICE]


# --- what is not known ------------------------------------------------------------------------


async def test_a_stale_price_makes_health_unknown_and_nothing_is_sent() -> None:
    story = Story()
    await story.begin({ALICE: HEALTHY})

    passed = done(
        await story.mine(moved={ALICE: DANGEROUS}, seconds=HEARTBEAT_S + 200, feed_answers=False)
    )

    [assessment] = passed.assessments
    assert isinstance(assessment, Unassessable)
    assert [type(d) for d in passed.decisions] == [Refuse]
    assert story.acted_on() == []


async def test_a_price_that_answers_again_ends_the_refusal() -> None:
    story = Story()
    await story.begin({ALICE: HEALTHY})
    await story.mine(moved={ALICE: DANGEROUS}, seconds=HEARTBEAT_S + 200, feed_answers=False)

    await story.mine()

    assert story.acted_on() == [ALICE]


async def test_an_account_that_cannot_be_read_is_unknown_whatever_the_book_still_says() -> None:
    story = Story()
    await story.begin({ALICE: HEALTHY})

    # Alice is touched but does not answer; at this price the holdings of before are dangerous.
    passed = done(
        await story.mine(moved={ALICE: HEALTHY}, price=CRASH, unreadable=frozenset({ALICE}))
    )

    assert [type(a) for a in passed.assessments] == [Unassessable]
    assert story.acted_on() == []


async def test_one_account_that_cannot_be_does_not_stop_the_others() -> None:
    story = Story()
    await story.begin({ALICE: HEALTHY, BOB: HEALTHY})

    passed = done(await story.mine(moved={ALICE: (2**128, 1), BOB: DANGEROUS}))

    [reading] = passed.readings
    assert reading.unreadable == (
        (ALICE, f"{ALICE}: scaled {2**128} in reserve 0 is not uint128."),
    )
    assert story.acted_on() == [BOB]
    assert ALICE in {a.position.account for a in passed.assessments if not a.ok}


async def test_an_account_that_could_not_be_read_is_tried_again_at_each_block() -> None:
    story = Story()
    await story.begin({ALICE: HEALTHY})
    await story.mine(moved={ALICE: DANGEROUS}, unreadable=frozenset({ALICE}))
    await story.mine()
    assert story.reader.accounts[-1] == {ALICE}

    await story.mine(unreadable=frozenset())

    assert story.acted_on() == [ALICE]
    await story.mine()
    assert story.reader.accounts[-1] == set()


async def test_a_watched_account_without_debt_is_read_once_and_assessed_at_every_block() -> None:
    story = Story()
    story.records.people = (Watch(chat="log:", account=DAVE, label="dave"),)
    await story.begin()

    passed = done(await story.mine())

    assert [a.position for a in passed.assessments] == [position(DAVE)]
    assert isinstance(passed.assessments[0], Assessed)
    assert story.reader.accounts[-2:] == [{DAVE}, set()]


async def test_a_watched_account_in_danger_fires_an_alert_that_is_kept_with_the_pass() -> None:
    story = Story()
    story.records.people = (Watch(chat="log:", account=ALICE, label="alice"),)
    await story.begin({ALICE: HEALTHY})

    passed = done(await story.mine(price=800))  # 3 * 800 / 1,517 = 1.58
    assert passed.messages == ()
    passed = done(await story.mine(price=520))  # 3 * 520 / 1,517 = 1.028: critical

    assert [m.kind for m in passed.messages] == ["fired"]
    assert story.records.kept[-1].messages == passed.messages
    assert "By interest alone at today's rates: in 90 d" in passed.messages[0].text
    [state] = story.records.kept[-1].alerts
    assert AlertKey(chat=state.chat, rule=state.rule, subject=state.subject) == AlertKey(
        chat="log:", rule="health", subject=str(position(ALICE))
    )


# --- an old head ------------------------------------------------------------------------------


async def test_on_an_old_head_nothing_is_decided_and_everything_else_goes_on() -> None:
    story = Story()
    await story.begin({ALICE: HEALTHY})
    story.late_s = 121

    passed = done(await story.mine(moved={ALICE: DANGEROUS}))

    assert story.order == ["read", "logs", "read", "settle", "record"]
    assert passed.decisions == ()
    assert passed.behind_s == 121
    assert [a.position for a in passed.assessments] == [position(ALICE)]


async def test_once_the_node_is_there_again_what_was_held_back_is_done() -> None:
    story = Story()
    await story.begin({ALICE: HEALTHY})
    story.late_s = 9_000
    await story.mine(moved={ALICE: DANGEROUS})
    story.late_s = 120

    await story.mine()

    assert story.acted_on() == [ALICE]


# --- pace -------------------------------------------------------------------------------------


async def test_a_position_in_flight_is_held_until_its_outcome_is_known() -> None:
    story = Story()
    await story.begin({ALICE: DANGEROUS})
    for _ in range(12):
        await story.mine()
    assert story.acted_on() == [ALICE]

    story.executor.end(Unknown)
    for _ in range(12):
        await story.mine()

    assert story.acted_on() == [ALICE]


async def test_after_a_success_it_may_be_acted_on_again_at_once() -> None:
    story = Story()
    await story.begin({ALICE: DANGEROUS})

    story.executor.end(Confirmed)
    await story.mine()  # settled at the end of this pass
    assert story.acted_on() == [ALICE]
    await story.mine()

    assert story.acted_on() == [ALICE, ALICE]


async def test_after_a_revert_it_waits_five_blocks() -> None:
    story = Story()
    await story.begin({ALICE: DANGEROUS})
    story.executor.end(Reverted)
    await story.mine()
    reverted_at = story.chain.head.number
    while len(story.acted_on()) == 1:
        await story.mine()

    assert story.chain.head.number == reverted_at + 5


async def test_after_it_was_declined_it_waits_five_blocks() -> None:
    story = Story()
    story.executor.declines = "over the cap"
    await story.begin({ALICE: DANGEROUS})
    declined_at = story.chain.head.number
    while len(story.acted_on()) == 1:
        await story.mine()

    assert story.chain.head.number == declined_at + 5


async def test_what_one_position_waits_for_holds_no_other_up() -> None:
    story = Story()
    story.executor.declines = "over the cap"
    await story.begin({ALICE: DANGEROUS})

    await story.mine(moved={BOB: DANGEROUS})

    assert story.acted_on() == [ALICE, BOB]


async def test_what_is_in_flight_reserves_its_amount() -> None:
    story = Story(otherwise=ActBelow(kind=IntentKind.LIQUIDATE, amount=100))
    await story.engine.start(story.chain.head)
    await story.mine(moved={ALICE: DANGEROUS}, purse=199)

    passed = done(await story.mine(moved={BOB: DANGEROUS}))

    # 199 less the 100 on their way for ALICE
    assert story.acted_on() == [ALICE]
    assert [d.reason for d in passed.decisions if isinstance(d, Refuse)] == ["99 is too little"]


async def test_one_pass_never_spends_the_same_money_twice() -> None:
    story = Story(otherwise=ActBelow(kind=IntentKind.LIQUIDATE, amount=100))
    await story.engine.start(story.chain.head)

    passed = done(await story.mine(moved={ALICE: DANGEROUS, BOB: DANGEROUS}, purse=199))

    assert len(story.acted_on()) == 1
    assert [d.reason for d in passed.decisions if isinstance(d, Refuse)] == ["99 is too little"]


async def test_what_was_on_its_way_at_the_start_is_held_too() -> None:
    before = Story()
    await before.begin({ALICE: DANGEROUS})
    story = Story()
    [intent] = before.executor.submitted
    story.executor.open[intent.intent_id] = intent

    await story.begin({ALICE: DANGEROUS})

    assert story.acted_on() == []


async def test_what_ended_while_nobody_looked_is_free_to_be_acted_on_after_its_wait() -> None:
    before = Story()
    await before.begin({ALICE: DANGEROUS})
    story = Story()
    [intent] = before.executor.submitted
    story.executor.recovered = (Abandoned(plan=plan_of(intent), reason="never signed"),)

    await story.begin({ALICE: DANGEROUS})
    assert story.acted_on() == []
    for _ in range(4):
        await story.mine()

    assert story.acted_on() == [ALICE]


# --- priorities -------------------------------------------------------------------------------


async def test_protections_go_before_liquidations_whatever_they_are_worth() -> None:
    story = Story(protections={ALICE: TOP_UP})
    await story.engine.start(story.chain.head)

    # ALICE 1.014 (protected below 1.10), BOB far more debt and below 1
    await story.mine(moved={ALICE: (1, 999), BOB: (2_000, 2_100_000)})

    assert story.order[-4:-2] == ["submit top_up", "submit liquidate"]
    assert story.acted_on() == [ALICE, BOB]


async def test_a_scarce_purse_protects_first() -> None:
    story = Story(protections={ALICE: TOP_UP})
    await story.engine.start(story.chain.head)

    passed = done(await story.mine(moved={ALICE: (1, 999), BOB: (2_000, 2_100_000)}, purse=150))

    assert story.acted_on() == [ALICE]
    assert [d.position for d in passed.decisions if isinstance(d, Refuse)] == [position(BOB)]


async def test_liquidations_go_by_the_debt_at_risk() -> None:
    story = Story()
    await story.engine.start(story.chain.head)

    await story.mine(moved={ALICE: (2, 2_100), BOB: (20, 21_000), CAROL: (10, 10_500)})

    assert story.acted_on() == [BOB, CAROL, ALICE]


async def test_a_protected_account_is_read_and_judged_although_it_has_no_debt() -> None:
    story = Story(protections={DAVE: TOP_UP})
    await story.begin()

    assert story.market.holdings(DAVE) is not None


async def test_the_price_of_the_block_decides_and_not_that_of_the_book() -> None:
    story = Story(otherwise=LIQUIDATE)
    await story.begin({ALICE: HEALTHY, BOB: HEALTHY})
    assert story.acted_on() == []

    await story.mine(price=PRICE // 3)  # 3 * 337 / 1,517 = 0.67; no log speaks of anybody

    assert sorted(story.acted_on()) == sorted([ALICE, BOB])


async def test_where_the_keepers_own_balances_cannot_be_read_danger_is_refused_aloud() -> None:
    def unreadable(*_: object) -> Steps[Inventory]:
        raise BadAnswer("The token answers nonsense.")
        yield ()

    story = Story()
    setattr(story.market.adapter, "inventory", unreadable)  # noqa: B010 - a fake's own method
    await story.begin({ALICE: DANGEROUS})
    passed = await story.mine()

    assert passed is not None
    assert story.acted_on() == []
    assert [d.reason for d in passed.decisions if isinstance(d, Refuse)] == [
        "the keeper's own balances could not be read"
    ]


async def test_a_transaction_that_cannot_get_on_is_an_alarm_and_one_not_known_yet_is_not() -> None:
    for stuck, told in ((True, 1), (False, 0)):
        story = Story()
        await story.begin({ALICE: DANGEROUS})
        [plan] = [plan_of(intent) for intent in story.executor.submitted]
        why = "Not mined: its gas cap of 25000000000 wei a unit allows no higher fee."
        story.executor.due(Unknown(plan=plan, reason=why, stuck=stuck))

        passed = done(await story.mine())

        said = [m for m in passed.messages if m.kind == "action"]
        assert len(said) == told
        assert all("25000000000 wei" in m.text and m.chat == OPERATOR for m in said)
        assert all(m in story.records.kept[-1].messages for m in said)


# --- what a person asks for -------------------------------------------------------------------


async def asked_for(story: Story) -> Submission:
    """Have a person confirm what the strategy would do for ALICE."""
    [intent] = [i for i in story.executor.submitted if i.position == position(ALICE)][:1]
    return await story.engine.act(intent)


async def test_a_person_is_not_obeyed_on_a_head_that_the_nodes_do_not_agree_on() -> None:
    story = Story()
    await story.begin({ALICE: DANGEROUS})
    await story.take(story.chain.mine(), doubt="one of two agrees")

    answer = await asked_for(story)

    assert isinstance(answer, Declined)
    assert answer.reason == "the nodes do not agree on this block: one of two agrees"
    assert len(story.executor.submitted) == 1
    await story.mine()
    assert isinstance(await asked_for(story), Submitted)


async def test_a_person_is_not_obeyed_on_an_old_head() -> None:
    story = Story()
    await story.begin({ALICE: DANGEROUS})
    story.late_s = 9_000
    await story.mine()

    answer = await asked_for(story)

    assert isinstance(answer, Declined)
    assert answer.reason == "the last block is 9000 s old"


async def test_people_are_told_unknown_of_an_account_that_could_not_be_read() -> None:
    story = Story()
    await story.begin({ALICE: HEALTHY})
    await story.mine(moved={ALICE: HEALTHY}, unreadable=frozenset({ALICE}))

    [known] = story.engine.assessments_of(ALICE)

    assert isinstance(known, Unassessable)
    assert story.engine.health_of(position(ALICE)) is None


async def test_an_outcome_of_a_skipped_pass_is_told_with_the_next_one() -> None:
    story = Story()
    await story.begin({ALICE: DANGEROUS})
    story.executor.end(Unknown)
    story.reader.failures.append(ObservationError("no node answers"))
    assert await story.mine() is None

    passed = done(await story.mine())

    assert [type(outcome) for outcome in passed.outcomes] == [Unknown]
    assert done(await story.mine()).outcomes == ()


async def test_an_account_that_only_a_configured_rule_names_is_read_and_spoken_of() -> None:
    # 3 * 1,013 against 1,517: the price may fall by half before it can be liquidated.
    story = Story(rules=(parse_rule(f"distance {ALICE} < 60", OPERATOR, Address),))
    await story.begin({ALICE: HEALTHY, BOB: HEALTHY})

    told = done(await story.mine())

    assert [one.position.account for one in told.assessments] == [ALICE]
    [record] = [one for one in story.records.kept if one.messages]
    [message] = record.messages
    assert (message.chat, "from liquidation" in message.text) == (OPERATOR, True)
