"""What people said about how they are told, kept."""

from dataclasses import replace

import pytest

from keeper.model import AlertLevel, Button, ChatHours, HeldLine, Hush, PassRecord
from keeper.store.database import Database
from keeper.store.outbox import SqlOutbox
from keeper.store.people import SqlPeople
from keeper.store.records import SqlRecords
from keeper.store.types import Unfit
from tests.store.builders import Clock, alert, block, message, position

ACK = Hush(
    chat="telegram:12345",
    rule="health",
    subject=str(position()),
    fired_at=1_794_900_012,
    level=AlertLevel.WARNING,
    until=None,
    by="telegram user 7",
)
HOURS = ChatHours(
    chat="telegram:12345", quiet_from=23 * 60, quiet_to=7 * 60, digest_at=8 * 60, zone="Asia/Tokyo"
)


@pytest.fixture
def people(database: Database) -> SqlPeople:
    return SqlPeople(database)


async def test_a_pass_reads_what_people_said(people: SqlPeople, database: Database) -> None:
    await people.hush(replace(ACK, until=1_794_999_999))
    await people.hush(ACK)
    await people.set_hours(HOURS)

    manners = await SqlRecords(database).manners()

    assert manners.hushes == (ACK,)
    assert manners.hours == (HOURS,)


async def test_a_word_about_an_alert_ends_with_it(people: SqlPeople, database: Database) -> None:
    records = SqlRecords(database)
    kept = replace(alert(), level_at=1_794_900_013, escalated=2)
    await records.record(PassRecord(block=block(), alerts=(kept,)))
    await people.hush(ACK)
    assert await people.alerts() == (kept,)
    await records.record(PassRecord(block=block(), alerts=(alert(AlertLevel.CLEAR),)))

    assert (await records.manners()).hushes == ()


async def test_no_minute_of_a_day_and_half_a_night_are_refused(people: SqlPeople) -> None:
    with pytest.raises(Unfit, match="1440 is no minute of a day"):
        await people.set_hours(replace(HOURS, digest_at=1440))
    with pytest.raises(Unfit, match="need both ends"):
        await people.set_hours(replace(HOURS, quiet_to=None))


async def test_held_lines_are_kept_once_and_leave_with_their_digest(
    people: SqlPeople, database: Database, clock: Clock
) -> None:
    line = HeldLine(chat=HOURS.chat, at=1_794_900_012, key="k", text="🟠 main: 1.142")
    await people.set_hours(HOURS)
    for _ in range(2):
        await SqlRecords(database).record(PassRecord(block=block(), held=(line,)))
    lines = await people.held(HOURS.chat)
    assert lines == (line,)

    done = replace(HOURS, digested_at=1_794_950_000)
    await people.digested(done, lines, message("digest"))

    assert await people.held(HOURS.chat) == ()
    assert await people.hours(HOURS.chat) == done
    assert [row.message.key for row in await SqlOutbox(database).due(clock.at, 9)] == ["digest"]


async def test_a_pause_outlives_the_process(
    people: SqlPeople, database: Database, clock: Clock
) -> None:
    assert await people.paused() == ""
    assert await people.paused_since() is None
    for said_at in (1_795_000_007.9, 1_795_000_400.2):
        clock.at = said_at
        await people.pause("paused by telegram user 7", by="telegram user 7")
        assert await SqlPeople(database).paused() == "paused by telegram user 7"
        assert await people.paused_since() == int(said_at)
        await people.pause("", by="telegram user 7")
        assert await people.paused() == ""
        assert await people.paused_since() is None


async def test_buttons_and_chart_come_back_as_they_were_put(
    database: Database, clock: Clock
) -> None:
    outbox = SqlOutbox(database)
    sent = message(buttons=(Button(label="Ack", data="ack:0f"),), chart="1/m/0x52/86400")
    await outbox.put((sent,))

    (row,) = await outbox.due(clock.at, 9)

    assert row.message == sent


async def test_the_end_of_an_alert_answers_its_last_word(database: Database, clock: Clock) -> None:
    outbox = SqlOutbox(database)
    await outbox.put(
        (
            message("health/a#1@c"),
            message("health/a#2@c"),
            message("health/b#3@c"),
            message("health/a#4@c", kind="resolved"),
            message("health/a#5@c", kind="fired"),
        )
    )
    for row, ref in zip(await outbox.due(clock.at, 3), ("71", "72", "73"), strict=True):
        await outbox.delivered(row.id, clock.at, ref)

    answers = {row.message.key: row.reply_to for row in await outbox.due(clock.at, 9)}

    assert answers == {"health/a#4@c": "72", "health/a#5@c": ""}


async def test_a_chat_keeps_the_language_it_chose_last(database: Database) -> None:
    people = SqlPeople(database)
    await people.set_language("telegram:4711", "de", by="telegram user 7")
    await people.set_language("telegram:4712", "de", by="telegram user 7")
    await people.set_language("telegram:4711", "en", by="telegram user 8")

    assert await people.languages() == {"telegram:4711": "en", "telegram:4712": "de"}
