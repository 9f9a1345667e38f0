"""Permits: which were asked for, so that a signature alone says what it is for, and which signed.

A signature is no secret of the keeper's: whoever has one can only hand it to its token, which then
lets the deleverager take what the owner signed.
"""

from decimal import Decimal
from typing import Final

from sqlalchemy import ColumnElement, and_, delete, select
from sqlalchemy.engine import CursorResult
from sqlmodel import col

from keeper.model import Address, AuditEvent, Permit, SignedPermit
from keeper.store import audit
from keeper.store.database import Database
from keeper.store.tables import PermitRow
from keeper.store.whole import whole_class
from keeper.store.write import insert_or_replace

MOST_ASKED: Final = 8
"""Of one token, owner and spender: older ones that nobody signed are forgotten."""


@whole_class
class SqlPermits:
    """Permits of all chains."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def ask(self, permit: Permit, digest: bytes) -> None:
        """Remember what somebody is asked to sign."""
        row = _row(permit, digest, at=self._database.now())
        unsigned = and_(_same(permit), col(PermitRow.v).is_(None))
        async with self._database.write("permits.ask") as session:
            known = await session.get(PermitRow, row.digest)
            if known is None:
                await insert_or_replace(session, [row], ("digest",))
            kept = select(col(PermitRow.digest)).where(unsigned).order_by(col(PermitRow.at).desc())
            old = (await session.scalars(kept)).all()[MOST_ASKED:]
            if old:
                await session.execute(delete(PermitRow).where(col(PermitRow.digest).in_(old)))

    async def asked(self, chain_id: int, owner: Address) -> tuple[Permit, ...]:
        """Return what `owner` was asked to sign and did not yet, the newest first."""
        statement = (
            select(PermitRow)
            .where(
                col(PermitRow.chain_id) == chain_id,
                col(PermitRow.owner) == owner,
                col(PermitRow.v).is_(None),
            )
            .order_by(col(PermitRow.at).desc())
        )
        async with self._database.read("permits.asked") as session:
            return tuple(_permit(row) for row in await session.scalars(statement))

    async def keep(self, signed: SignedPermit, digest: bytes, *, by: str) -> None:
        """Keep a signed one: the only one of its token, owner and spender from now on."""
        now = self._database.now()
        row = _row(signed.permit, digest, at=now)
        row.v, row.r, row.s = signed.v, "0x" + signed.r.hex(), "0x" + signed.s.hex()
        async with self._database.write("permits.keep") as session:
            await session.execute(delete(PermitRow).where(_same(signed.permit)))
            await insert_or_replace(session, [row], ("digest",))
            event = AuditEvent(event="permit.kept", fields={**_fields(signed.permit), "by": by})
            await audit.append(session, [event], at=now)

    async def forget(self, chain_id: int, owner: Address, token: Address, *, by: str) -> int:
        """Forget all of `owner`'s for `token`, signed or not; return how many were signed."""
        now = self._database.now()
        mine = and_(
            col(PermitRow.chain_id) == chain_id,
            col(PermitRow.owner) == owner,
            col(PermitRow.token) == token,
        )
        async with self._database.write("permits.forget") as session:
            rows = (await session.scalars(select(PermitRow).where(mine))).all()
            gone = [_permit(row) for row in rows if row.v is not None]
            done = await session.execute(delete(PermitRow).where(mine))
            assert isinstance(done, CursorResult)
            events = [
                AuditEvent(event="permit.forgotten", fields={**_fields(permit), "by": by})
                for permit in gone
            ]
            await audit.append(session, events, at=now)
            return len(gone)

    async def signed(self, chain_id: int) -> tuple[SignedPermit, ...]:
        """Return all that were signed for a chain, oldest first."""
        statement = (
            select(PermitRow)
            .where(col(PermitRow.chain_id) == chain_id, col(PermitRow.v).is_not(None))
            .order_by(col(PermitRow.at), col(PermitRow.digest))
        )
        async with self._database.read("permits.signed") as session:
            return tuple(_signed(row) for row in await session.scalars(statement))

    async def of(
        self, chain_id: int, *, token: Address, owner: Address, spender: Address
    ) -> SignedPermit | None:
        """Return the one that was signed; None where there is none."""
        found = await self.signed(chain_id)
        wanted = (token, owner, spender)
        for one in found:
            if (one.permit.token, one.permit.owner, one.permit.spender) == wanted:
                return one
        return None


def _same(permit: Permit) -> ColumnElement[bool]:
    return and_(
        col(PermitRow.chain_id) == permit.chain_id,
        col(PermitRow.token) == permit.token,
        col(PermitRow.owner) == permit.owner,
        col(PermitRow.spender) == permit.spender,
    )


def _row(permit: Permit, digest: bytes, *, at: float) -> PermitRow:
    return PermitRow(
        digest="0x" + digest.hex(),
        chain_id=permit.chain_id,
        token=permit.token,
        owner=permit.owner,
        spender=permit.spender,
        value=permit.value,
        nonce=permit.nonce,
        deadline=permit.deadline,
        v=None,
        r=None,
        s=None,
        at=at,
    )


def _permit(row: PermitRow) -> Permit:
    return Permit(
        chain_id=row.chain_id,
        token=Address(row.token),
        owner=Address(row.owner),
        spender=Address(row.spender),
        value=row.value,
        nonce=row.nonce,
        deadline=row.deadline,
    )


def _signed(row: PermitRow) -> SignedPermit:
    assert row.v is not None
    assert row.r is not None
    assert row.s is not None
    r, s = (bytes.fromhex(one[2:]) for one in (row.r, row.s))
    return SignedPermit(permit=_permit(row), v=row.v, r=r, s=s)


def _fields(permit: Permit) -> dict[str, str | int | Decimal | None]:
    return {
        "chain_id": permit.chain_id,
        "token": permit.token,
        "owner": permit.owner,
        "spender": permit.spender,
        "value": str(permit.value),
        "nonce": str(permit.nonce),
        "deadline": str(permit.deadline),
    }
