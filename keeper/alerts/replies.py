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
from keeper.alerts.render import LEVEL_MARK, ORACLE_MARK, market_name, more, name_of
from keeper.alerts.rules import EXAMPLE
from keeper.alerts.speech import ENGLISH, Speech, noted
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
    ("watch", noted("ADDRESS [label] [1.30/1.15/1.05]"), noted("tell me about an account")),
    ("unwatch", noted("LABEL or ADDRESS"), noted("stop telling me")),
    ("list", "", noted("what is watched for this chat")),
    ("hf", noted("[LABEL or ADDRESS]"), noted("health factors now")),
    ("pos", noted("LABEL"), noted("one position in full")),
    ("stress", noted("eth -20"), noted("health factors if a price moved by so many per cent")),
    ("chart", noted("LABEL [7d]"), noted("health factor over time as a picture")),
    ("oracles", "", noted("the price feeds and how old they are")),
    ("alerts", "", noted("what is firing")),
    ("ack", noted("[LABEL]"), noted("I have seen it: no more reminders until it is worse or over")),
    ("snooze", noted("[LABEL] 1h"), noted("no reminders for a while")),
    (
        "quiet",
        noted("23:00-07:00 [Europe/Berlin]"),
        noted("only what is critical in these hours; off ends it"),
    ),
    ("digest", noted("08:00 [Europe/Berlin]"), noted("everything once a day; off ends it")),
    (
        "rule",
        noted("price WETH < 2000/1800"),
        noted("tell me about something else too; alone, what I am told"),
    ),
    ("unrule", noted("NUMBER"), noted("end one of these rules")),
    (
        "topup",
        noted("LABEL"),
        noted("offer to bring a protected position to its target (operators)"),
    ),
    ("mode", "", noted("what the keeper may do on each chain")),
    ("actions", "", noted("what it did last")),
    ("pause", "", noted("stop acting, never watching (operators)")),
    ("resume", "", noted("act again (operators)")),
    ("status", "", noted("how the keeper itself is")),
    (
        "language",
        noted("de"),
        noted("the language I speak here; alone, which it is"),
    ),
    ("help", "", noted("these commands")),
)
"""Name, arguments, and what it does, in the order they are shown."""

SHOWN: Final = 20
"""Lines of one reply; the rest is counted."""


def commands_in(say: Speech) -> tuple[tuple[str, str, str], ...]:
    """Return the commands with what is said of them in a language."""
    return tuple((name, say(usage) if usage else "", say(what)) for name, usage, what in COMMANDS)


def help_text(say: Speech = ENGLISH) -> str:
    """Return what the bot understands."""
    lines = [f"/{name} {usage}".rstrip() + f": {what}" for name, usage, what in commands_in(say)]
    return "\n".join((say("I watch lending positions and say when one needs you."), *lines))


def start_text(say: Speech = ENGLISH) -> str:
    """Return the first greeting."""
    return (
        say("I watch lending positions and say when one needs you.")
        + "\n"
        + say("Send /watch ADDRESS to begin, /help for everything else.")
    )


def stranger_text(chat: str, say: Speech = ENGLISH) -> str:
    """Return the one reply to a chat that is not allowed."""
    return say(
        "This keeper talks only to chats its operator allowed.\n"
        "If that should include this one, give the operator this: {chat}",
        chat=plain(chat, 40),
    )


def watching_text(
    watch: Watch, shown_address: str, defaults: Thresholds, say: Speech = ENGLISH
) -> str:
    """Return the confirmation of ``/watch``."""
    name = f"{plain(watch.label, 32)} ({shown_address})" if watch.label else shown_address
    told = told_below(watch.thresholds or defaults, say)
    return say("Watching {name}: {told}", name=name, told=told)


def told_below(thresholds: Thresholds, say: Speech = ENGLISH) -> str:
    """Return the thresholds as a sentence."""
    return say(
        "I tell you below {info}, again below {warning}, and loudly below {critical}.",
        info=threshold_text(thresholds.info),
        warning=threshold_text(thresholds.warning),
        critical=threshold_text(thresholds.critical),
    )


def list_text(watches: tuple[Watch, ...], defaults: Thresholds, say: Speech = ENGLISH) -> str:
    """Return what a chat watches."""
    if not watches:
        return say("Nothing is watched for this chat: send /watch ADDRESS.")
    lines = []
    for watch in watches[:SHOWN]:
        levels = watch.thresholds or defaults
        told = "/".join(
            threshold_text(level) for level in (levels.info, levels.warning, levels.critical)
        )
        label = f"{plain(watch.label, 32)} " if watch.label else ""
        lines.append(f"{label}{watch.account} {told}")
    return "\n".join((*lines, *more(len(watches) - SHOWN, say)))


def rules_text(rules: tuple[Rule, ...], say: Speech = ENGLISH) -> str:
    """Return what a chat wants to hear of besides health factors, numbered."""
    if not rules:
        return say(
            "No rules are kept for this chat: send one such as /rule {example}. Kinds: {kinds}.",
            example=EXAMPLE,
            kinds=", ".join(Gauge),
        )
    return "\n".join(f"{at}. {rule.text}" for at, rule in enumerate(rules, 1))


def health_lines(
    label: str,
    assessments: tuple[Assessment, ...],
    thresholds: Thresholds,
    say: Speech = ENGLISH,
) -> tuple[str, ...]:
    """Return one line per market of one account; the last one says which block."""
    return tuple(health_reply(label, one, thresholds, say) for one in assessments)


def health_reply(
    label: str, assessment: Assessment, thresholds: Thresholds, say: Speech = ENGLISH
) -> str:
    """Return one position now: ``main: 1.142, collateral $25 000, debt $19 438 (..)``."""
    name = name_of(label, assessment.position.account)
    where = say(
        "{where} · block {number}",
        where=market_name(assessment.position.market, say),
        number=count_text(assessment.block.number),
    )
    match assessment:
        case Unassessable(reason=reason):
            why = reason_text(reason, say)
            told = say("{name}: unknown: {reason}", name=name, reason=why)
            return f"{ORACLE_MARK} {told} ({where})"
        case Assessed(health_factor=health, collateral=collateral, debt=debt):
            if debt == 0:
                mark, shown = LEVEL_MARK[AlertLevel.CLEAR], say("no debt")
            else:
                mark, shown = LEVEL_MARK[level_of(health, thresholds)], health_text(health, say)
            told = say(
                "{name}: {health}, collateral {collateral}, debt {debt}",
                name=name,
                health=shown,
                collateral=dollars_text(collateral),
                debt=dollars_text(debt),
            )
            return f"{mark} {told} ({where})"
