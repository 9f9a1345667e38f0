"""What people read of parameters that changed, or will, word for word."""

from dataclasses import replace

import pytest

from keeper.alerts.explorers import account_link
from keeper.alerts.lookahead import Outlook, Told, change_messages, worst
from keeper.alerts.machine import DEFAULT_THRESHOLDS
from keeper.model import (
    Changed,
    ChatHours,
    Effect,
    Manners,
    ParameterChange,
    Severity,
)
from keeper.units import UINT256_MAX, Wad
from tests.alerts.build import CHAT, MARKET, ME, OPERATOR, T0, YOU, block, position, wad, watch

LOWER = ParameterChange(
    subject="WETH", parameter="liquidation threshold", was="83.00 %", now="78.00 %"
)
NIGHT = Manners(hours=(ChatHours(chat=CHAT, quiet_from=0, quiet_to=1439),))


def change(before: str, after: str, *more: Effect) -> Changed:
    effect = Effect(position=position(), before=wad(before), after=wad(after))
    return Changed(market=MARKET, changes=(LOWER,), effects=(effect, *more))


def told(changed: Changed, outlook: Outlook | None = None, manners: Manners | None = None) -> Told:
    return change_messages(
        changed,
        block=block(),
        watches=(watch(),),
        operators=(OPERATOR,),
        thresholds=DEFAULT_THRESHOLDS,
        manners=manners,
        outlook=outlook,
    )


def text(told: Told, chat: str = CHAT) -> str:
    [message] = [m for m in told.messages if m.chat == chat]
    return message.text


def test_what_happened_is_said_to_the_owner_with_both_health_factors_and_the_cause() -> None:
    assert text(told(change("1.3129", "1.1804"))) == (
        "🟡 main: health factor 1.312 -> 1.180, parameters changed\n"
        "WETH: liquidation threshold 83.00 % -> 78.00 %\n"
        "Ethereum, block 21\u202f034\u202f511\n"
        f"{account_link(1, ME)}"
    )


def test_what_is_queued_says_when_and_what_health_would_become() -> None:
    queued = Outlook(name="payload 341", from_s=T0 + 86_400)

    lines = text(told(change("1.3129", "0.9999"), queued)).splitlines()

    assert lines[0] == (
        "🔴 main: health factor would become 0.999, is 1.312; it could be liquidated"
    )
    assert lines[2] == "Ethereum, payload 341: queued, from 2026-11-19 11:06 UTC on, in 24 h"


def test_what_waits_in_the_mempool_can_be_in_any_block() -> None:
    waiting = Outlook(name="transaction 0x52ab..9f01", from_s=None)
    overdue = Outlook(name="payload 3", from_s=T0 - 1)

    assert "transaction 0x52ab..9f01: pending, in any block" in text(
        told(change("1.4", "1.2"), waiting)
    )
    assert "payload 3: queued, can be carried out at any time" in text(
        told(change("1.4", "1.2"), overdue)
    )


@pytest.mark.parametrize(
    ("before", "after", "severity", "mark"),
    [
        ("1.9", "1.4", Severity.INFO, "🟢"),
        ("1.4", "1.2", Severity.INFO, "🟡"),
        ("1.4", "1.1", Severity.WARNING, "🟠"),
        ("1.4", "1.04", Severity.CRITICAL, "🔴"),
        ("1.01", "1.04", Severity.INFO, "🔴"),
    ],
)
def test_it_is_as_loud_as_where_it_leads_and_never_loud_when_it_is_better(
    before: str, after: str, severity: Severity, mark: str
) -> None:
    [mine] = [m for m in told(change(before, after)).messages if m.chat == CHAT]

    assert mine.severity is severity
    assert mine.text.startswith(mark)


def test_operators_hear_once_how_many_are_concerned_and_how_many_fall_below_1() -> None:
    other = Effect(position=position(YOU), before=wad("1.2"), after=wad("1.3"))

    found = told(change("1.01", "0.98", other))

    assert text(found, OPERATOR).partition("\n")[0] == (
        "🔧 Aave v3 · Ethereum: 1 parameter changed, 2 watched affected, 1 for the worse, "
        "1 of them below 1"
    )
    assert [m.severity for m in found.messages if m.chat == OPERATOR] == [Severity.CRITICAL]
    nobody = replace(change("1.4", "1.2"), effects=())
    assert [m.chat for m in told(nobody).messages] == [OPERATOR]
    assert "no watched position is affected" in text(told(nobody), OPERATOR)


def test_quiet_hours_keep_back_what_is_not_critical() -> None:
    mild = told(change("1.4", "1.2"), manners=NIGHT)
    grave = told(change("1.4", "1.0"), manners=NIGHT)

    assert [m.chat for m in mild.messages] == [OPERATOR]
    assert [line.text for line in mild.held] == [
        "🟡 main: health factor 1.400 -> 1.200, parameters changed"
    ]
    assert [m.chat for m in grave.messages] == [CHAT, OPERATOR]
    assert grave.held == ()


def test_many_changes_are_counted_and_words_of_the_chain_are_made_harmless() -> None:
    evil = replace(LOWER, subject="e-mode 1 (\u202ehttps://evil.example @all)")
    many = replace(change("1.4", "1.2"), changes=(evil, *(LOWER,) * 11))

    said = text(told(many))

    assert "and 4 more" in said
    assert "\u202e" not in said
    assert "https://evil" not in said
    assert "@all" not in said


def test_the_same_change_in_two_blocks_is_two_messages_and_foretold_it_is_a_third() -> None:
    changed = change("1.4", "1.2")
    elsewhere = change_messages(
        changed,
        block=block(fork=1),
        watches=(watch(),),
        operators=(),
        thresholds=DEFAULT_THRESHOLDS,
    )
    foretold = told(changed, Outlook(name="payload 3", from_s=None))

    keys = {m.key for found in (told(changed), elsewhere, foretold) for m in found.messages}
    assert len({key for key in keys if CHAT in key}) == 3


def test_the_log_says_the_worst_health_factor_it_led_to() -> None:
    other = Effect(position=position(YOU), before=Wad(UINT256_MAX), after=wad("0.5"))

    assert worst(change("1.4", "1.2", other))["lowest_wad"] == str(wad("0.5"))
    assert worst(replace(change("1.4", "1.2"), effects=()))["lowest_wad"] == ""
