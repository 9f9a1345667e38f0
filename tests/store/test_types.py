"""What a column holds comes back equal; what does not fit is refused by name."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Column, MetaData, Table, insert, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from keeper.errors import JournalError
from keeper.store.database import Database
from keeper.store.types import Blob, Damaged, Document, Hex, Uint63, Uint256, Unfit, Words
from keeper.units import UINT256_MAX

SAMPLES = Table(
    "samples",
    MetaData(),
    Column("id", Uint63("samples.id"), primary_key=True, autoincrement=False),
    Column("wide", Uint256("samples.wide")),
    Column("hash", Hex("samples.hash", 32)),
    Column("words", Words("samples.words")),
    Column("document", Document("samples.document")),
    Column("blob", Blob("samples.blob")),
)
EDGES = (0, 1, 9, 10, 2**53 + 1, 2**63 - 1, 2**63, 2**255 - 1, 2**255, 10**77, UINT256_MAX)


@pytest.fixture
async def samples(database: Database) -> AsyncIterator[AsyncSession]:
    async with database.write("samples.made") as session:
        await (await session.connection()).run_sync(SAMPLES.create)
        yield session


async def test_every_uint256_comes_back_and_keeps_its_order(samples: AsyncSession) -> None:
    rows = [{"id": place, "wide": number} for place, number in enumerate(reversed(EDGES))]
    await samples.execute(insert(SAMPLES), rows)
    column = SAMPLES.c.wide

    assert (await samples.scalars(select(column).order_by(column))).all() == list(EDGES)
    above = select(column).where(column > 2**63 - 1).order_by(column)
    assert (await samples.scalars(above)).all() == [n for n in EDGES if n > 2**63 - 1]


@pytest.mark.parametrize("number", [-1, UINT256_MAX + 1, 1.5, "12", True, b"1"])
async def test_what_is_not_a_uint256_is_refused_by_the_name_of_its_column(
    samples: AsyncSession, number: Any
) -> None:
    with pytest.raises(Unfit, match=r"samples\.wide: .*nothing was written") as refused:
        await samples.execute(insert(SAMPLES), [{"id": 1, "wide": number}])

    assert isinstance(refused.value, JournalError)


@pytest.mark.parametrize("number", [-1, 2**63, 0.0, "7"])
async def test_block_numbers_and_times_beyond_the_column_are_refused(
    samples: AsyncSession, number: Any
) -> None:
    with pytest.raises(Unfit, match=r"samples\.id: "):
        await samples.execute(insert(SAMPLES), [{"id": number}])


@pytest.mark.parametrize(
    "text", ["0x" + "AB" * 32, "0x" + "ab" * 31, "ab" * 33, 7, "0x" + "g" * 64]
)
async def test_a_hash_is_lower_case_hex_of_its_length(samples: AsyncSession, text: Any) -> None:
    with pytest.raises(Unfit, match=r"samples\.hash: .* 64 lower-case hex digits"):
        await samples.execute(insert(SAMPLES), [{"id": 1, "hash": text}])


async def test_hostile_text_is_stored_with_its_unstorable_pieces_replaced(
    samples: AsyncSession,
) -> None:
    await samples.execute(insert(SAMPLES), [{"id": 1, "words": "A\x00B\ud800\u202eC'; --"}])

    assert await samples.scalar(select(SAMPLES.c.words)) == "A\ufffdB\ufffd\u202eC'; --"


async def test_a_document_keeps_wide_integers_and_hostile_text_exactly(
    samples: AsyncSession,
) -> None:
    stored = {"amount": UINT256_MAX, "symbol": "A\x00\ud800\U0001f600", "none": None, "list": [1]}
    await samples.execute(insert(SAMPLES), [{"id": 1, "document": stored, "blob": b"\x00\xff"}])

    assert await samples.scalar(select(SAMPLES.c.document)) == stored
    assert await samples.scalar(select(SAMPLES.c.blob)) == b"\x00\xff"


@pytest.mark.parametrize("column", ["document", "blob", "words"])
async def test_other_kinds_of_values_are_refused(samples: AsyncSession, column: str) -> None:
    with pytest.raises(Unfit, match=f"samples.{column}: "):
        await samples.execute(insert(SAMPLES), [{"id": 1, column: object()}])


async def test_nothing_is_kept_apart_from_zero(samples: AsyncSession) -> None:
    await samples.execute(insert(SAMPLES), [{"id": 1, "wide": None}, {"id": 2, "wide": 0}])

    found = await samples.scalars(select(SAMPLES.c.wide).order_by(SAMPLES.c.id))
    assert found.all() == [None, 0]


@given(st.integers(0, UINT256_MAX), st.integers(0, UINT256_MAX))
def test_the_order_of_stored_texts_is_the_order_of_the_numbers(one: int, other: int) -> None:
    kind, dialect = Uint256("x"), sqlite.dialect()
    stored = [kind.process_bind_param(number, dialect) for number in (one, other)]

    assert (stored[0] < stored[1]) == (one < other)
    assert [kind.process_result_value(text, dialect) for text in stored] == [one, other]


@given(st.integers(0, UINT256_MAX))
def test_a_decimal_of_postgresql_is_exact(number: int) -> None:
    kind, dialect = Uint256("x"), postgresql.dialect()  # type: ignore[no-untyped-call]

    assert kind.process_result_value(kind.process_bind_param(number, dialect), dialect) == number


@pytest.mark.parametrize("text", ["12", "x" * 78, "-" + "1" * 77, 12])
def test_a_number_that_keeper_did_not_write_is_damage(text: Any) -> None:
    with pytest.raises(Damaged, match=r"history\.debt"):
        Uint256("history.debt").process_result_value(text, sqlite.dialect())
