"""Several accounts in one transaction, on the real market: each by itself, each once.

Whether an order ran is read from the chain's own logs and from the Pool, not from the journal.
"""

from collections.abc import AsyncIterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from keeper.devnet.abi import encode_call
from keeper.devnet.network import Devnet
from keeper.model import (
    Abandoned,
    Confirmed,
    Declined,
    Intent,
    Rehearsed,
    Reverted,
)
from keeper.ports import LendingView
from keeper.settings import Settings
from keeper.store.actions import SqlActions
from tests.chain.batches import (
    CONFIRMATIONS,
    FIVE,
    Bench,
    deployed,
    gas_alone,
    opened,
    sent_of,
    settings_for,
    unarmed,
)
from tests.chain.watching import watching

pytestmark = pytest.mark.chain


class Killed(BaseException):
    """The process ends here."""


@pytest.fixture
async def bench(devnet: Devnet, tmp_path: Path) -> AsyncIterator[Bench]:
    async with opened(devnet, tmp_path) as made:
        yield made


async def whale_repays(devnet: Devnet, intent: Intent) -> None:
    """Somebody else makes an account healthy, and is first in the next block."""
    there = devnet.deployment
    pool = devnet.artifacts.get("IPool")
    data = encode_call(
        pool, "repay", intent.asset.address, intent.covers, 2, intent.position.account
    )
    message = {
        "from": there.account("whale").address,
        "to": there.pool,
        "data": "0x" + data.hex(),
        "gas": hex(1_500_000),
        "maxFeePerGas": hex(10**12),
        "maxPriorityFeePerGas": hex(10**11),
    }
    await devnet.anvil.rpc("eth_sendTransaction", message)


async def until_killed(bench: Bench, intents: list[Intent], view: LendingView) -> None:
    await bench.executor.submit_together(intents, view)
    await bench.mine(CONFIRMATIONS + 1)


# --- what it is for -----------------------------------------------------------------------------


async def test_five_accounts_are_liquidated_by_one_transaction_for_less_gas(
    bench: Bench,
) -> None:
    intents, view = await bench.wanted()
    before = await bench.debts(intents)
    await bench.remember()
    single_gas, alone = await gas_alone(bench, intents, view)
    nonce = await bench.forget_all()
    async with bench.fresh_journal(nonce) as executor:
        submissions = await executor.submit_together(intents, view)
        sent = sent_of(submissions)
        await bench.mine(CONFIRMATIONS + 1)
        actions = await SqlActions(bench.database).last(20)

    assert len(sent) == len(submissions) == alone == FIVE
    assert len({one.open_plan.attempts[-1].tx_hash for one in sent}) == 1
    assert {one.open_plan.nonce for one in sent} == {nonce}
    assert all(isinstance(one, Confirmed) for one in bench.outcomes), bench.outcomes
    assert {o.plan.intent.intent_id for o in bench.outcomes} == {i.intent_id for i in intents}
    assert await bench.ran(intents) == [1] * FIVE
    after = await bench.debts(intents)
    assert all(b > a for b, a in zip(before, after, strict=True))
    assert await bench.left() == 0
    mined = await bench.devnet.anvil.receipt(sent[0].open_plan.attempts[-1].tx_hash)
    assert mined is not None
    gas = int(mined["gasUsed"], 16)
    parts = [action.receipt.gas_used for action in actions if action.receipt is not None]
    assert sum(parts) == gas
    assert all(part > 100_000 for part in parts)
    # 495,000 alone, 346,000 together
    assert gas * 100 <= single_gas * 80, (gas, single_gas)


async def test_the_health_of_each_after_all_of_them_is_said_beforehand(bench: Bench) -> None:
    intents, view = await bench.wanted()
    submissions = await bench.executor.submit_together(intents, view)
    await bench.journal.record_submission(*submissions)
    await bench.mine(CONFIRMATIONS + 1)
    data = await bench.devnet.account_data_of([intent.position.account for intent in intents])
    kept = {
        a.intent.intent_id: a.simulated_health for a in await SqlActions(bench.database).last(9)
    }

    found = {one.intent.intent_id: one.health_after for one in sent_of(submissions)}
    assert len(found) == FIVE
    for intent, (*_, truth) in zip(intents, data, strict=True):
        said = found[intent.intent_id]
        assert said is not None
        assert said > intent.health_before
        # some seconds of interest later
        assert abs(said - truth) <= truth // 10**6
        assert kept[intent.intent_id] == said
    assert len(set(found.values())) > 2  # those whose whole debt was repaid are alike


async def test_a_whole_storm_goes_in_fewer_transactions_than_accounts(
    devnet: Devnet, tmp_path: Path
) -> None:
    contract = await deployed(devnet, tmp_path)
    settings = settings_for(devnet, tmp_path, contract)
    async with watching(devnet, settings) as here:
        await devnet.fall_of("ETH/USD", Decimal("0.82"))
        for _ in range(9):
            await here.tick()
        passes = here.passes
    sent = sent_of([s for done in passes for s in done.submissions])
    outcomes = [o for done in passes for o in done.outcomes]

    assert len(sent) > FIVE
    assert {s.intent.intent_id for s in sent} == {o.plan.intent.intent_id for o in outcomes}
    assert all(isinstance(outcome, Confirmed) for outcome in outcomes)
    hashes = {s.open_plan.attempts[0].tx_hash for s in sent}
    # the first of a block alone, the others five at a time
    assert len(hashes) <= len(sent) // 2
    first = sent[0].open_plan.attempts[0].tx_hash
    assert [s.open_plan.attempts[0].tx_hash for s in sent].count(first) == 1


# --- what happens in between --------------------------------------------------------------------


async def test_one_that_somebody_made_healthy_first_fails_by_itself(bench: Bench) -> None:
    intents, view = await bench.wanted()
    sent = sent_of(await bench.executor.submit_together(intents, view))
    assert len(sent) == FIVE
    third = intents[2]
    await whale_repays(bench.devnet, third)

    await bench.mine(CONFIRMATIONS)

    found = {o.plan.intent.intent_id: o for o in bench.outcomes}
    lost = found.pop(third.intent_id)
    assert isinstance(lost, Reverted)
    # in the exchange's own words where nothing at all was owed any more: an amount of zero
    assert lost.reason in {"health factor not below threshold", "AS"}
    assert all(isinstance(outcome, Confirmed) for outcome in found.values())
    assert len(found) == FIVE - 1
    assert await bench.ran(intents) == [1, 1, 0, 1, 1]
    states = await bench.states()
    assert states[third.intent_id] == "reverted"
    assert list(states.values()).count("confirmed") == FIVE  # the deployment too
    assert await bench.left() == 0
    assert bench.executor.armed


@pytest.mark.parametrize("taken", [(0,), (0, 1, 2)])
async def test_what_is_lost_first_leaves_the_others_gas_enough(
    bench: Bench, taken: tuple[int, ...]
) -> None:
    """An order that is rolled back takes back what it warmed for those behind it."""
    intents, view = await bench.wanted()
    sent = sent_of(await bench.executor.submit_together(intents, view))
    order = list(sent[0].open_plan.plan.intents)
    for number in taken:
        await whale_repays(bench.devnet, order[number])

    await bench.mine(CONFIRMATIONS)

    assert await bench.ran(order) == [number not in taken for number in range(FIVE)]


async def test_one_that_lost_an_order_is_not_bumped_but_given_back(bench: Bench) -> None:
    every, view = await bench.wanted(9)
    intents = [every[0], *every[-3:]]  # nearly all that it may cost is the first one's worth
    await bench.begin(_with_room(bench.settings))
    sent = sent_of(await bench.executor.submit_together(intents, view))
    assert len(sent) == 4
    await whale_repays(bench.devnet, intents[0])
    for _ in range(6):
        await bench.devnet.anvil.set_next_base_fee(220 * 10**9)
        await bench.mine()
    await bench.mine(CONFIRMATIONS)

    assert await bench.ran(intents) == [0] * 4
    assert [type(outcome) for outcome in bench.outcomes] == [Abandoned] * 4


def _with_room(settings: Settings) -> Settings:
    caps = {"max_gas_per_tx_eth": 20 * 10**18, "max_gas_per_day_eth": 200 * 10**18}
    signing = settings.signing.model_copy(update=caps)
    return settings.model_copy(update={"signing": signing})


async def test_all_taken_by_others_is_one_revert_and_leaves_nothing_open(bench: Bench) -> None:
    intents, view = await bench.wanted(3)
    assert len(sent_of(await bench.executor.submit_together(intents, view))) == 3
    for intent in intents:
        await whale_repays(bench.devnet, intent)

    await bench.mine(CONFIRMATIONS)

    assert [type(outcome) for outcome in bench.outcomes] == [Reverted] * 3
    assert await bench.ran(intents) == [0, 0, 0]
    assert await bench.journal.open_plans(bench.devnet.deployment.account("keeper").address) == ()
    paid = {o.receipt.tx_hash for o in bench.outcomes if isinstance(o, Reverted)}
    assert len(paid) == 1
    mined = await bench.devnet.anvil.receipt(paid.pop())
    assert mined is not None
    assert int(mined["gasUsed"], 16) == sum(
        o.receipt.gas_used for o in bench.outcomes if isinstance(o, Reverted)
    )


async def test_one_that_is_healthy_before_is_taken_out_and_told_why(bench: Bench) -> None:
    intents, view = await bench.wanted()
    whale = bench.devnet.deployment.account("whale").address
    healthy = replace(
        intents[1],
        intent_id="0000000000000bad",
        position=replace(intents[1].position, account=whale),
    )

    submissions = await bench.executor.submit_together([*intents, healthy], view)

    declined = [one for one in submissions if isinstance(one, Declined)]
    assert [one.intent.intent_id for one in declined] == ["0000000000000bad"]
    assert declined[0].reason.startswith("It would revert: ")
    assert len({s.open_plan.nonce for s in sent_of(submissions)}) == 1
    assert len(sent_of(submissions)) == FIVE


async def test_a_reorg_that_drops_it_gives_each_of_them_back(bench: Bench) -> None:
    intents, view = await bench.wanted()
    await bench.executor.submit_together(intents, view)
    await bench.mine()
    seen = [set((await bench.states()).values())]

    await bench.devnet.anvil.reorg(1)  # an empty block in its place, the pool forgets
    await bench.executor.settle(await bench.head())
    seen.append(set((await bench.states()).values()))
    assert await bench.ran(intents) == [0] * FIVE
    await bench.mine(CONFIRMATIONS + 2)

    assert seen == [{"mined", "confirmed"}, {"sent", "confirmed"}]
    assert [type(outcome) for outcome in bench.outcomes] == [Confirmed] * FIVE
    assert await bench.ran(intents) == [1] * FIVE


@pytest.mark.parametrize(
    "point",
    ["plan.claimed", "tx.signed", "tx.stored", "tx.sent", "tx.recorded", "plan.mined",
     "plan.settling", "plan.settled"],
)  # fmt: skip
async def test_killed_between_any_two_steps_none_is_lost_and_none_is_done_twice(
    bench: Bench, point: str
) -> None:
    def die(name: str) -> None:
        if name == point:
            raise Killed

    intents, view = await bench.wanted(3)
    executor = await bench.begin(failpoint=die)
    with pytest.raises(Killed):
        await until_killed(bench, intents, view)
    executor = await bench.begin()
    bench.outcomes += await executor.recover(await bench.head())
    await bench.mine(CONFIRMATIONS + 2)

    unsigned = point in {"plan.claimed", "tx.signed"}
    assert await bench.ran(intents) == ([0] * 3 if unsigned else [1] * 3)
    states = await bench.states()
    ended = {states[intent.intent_id] for intent in intents}
    assert ended == ({"abandoned"} if unsigned else {"confirmed"})
    assert executor.armed
    if unsigned:  # and the next block's decision may be carried out, with that very nonce
        assert [type(outcome) for outcome in bench.outcomes] == [Abandoned] * 3
        again, view = await bench.wanted(3)
        assert len(sent_of(await executor.submit_together(again, view))) == 3
        await bench.mine(CONFIRMATIONS)
        assert await bench.ran(again) == [1] * 3


# --- accounts of it -----------------------------------------------------------------------------


async def test_a_rehearsal_shares_the_gas_and_adds_up(bench: Bench) -> None:
    intents, view = await bench.wanted()
    executor = await bench.begin(unarmed(bench.settings))

    submissions = await executor.submit_together(intents, view)

    rehearsed = [one for one in submissions if isinstance(one, Rehearsed)]
    assert len(rehearsed) == FIVE
    assert all((one.health_after or 0) > one.intent.health_before for one in rehearsed)
    costs = [one.cost for one in rehearsed if one.cost is not None]
    price = view.block.base_fee_wei + 10**9  # and the node's tip
    assert all(100_000 < cost.gas_used < 600_000 for cost in costs), costs
    assert sum(c.wei for c in costs) == sum(c.gas_used for c in costs) * price
    await bench.journal.record_submission(*submissions)
    would = await SqlActions(bench.database).would_have()
    profit = sum(one.intent.expected_profit for one in rehearsed)
    assert would.liquidations == FIVE
    assert would.earned == profit - sum(cost.value or 0 for cost in costs)


async def test_a_cap_that_not_all_fit_under_lets_them_go_in_halves(bench: Bench) -> None:
    intents, view = await bench.wanted()
    # room for 1.3 million gas at the first offer, which is twice the base fee, and a replacement
    cap = (await bench.head()).base_fee_wei * 23 // 10 * 1_300_000
    signing = bench.settings.signing.model_copy(update={"max_gas_per_tx_eth": cap})
    executor = await bench.begin(bench.settings.model_copy(update={"signing": signing}))

    submissions = await executor.submit_together(intents, view)
    await bench.mine(CONFIRMATIONS)

    sent = sent_of(submissions)
    assert len(sent) == FIVE, [getattr(s, "reason", "") for s in submissions]
    assert 1 < len({s.open_plan.nonce for s in sent}) < FIVE
    assert await bench.ran(intents) == [1] * FIVE


async def test_nobody_is_in_two_transactions_at_once(bench: Bench) -> None:
    intents, view = await bench.wanted(3)
    await bench.executor.submit_together(intents, view)

    again = await bench.executor.submit_together(intents, view)
    alone = await bench.executor.submit(intents[2], view)

    assert all(isinstance(one, Declined) for one in (*again, alone))
    assert "has an action in flight" in getattr(alone, "reason", "")
    await bench.mine(CONFIRMATIONS)
    assert await bench.ran(intents) == [1] * 3
