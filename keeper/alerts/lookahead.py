"""What people read when governance changed what their position is judged by, or is about to.  Pure.

One message a change and chat, never repeated: what goes on is the health factor's own alert.  Who
watches an affected account hears of each; operators hear once, of the whole.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final

from keeper.alerts.explorers import account_link
from keeper.alerts.hours import quiet
from keeper.alerts.machine import level_of
from keeper.alerts.numbers import count_text, duration_text, health_text, plain
from keeper.alerts.render import LEVEL_MARK, chain_name, clip, market_name, name_of
from keeper.alerts.speech import Speech, SpeechOf, english
from keeper.model import (
    AlertLevel,
    BlockRef,
    Changed,
    Effect,
    HeldLine,
    Manners,
    Message,
    Severity,
    Thresholds,
    Watch,
)
from keeper.units import UINT256_MAX, WAD

SHOWN: Final = 8
"""More changes than this at once are counted."""
WORD_CHARS: Final = 60
_SEVERITY: Final = {
    AlertLevel.CLEAR: Severity.INFO,
    AlertLevel.INFO: Severity.INFO,
    AlertLevel.WARNING: Severity.WARNING,
    AlertLevel.CRITICAL: Severity.CRITICAL,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What has not happened yet, and when it can."""

    name: str
    """``payload 341``, ``transaction 0x52ab..9f01``."""
    from_s: int | None
    """Chain seconds; None: with any block."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _News:
    """What all messages of one change share."""

    changed: Changed
    block: BlockRef
    outlook: Outlook | None

    def key(self, subject: object, chat: str) -> str:
        """Return a key that holds the block it is said at, and what is said to come."""
        instant: str = self.block.hash
        if self.outlook is not None:
            said = "\n".join((self.outlook.name, *map(str, self.changed.changes)))
            instant += "." + sha256(said.encode("utf-8", "replace")).hexdigest()[:24]
        return f"parameters/{subject}#{instant}@{chat}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """For `PassRecord.messages` and `PassRecord.held`."""

    messages: tuple[Message, ...]
    held: tuple[HeldLine, ...]


def change_messages(
    changed: Changed,
    *,
    block: BlockRef,
    watches: tuple[Watch, ...],
    operators: tuple[str, ...],
    thresholds: Thresholds,
    manners: Manners | None = None,
    outlook: Outlook | None = None,
    speech: SpeechOf = english,
) -> Told:
    """Return what is said of `changed`, which happened at `block` or, with `outlook`, will.

    Quiet hours keep back what is not critical.
    """
    hours = {one.chat: one for one in manners.hours} if manners else {}
    news = _News(changed=changed, block=block, outlook=outlook)
    found: list[Message] = []
    for effect in changed.effects:
        for watch in watches:
            if watch.account == effect.position.account:
                level = level_of(effect.after, watch.thresholds or thresholds)
                found.append(_to_owner(news, effect, watch, level, speech(watch.chat)))
    found += (_to_operator(news, chat, speech(chat)) for chat in operators)
    now = block.timestamp
    kept = [
        message
        for message in found
        if message.severity is not Severity.CRITICAL and quiet(hours.get(message.chat), now)
    ]
    lines = (HeldLine(chat=m.chat, at=now, key=m.key, text=m.text.partition("\n")[0]) for m in kept)
    return Told(messages=tuple(m for m in found if m not in kept), held=tuple(lines))


def _to_owner(news: _News, effect: Effect, watch: Watch, level: AlertLevel, say: Speech) -> Message:
    name = name_of(watch.label, watch.account)
    before, after = health_text(effect.before, say), health_text(effect.after, say)
    better = effect.after > effect.before
    mark = LEVEL_MARK[level]
    values = {"name": name, "before": before, "after": after}
    below = effect.after < WAD
    if news.outlook is None:
        first = say("{name}: health factor {before} -> {after}, parameters changed", **values)
        first += say("; it can be liquidated") if below else ""
    else:
        first = say("{name}: health factor would become {after}, is {before}", **values)
        first += say("; it could be liquidated") if below else ""
    first = f"{mark} {first}"
    link = account_link(effect.position.market.chain_id, effect.position.account)
    text = "\n".join((first, *_details(news, say), *([link] if link else [])))
    return Message(
        key=news.key(effect.position, watch.chat),
        chat=watch.chat,
        severity=Severity.INFO if better else _SEVERITY[level],
        text=clip(text),
        kind="change",
    )


def _to_operator(news: _News, chat: str, say: Speech) -> Message:
    changed = news.changed
    number = len(changed.changes)
    worse = sum(effect.after < effect.before for effect in changed.effects)
    lost = sum(effect.after < WAD <= effect.before for effect in changed.effects)
    values = {"where": market_name(changed.market, say), "effect": _affected(changed, worse, say)}
    if news.outlook is None:
        told = say.plural(
            "{where}: {n} parameter changed, {effect}",
            "{where}: {n} parameters changed, {effect}",
            number,
            **values,
        )
    else:
        told = say.plural(
            "{where}: {n} parameter would change, {effect}",
            "{where}: {n} parameters would change, {effect}",
            number,
            **values,
        )
    first = f"🔧 {told}"
    if lost:
        first += say(", {n} of them below 1", n=count_text(lost))
    return Message(
        key=news.key(news.changed.market, chat),
        chat=chat,
        severity=Severity.CRITICAL if lost else Severity.WARNING if worse else Severity.INFO,
        text=clip("\n".join((first, *_details(news, say)))),
        kind="change",
    )


def _affected(changed: Changed, worse: int, say: Speech) -> str:
    if not changed.effects:
        return say("no watched position is affected")
    return say(
        "{n} watched affected, {worse} for the worse",
        n=count_text(len(changed.effects)),
        worse=count_text(worse),
    )


def _details(news: _News, say: Speech) -> list[str]:
    changed, block, outlook = news.changed, news.block, news.outlook
    lines = [
        f"{_foreign(each.subject)}: {_foreign(each.parameter)} "
        f"{_foreign(each.was)} -> {_foreign(each.now)}"
        for each in changed.changes[:SHOWN]
    ]
    if len(changed.changes) > SHOWN:
        lines.append(say("and {n} more", n=count_text(len(changed.changes) - SHOWN)))
    chain = chain_name(changed.market.chain_id, say)
    if outlook is None:
        number = count_text(block.number)
        lines.append(say("{chain}, block {number}", chain=chain, number=number))
        return lines
    values = {"chain": chain, "what": outlook.name}
    if outlook.from_s is None:
        lines.append(say("{chain}, {what}: pending, in any block", **values))
    elif outlook.from_s <= block.timestamp:
        lines.append(say("{chain}, {what}: queued, can be carried out at any time", **values))
    else:
        when = datetime.fromtimestamp(outlook.from_s, UTC).strftime("%Y-%m-%d %H:%M")
        left = duration_text(outlook.from_s - block.timestamp)
        lines.append(
            say(
                "{chain}, {what}: queued, from {when} UTC on, in {time}",
                when=when,
                time=left,
                **values,
            )
        )
    return lines


def _foreign(text: str) -> str:
    """Return words of the chain on one line, without what a client makes a link or mention of."""
    line = plain(text, WORD_CHARS)
    dotless = (
        "·" if char == "." and line[at + 1 : at + 2].isalpha() else char
        for at, char in enumerate(line)
    )
    return "".join("?" if char in "@:" else char for char in dotless).lstrip("/")


def worst(changed: Changed) -> Mapping[str, str | int]:
    """Return what a log line says of `changed`."""
    after = min((effect.after for effect in changed.effects), default=UINT256_MAX)
    return {
        "market": changed.market.name,
        "changes": len(changed.changes),
        "first": str(changed.changes[0]),
        "affected": len(changed.effects),
        "lowest_wad": str(after) if changed.effects else "",
    }
