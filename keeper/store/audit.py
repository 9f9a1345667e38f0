"""The audit trail: each row holds the hash of the one before it, written with the act itself.

    hash = sha256(canonical JSON of [seq, at_ms, event, fields, prev_hash])

Rows that are changed, removed from the middle or reordered are found by `verify`.  Rows cut off
at the end are found only against an `Anchor` kept elsewhere: log or print `head` now and then.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import Any, Final

from sqlalchemy import Select, func, insert, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from keeper.model import AuditEvent, Hash
from keeper.store.database import Database
from keeper.store.documents import digest
from keeper.store.tables import AuditRow
from keeper.store.types import Damaged, Unfit, canonical
from keeper.store.whole import whole
from keeper.store.write import Writing, at_once, in_lots, named, table_of

GENESIS: Final = Hash(f"0x{'0' * 64}")
"""What the first row has for the hash before it."""
_LAST: Final = (
    select(col(AuditRow.seq), col(AuditRow.hash)).order_by(col(AuditRow.seq).desc()).limit(1)
)
_APPEND: Final = insert(table_of(AuditRow))
_SAFE: Final = 2**53 - 1
_PAGE: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """The end of the chain at some moment, to be kept outside of the database."""

    count: int
    head: Hash


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """Every row is as it was written."""

    count: int
    head: Hash


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """From row `seq` on the trail cannot be believed."""

    seq: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Audited:
    """One row as it is read back."""

    seq: int
    at_ms: int
    event: AuditEvent
    hash: Hash


async def append(
    session: Writing, events: Iterable[AuditEvent], *, at: float, pass_hash: Hash | None = None
) -> None:
    """Chain `events` to the trail in the caller's `Database.write` transaction.

    With `pass_hash`, the block of a pass, an event that this block already left is not repeated.
    """
    wanted = tuple(events)
    if not wanted:
        return
    keys = [_key(pass_hash, event) for event in wanted]
    known = await _known(session, [key for key in keys if key]) if any(keys) else set()
    last = await head(session)
    seq, prev, at_ms = last.count, last.head, int(at * 1000)
    rows: list[dict[str, Any]] = []
    for key, event in zip(keys, wanted, strict=True):
        if key is not None:
            if key in known:
                continue
            known.add(key)
        if not (event.event.isascii() and event.event.isprintable()):
            raise Unfit(f"audit: {event.event!r:.60} is not a noun.verb; nothing was written")
        seq += 1
        fields = encode_fields(event)
        hash_ = _hash(seq, at_ms, event.event, fields, prev)
        rows.append(
            {
                "seq": seq,
                "at_ms": at_ms,
                "event": event.event,
                "fields": fields,
                "prev_hash": prev,
                "hash": hash_,
                "key": key,
            }
        )
        prev = hash_
    if rows:
        await at_once(session, _APPEND, rows)


async def head(session: Writing) -> Anchor:
    """The last row's number and hash."""
    for count_, hash_ in await at_once(session, _LAST, {}):
        return Anchor(count=count_, head=Hash(hash_))
    return Anchor(count=0, head=GENESIS)


@whole
async def verify(database: Database, anchor: Anchor | None = None) -> Verified | Broken:
    """Walk the whole trail; with `anchor`, also check that it still goes through there."""
    seq, prev = 0, GENESIS
    async with database.read("audit.verify") as session:
        while True:
            page = (
                await session.scalars(
                    select(AuditRow)
                    .where(col(AuditRow.seq) > seq)
                    .order_by(col(AuditRow.seq))
                    .limit(_PAGE)
                )
            ).all()
            for row in page:
                reason = _fault(row, seq + 1, prev)
                if not reason and anchor and row.seq == anchor.count and row.hash != anchor.head:
                    reason = f"its hash is {row.hash}, the anchor says {anchor.head}"
                if reason:
                    return Broken(seq=seq + 1, reason=reason)
                seq, prev = row.seq, Hash(row.hash)
            session.expunge_all()
            if len(page) < _PAGE:
                break
    if anchor and anchor.count > seq:
        return Broken(seq=seq + 1, reason=f"the trail ends at {seq}, the anchor is {anchor.count}")
    return Verified(count=seq, head=prev)


@whole
async def trail(database: Database, limit: int) -> tuple[Audited, ...]:
    """The last `limit` rows, newest first."""
    async with database.read("audit.trail") as session:
        rows = await session.scalars(
            select(AuditRow).order_by(col(AuditRow.seq).desc()).limit(limit)
        )
        return tuple(
            Audited(
                seq=row.seq,
                at_ms=row.at_ms,
                event=AuditEvent(event=row.event, fields=decode_fields(row.fields)),
                hash=Hash(row.hash),
            )
            for row in rows
        )


async def count(session: AsyncSession) -> int:
    """How many rows there are."""
    return int((await session.execute(select(func.count()).select_from(AuditRow))).scalar_one())


def encode_fields(event: AuditEvent) -> str:
    """Canonical JSON of the fields; decimals and integers beyond 2**53 keep their digits."""
    return canonical({name: _plain(event.event, name, v) for name, v in event.fields.items()})


def decode_fields(text: str) -> dict[str, str | int | Decimal | None]:
    """The fields as they were appended.  Raises `Damaged`."""
    try:
        return {name: _value(value) for name, value in json.loads(text).items()}
    except (ValueError, AttributeError, ArithmeticError, TypeError) as error:
        raise Damaged(f"audit.fields: {text!r:.80} was not written by keeper") from error


def _plain(event: str, name: str, value: object) -> object:
    match value:
        case bool():
            pass
        case int():
            return value if abs(value) <= _SAFE else {"int": str(value)}
        case Decimal() if value.is_finite():
            return {"decimal": str(value)}
        case str():
            return str(value)
        case None:
            return None
        case _:
            pass
    raise Unfit(
        f"audit: {event} has {name}={value!r:.60}, which is not text, an integer or a decimal; "
        "nothing was written"
    )


def _value(value: Any) -> str | int | Decimal | None:
    match value:
        case {"int": str(digits)}:
            return int(digits)
        case {"decimal": str(digits)}:
            return Decimal(digits)
        case str() | int() | None:
            return value
        case _:
            raise TypeError(value)


def _hash(seq: int, at_ms: int, event: str, fields: str, prev: str) -> Hash:
    return Hash(digest([seq, at_ms, event, fields, prev]))


def _fault(row: AuditRow, expected: int, prev: Hash) -> str:
    if row.seq != expected:
        return f"row {expected} is missing"
    if row.prev_hash != prev:
        return "it does not follow from the row before it"
    if row.hash != _hash(row.seq, row.at_ms, row.event, row.fields, row.prev_hash):
        return "it was changed after it was written"
    return ""


def _key(pass_hash: Hash | None, event: AuditEvent) -> str | None:
    return digest([pass_hash, event.event, encode_fields(event)]) if pass_hash else None


@cache
def _of_keys(keys: int) -> Select[str | None]:
    return select(col(AuditRow.key)).where(col(AuditRow.key).in_(named("key", keys)))


async def _known(session: Writing, keys: Sequence[str]) -> set[str]:
    return {
        row.key
        for lot, some in in_lots("key", keys)
        for row in await at_once(session, _of_keys(lot), some)
    }
