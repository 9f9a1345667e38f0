"""Nothing is lost, nothing is doubled, critical first, and one chat cannot crowd out another."""

import pytest

from keeper.model import Message, Severity
from keeper.store.database import Database
from keeper.store.outbox import PER_CHAT, OutboxCounts, SqlOutbox
from keeper.store.types import Unfit
from tests.store.builders import Clock, message


@pytest.fixture
def outbox(database: Database) -> SqlOutbox:
    return SqlOutbox(database)


async def keys(outbox: SqlOutbox, now: float, limit: int = 100) -> list[str]:
    return [item.message.key for item in await outbox.due(now, limit)]


async def test_critical_comes_first_and_then_the_oldest(outbox: SqlOutbox, clock: Clock) -> None:
    order = [Severity.INFO, Severity.WARNING, Severity.CRITICAL, Severity.WARNING]
    await outbox.put([message(f"m{n}", severity=level) for n, level in enumerate(order)])
    await outbox.put([message("m4", severity=Severity.CRITICAL)])

    assert await keys(outbox, clock()) == ["m2", "m4", "m1", "m3", "m0"]
    assert await keys(outbox, clock(), limit=2) == ["m2", "m4"]


async def test_a_message_comes_back_as_it_was_put(outbox: SqlOutbox, clock: Clock) -> None:
    put = message(text="first line\nsecond \u202e line", kind="resolved")
    await outbox.put([put])
    (pending,) = await outbox.due(clock(), 10)

    assert (pending.message, pending.attempts) == (put, 0)


async def test_a_known_key_is_not_written_again_even_after_delivery(
    outbox: SqlOutbox, clock: Clock
) -> None:
    await outbox.put([message("a", text="one"), message("a", text="two")])
    (pending,) = await outbox.due(clock(), 10)
    await outbox.delivered(pending.id, clock())
    await outbox.put([message("a", text="three")])

    assert pending.message.text == "one"
    assert await keys(outbox, clock() + 1e6) == []
    assert (await outbox.counts()).delivered == 1


async def test_what_failed_is_due_again_at_its_time(outbox: SqlOutbox, clock: Clock) -> None:
    await outbox.put([message("a")])
    (pending,) = await outbox.due(clock(), 10)
    await outbox.failed(pending.id, clock() + 30.5, "429 Too Many Requests")

    assert await keys(outbox, clock() + 30.4) == []
    (again,) = await outbox.due(clock() + 30.5, 10)
    assert (again.id, again.attempts) == (pending.id, 1)


async def test_what_will_never_be_taken_is_counted_and_kept(
    outbox: SqlOutbox, clock: Clock
) -> None:
    await outbox.put([message("a"), message("b")])
    first, _ = await outbox.due(clock(), 10)
    await outbox.failed(first.id, None, "400 message is too long")

    assert await keys(outbox, clock() + 1e6) == ["b"]
    assert await outbox.counts() == OutboxCounts(
        pending=1, held=0, delivered=0, failed=1, oldest_pending_at=clock()
    )


async def test_a_late_failure_does_not_undo_a_delivery(outbox: SqlOutbox, clock: Clock) -> None:
    await outbox.put([message("a")])
    (pending,) = await outbox.due(clock(), 10)
    await outbox.delivered(pending.id, clock())
    await outbox.failed(pending.id, clock(), "timed out")
    await outbox.delivered(pending.id, clock() + 5)
    await outbox.failed(pending.id, None, "400")

    assert await keys(outbox, clock() + 1e6) == []
    assert (await outbox.counts()).delivered == 1


async def test_messages_of_a_disabled_chat_are_held_and_not_lost(
    outbox: SqlOutbox, clock: Clock
) -> None:
    await outbox.put([message("a", chat="telegram:1"), message("b", chat="telegram:2")])
    await outbox.disable_chat("telegram:1", "403 Forbidden")
    assert await keys(outbox, clock()) == ["b"]
    counts = await outbox.counts()
    assert (counts.pending, counts.held) == (1, 1)

    await outbox.enable_chat("telegram:1")
    assert await keys(outbox, clock()) == ["a", "b"]


async def test_a_lost_answer_is_remembered_beside_buttons_and_through_further_failures(
    outbox: SqlOutbox, clock: Clock
) -> None:
    await outbox.put([message("a")])
    [before] = await outbox.due(clock(), 10)
    await outbox.doubted(before.id)
    await outbox.failed(before.id, clock(), "lost")
    await outbox.failed(before.id, clock(), "429")
    [after] = await outbox.due(clock(), 10)

    assert not before.maybe_taken
    assert after.maybe_taken
    assert after.message == before.message


async def test_one_chat_cannot_crowd_out_another(outbox: SqlOutbox, clock: Clock) -> None:
    loud = [
        message(f"l{n}", chat="telegram:1", severity=Severity.CRITICAL) for n in range(PER_CHAT * 5)
    ]
    await outbox.put([*loud, message("quiet", chat="telegram:2", severity=Severity.INFO)])
    found = await keys(outbox, clock(), limit=PER_CHAT + 1)

    assert found == [f"l{n}" for n in range(PER_CHAT)] + ["quiet"]


async def test_hostile_text_goes_through_and_a_message_without_a_key_does_not(
    outbox: SqlOutbox, clock: Clock
) -> None:
    await outbox.put([message("a", text="U\x00SD\ud800 '; DROP TABLE outbox; --" * 300)])
    (pending,) = await outbox.due(clock(), 10)
    assert pending.message.text.startswith("U\ufffdSD\ufffd '; DROP TABLE")

    nameless: Message = message("")
    with pytest.raises(Unfit, match=r"outbox\.key"):
        await outbox.put([nameless])


async def test_old_deliveries_are_forgotten_and_nothing_else(
    outbox: SqlOutbox, clock: Clock
) -> None:
    await outbox.put([message("a"), message("b"), message("c")])
    first, second, _ = await outbox.due(clock(), 10)
    await outbox.delivered(first.id, clock())
    await outbox.delivered(second.id, clock() + 100)

    assert await outbox.prune(clock() + 50) == 1
    counts = await outbox.counts()
    assert (counts.pending, counts.delivered) == (1, 1)
