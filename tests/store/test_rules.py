"""What people want to hear of besides health factors, kept."""

from dataclasses import replace

import pytest

from keeper.alerts.rules import MOST_RULES, BadRule, parse_rule
from keeper.model import Address, Rule
from keeper.store.audit import trail
from keeper.store.database import Database
from keeper.store.outbox import SqlOutbox
from keeper.store.records import SqlRecords
from keeper.store.rules import SqlRules
from keeper.store.tables import RuleRow

CHAT = "telegram:12345"


def rule(text: str, chat: str = CHAT) -> Rule:
    return parse_rule(text, chat, Address)


async def test_a_pass_reads_the_rules_of_every_chat_that_can_be_reached(database: Database) -> None:
    rules = SqlRules(database)
    mine, theirs = rule("price WETH < 2000/1800"), rule("oracle WETH", "telegram:99")
    for one in (mine, theirs, mine):
        await rules.add(one, by="telegram user 7")

    assert await rules.of(CHAT) == (mine,)
    assert (await SqlRecords(database).manners()).rules == (mine, theirs)
    await SqlOutbox(database).disable_chat("telegram:99", "blocked")
    assert (await SqlRecords(database).manners()).rules == (mine,)


async def test_a_rule_ends_once_and_both_are_in_the_audit_trail(database: Database) -> None:
    rules, mine = SqlRules(database), rule("moved 0x" + "5a" * 20 + " > 1000")
    await rules.add(mine, by="telegram user 7")
    for _ in range(2):
        await rules.remove(mine, by="telegram user 8")

    assert await rules.of(CHAT) == ()
    events = [entry.event.event for entry in await trail(database, 10)]
    assert events.count("rule.set") == 1
    assert "rule.removed" in events


async def test_a_chat_has_so_many_rules_and_no_more(database: Database) -> None:
    rules = SqlRules(database)
    for number in range(MOST_RULES):
        await rules.add(rule(f"price WETH < {number + 1}"), by="")

    with pytest.raises(BadRule, match="30 rules, which is the most: /unrule one first"):
        await rules.add(rule("price WETH < 99999"), by="")
    await rules.add(rule("price WETH < 1"), by="again")  # the same one is no further one
    await rules.add(replace(rule("price WETH < 99999"), chat="telegram:1"), by="")


async def test_a_rule_of_a_newer_keeper_stops_no_other(database: Database) -> None:
    rules, mine = SqlRules(database), rule("price WETH < 2000")
    await rules.add(mine, by="")
    async with database.write("test") as session:
        session.add(RuleRow(chat=CHAT, text="weather WETH < 1", by="", at=1.0))

    assert await rules.of(CHAT) == (mine,)
