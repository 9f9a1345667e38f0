"""The texts of replies to commands.  Pure; plain text, unknown said aloud."""

from typing import Final

from keeper.alerts.machine import level_of
from keeper.alerts.numbers import (
    count_text,
    dollars_text,
    health_text,
    plain,
    reason_text,
    threshold_text,
)
from keeper.alerts.render import LEVEL_MARK, ORACLE_MARK, market_name, name_of
from keeper.alerts.rules import EXAMPLE
from keeper.model import (
    AlertLevel,
    Assessed,
    Assessment,
    Gauge,
    Rule,
    Thresholds,
    Unassessable,
    Watch,
)

COMMANDS: Final = (
    ("watch", "ADDRESS [label] [1.30/1.15/1.05]", "tell me about an account"),
    ("unwatch", "LABEL or ADDRESS", "stop telling me"),
    ("list", "", "what is watched for this chat"),
    ("hf", "[LABEL or ADDRESS]", "health factors now"),
    ("pos", "LABEL", "one position in full"),
    ("stress", "eth -20", "health factors if a price moved by so many per cent"),
    ("chart", "LABEL [7d]", "health factor over time as a picture"),
    ("oracles", "", "the price feeds and how old they are"),
    ("alerts", "", "what is firing"),
    ("ack", "[LABEL]", "I have seen it: no more reminders until it is worse or over"),
    ("snooze", "[LABEL] 1h", "no reminders for a while"),
    ("quiet", "23:00-07:00 [Europe/Berlin]", "only what is critical in these hours; off ends it"),
    ("digest", "08:00 [Europe/Berlin]", "everything once a day; off ends it"),
    ("rule", "price WETH < 2000/1800", "tell me about something else too; alone, what I am told"),
    ("unrule", "NUMBER", "end one of these rules"),
    ("topup", "LABEL", "offer to bring a protected position to its target (operators)"),
    ("mode", "", "what the keeper may do on each chain"),
    ("actions", "", "what it did last"),
    ("pause", "", "stop acting, never watching (operators)"),
    ("resume", "", "act again (operators)"),
    ("status", "", "how the keeper itself is"),
    ("help", "", "these commands"),
)
"""Name, arguments, and what it does, in the order they are shown."""

SHOWN: Final = 20
"""Lines of one reply; the rest is counted."""


def help_text() -> str:
    """Return what the bot understands."""
    lines = [f"/{name} {usage}".rstrip() + f": {what}" for name, usage, what in COMMANDS]
    return "\n".join(("I watch lending positions and say when one needs you.", *lines))


def start_text() -> str:
    """Return the first greeting."""
    return (
        "I watch lending positions and say when one needs you.\n"
        "Send /watch ADDRESS to begin, /help for everything else."
    )


def stranger_text(chat: str) -> str:
    """Return the one reply to a chat that is not allowed."""
    return (
        "This keeper talks only to chats its operator allowed.\n"
        f"If that should include this one, give the operator this: {plain(chat, 40)}"
    )


def watching_text(watch: Watch, shown_address: str, defaults: Thresholds) -> str:
    """Return the confirmation of ``/watch``."""
    name = f"{plain(watch.label, 32)} ({shown_address})" if watch.label else shown_address
    return f"Watching {name}: {told_below(watch.thresholds or defaults)}"


def told_below(thresholds: Thresholds) -> str:
    """Return the thresholds as a sentence."""
    return (
        f"I tell you below {threshold_text(thresholds.info)}, again below "
        f"{threshold_text(thresholds.warning)}, and loudly below "
        f"{threshold_text(thresholds.critical)}."
    )


def list_text(watches: tuple[Watch, ...], defaults: Thresholds) -> str:
    """Return what a chat watches."""
    if not watches:
        return "Nothing is watched for this chat: send /watch ADDRESS."
    lines = []
    for watch in watches[:SHOWN]:
        levels = watch.thresholds or defaults
        told = "/".join(
            threshold_text(level) for level in (levels.info, levels.warning, levels.critical)
        )
        label = f"{plain(watch.label, 32)} " if watch.label else ""
        lines.append(f"{label}{watch.account} {told}")
    return "\n".join((*lines, *_rest(len(watches))))


def rules_text(rules: tuple[Rule, ...]) -> str:
    """Return what a chat wants to hear of besides health factors, numbered."""
    if not rules:
        kinds = ", ".join(Gauge)
        return f"No rules are kept for this chat: send one such as /rule {EXAMPLE}. Kinds: {kinds}."
    return "\n".join(f"{at}. {rule.text}" for at, rule in enumerate(rules, 1))


def _rest(number: int) -> tuple[str, ...]:
    return (f"... {number - SHOWN} more",) if number > SHOWN else ()


def health_lines(
    label: str, assessments: tuple[Assessment, ...], thresholds: Thresholds
) -> tuple[str, ...]:
    """Return one line per market of one account; the last one says which block."""
    return tuple(health_reply(label, one, thresholds) for one in assessments)


def health_reply(label: str, assessment: Assessment, thresholds: Thresholds) -> str:
    """Return one position now: ``main: 1.142, collateral $25 000, debt $19 438 (..)``."""
    name = name_of(label, assessment.position.account)
    where = (
        f"{market_name(assessment.position.market)} · block {count_text(assessment.block.number)}"
    )
    match assessment:
        case Unassessable(reason=reason):
            return f"{ORACLE_MARK} {name}: unknown: {reason_text(reason)} ({where})"
        case Assessed(health_factor=health, collateral=collateral, debt=debt):
            if debt == 0:
                mark, shown = LEVEL_MARK[AlertLevel.CLEAR], "no debt"
            else:
                mark, shown = LEVEL_MARK[level_of(health, thresholds)], health_text(health)
            return (
                f"{mark} {name}: {shown}, collateral {dollars_text(collateral)}, "
                f"debt {dollars_text(debt)} ({where})"
            )
