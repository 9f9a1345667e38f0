"""A trail that cannot be changed without showing it."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import delete, update
from sqlmodel import col

from keeper.model import AuditEvent
from keeper.store.audit import (
    GENESIS,
    Anchor,
    Broken,
    Verified,
    append,
    decode_fields,
    encode_fields,
    trail,
    verify,
)
from keeper.store.database import Database
from keeper.store.documents import digest
from keeper.store.tables import AuditRow
from keeper.store.types import Unfit
from keeper.units import UINT256_MAX
from tests.store.builders import hash_

FIELDS: dict[str, str | int | Decimal | None] = {
    "text": "A\x00\ud800",
    "int": 2**53,
    "wide": -UINT256_MAX,
    "decimal": Decimal("1.10"),
    "none": None,
}


async def write(database: Database, *events: AuditEvent, **options: Any) -> None:
    async with database.write("test.audit") as session:
        await append(session, events, at=database.now(), **options)


async def some(database: Database, number: int = 5) -> None:
    for place in range(number):
        await write(database, AuditEvent(event=f"thing.done{place}", fields={"n": place}))


async def test_an_empty_trail_is_whole(database: Database) -> None:
    assert await verify(database) == Verified(count=0, head=GENESIS)


async def test_rows_come_back_and_chain(database: Database) -> None:
    event = AuditEvent(event="plan.paid", fields=FIELDS)
    await write(database, event, AuditEvent(event="plan.done"))
    done, paid = await trail(database, 5)

    assert paid.event == event
    assert (paid.seq, done.seq) == (1, 2)
    assert await verify(database) == Verified(count=2, head=done.hash)


@pytest.mark.parametrize(
    ("column", "value"),
    [("event", "thing.else"), ("fields", '{"n":9}'), ("at_ms", 1), ("hash", hash_(1))],
)
async def test_a_changed_row_is_found(database: Database, column: str, value: Any) -> None:
    await some(database)
    async with database.write("test.forge") as session:
        await session.execute(
            update(AuditRow).where(col(AuditRow.seq) == 3).values({column: value})
        )

    assert await verify(database) == Broken(seq=3, reason="it was changed after it was written")


async def test_a_row_that_was_forged_with_a_fitting_hash_is_found_by_the_next(
    database: Database,
) -> None:
    await some(database)
    async with database.write("test.forge") as session:
        row = await session.get(AuditRow, 3)
        assert row is not None
        row.fields = '{"n":9}'
        row.hash = digest([3, row.at_ms, row.event, row.fields, row.prev_hash])

    reason = "it does not follow from the row before it"
    assert await verify(database) == Broken(seq=4, reason=reason)


async def test_a_removed_row_is_found(database: Database) -> None:
    await some(database)
    async with database.write("test.forge") as session:
        await session.execute(delete(AuditRow).where(col(AuditRow.seq) == 2))

    assert await verify(database) == Broken(seq=2, reason="row 2 is missing")


async def test_a_tail_that_was_cut_off_is_found_by_an_anchor(database: Database) -> None:
    await some(database)
    whole = await verify(database)
    assert isinstance(whole, Verified)
    anchor = Anchor(count=whole.count, head=whole.head)
    async with database.write("test.forge") as session:
        await session.execute(delete(AuditRow).where(col(AuditRow.seq) > 3))

    assert isinstance(await verify(database), Verified)
    assert await verify(database, anchor) == Broken(
        seq=4, reason="the trail ends at 3, the anchor is 5"
    )
    await some(database)  # written over: the same numbers, other hashes
    found = await verify(database, anchor)
    assert isinstance(found, Broken)
    assert "the anchor says" in found.reason


async def test_a_trail_longer_than_a_page_is_walked(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keeper.store.audit._PAGE", 2)
    await some(database, 5)

    assert (await verify(database)).__class__ is Verified
    await write(database, AuditEvent(event="thing.six"))
    found = await verify(database)
    assert isinstance(found, Verified)
    assert found.count == 6


async def test_an_event_of_a_pass_is_left_once_per_block(database: Database) -> None:
    event = AuditEvent(event="plan.refused", fields={"n": 1})
    for block_hash in (hash_(1), hash_(1), hash_(2)):
        await write(database, event, event, pass_hash=block_hash)

    assert len(await trail(database, 9)) == 2


@pytest.mark.parametrize("value", [1.5, True, Decimal("NaN"), b"x", ("a",)])
async def test_a_field_of_another_kind_is_refused_by_name(database: Database, value: Any) -> None:
    with pytest.raises(Unfit, match=r"audit: plan\.paid has gas="):
        await write(database, AuditEvent(event="plan.paid", fields={"gas": value}))


@given(
    st.dictionaries(
        st.text(),
        st.none() | st.integers() | st.text() | st.decimals(allow_nan=False, allow_infinity=False),
    )
)
def test_any_fields_come_back(fields: dict[str, str | int | Decimal | None]) -> None:
    back = decode_fields(encode_fields(AuditEvent(event="a.b", fields=fields)))

    assert back == fields
    assert [type(value) for _, value in sorted(back.items())] == [
        type(value) for _, value in sorted(fields.items())
    ]
