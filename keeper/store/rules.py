"""What people want to hear of besides health factors, as they said it.

The text is what is kept: it names accounts by their address, so that it can be read again without
knowing what a chat calls them.  One that can no longer be read (an older keeper meets a newer
rule) is logged and left alone: it stops no other.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import structlog
from sqlalchemy import delete, func, select
from sqlmodel import col

from keeper.alerts.rules import MOST_RULES, BadRule, parse_rule
from keeper.model import Address, AuditEvent, Rule
from keeper.store import audit
from keeper.store.database import Database
from keeper.store.tables import ChatRow, RuleRow
from keeper.store.whole import whole_class
from keeper.store.write import insert_missing, insert_or_replace

log = structlog.get_logger(__name__)

ORDER: Final = (col(RuleRow.chat), col(RuleRow.at), col(RuleRow.text))


@dataclass(frozen=True, slots=True, kw_only=True)
class Unread:
    """A rule that this keeper cannot read."""

    chat: str
    text: str
    reason: str


def read_rules(rows: Iterable[RuleRow]) -> tuple[Rule, ...]:
    """Return the rules of `rows`, but those that cannot be read: they are logged."""
    found, unread = _sorted(rows)
    for one in unread:
        log.warning("rule.unread", chat=one.chat, rule=one.text, reason=one.reason)
    return found


def _sorted(rows: Iterable[RuleRow]) -> tuple[tuple[Rule, ...], tuple[Unread, ...]]:
    found, unread = [], []
    for row in rows:
        try:
            found.append(parse_rule(row.text, row.chat, Address))
        except BadRule as error:
            unread.append(Unread(chat=row.chat, text=row.text, reason=str(error)))
    return tuple(found), tuple(unread)


@whole_class
class SqlRules:
    """Rules of chats."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, rule: Rule, *, by: str) -> None:
        """Keep a rule; the same again changes nothing but who said it last.

        Raises `BadRule` where the chat has as many as it may.
        """
        now = self._database.now()
        async with self._database.write("rules.add") as session:
            mine = select(func.count()).where(
                col(RuleRow.chat) == rule.chat, col(RuleRow.text) != rule.text
            )
            if (await session.scalar(mine) or 0) >= MOST_RULES:
                raise BadRule(
                    "This chat has {n} rules, which is the most: /unrule one first.", n=MOST_RULES
                )
            chat = ChatRow(chat=rule.chat, enabled=True, reason="", changed_at=now)
            await insert_missing(session, [chat], ("chat",))
            row = RuleRow(chat=rule.chat, text=rule.text, by=by, at=now)
            await insert_or_replace(session, [row], ("chat", "text"))
            fields = {"chat": rule.chat, "rule": rule.text, "by": by}
            await audit.append(session, [AuditEvent(event="rule.set", fields=fields)], at=now)

    async def remove(self, rule: Rule, *, by: str) -> None:
        """End a rule; one that is gone already is gone."""
        now = self._database.now()
        async with self._database.write("rules.remove") as session:
            await session.execute(
                delete(RuleRow).where(
                    col(RuleRow.chat) == rule.chat, col(RuleRow.text) == rule.text
                )
            )
            fields = {"chat": rule.chat, "rule": rule.text, "by": by}
            await audit.append(session, [AuditEvent(event="rule.removed", fields=fields)], at=now)

    async def all(self) -> tuple[tuple[Rule, ...], tuple[Unread, ...]]:
        """Those of every chat, and those that cannot be read."""
        async with self._database.read("rules.all") as session:
            return _sorted(await session.scalars(select(RuleRow).order_by(*ORDER)))

    async def of(self, chat: str) -> tuple[Rule, ...]:
        """All of one chat, oldest first."""
        statement = select(RuleRow).where(col(RuleRow.chat) == chat).order_by(*ORDER)
        async with self._database.read("rules.of") as session:
            return read_rules(await session.scalars(statement))
