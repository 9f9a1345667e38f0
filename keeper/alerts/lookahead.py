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
                found.append(_to_owner(news, effect, watch, level))
    found += (_to_operator(news, chat) for chat in operators)
    now = block.timestamp
    kept = [
        message
        for message in found
        if message.severity is not Severity.CRITICAL and quiet(hours.get(message.chat), now)
    ]
    lines = (HeldLine(chat=m.chat, at=now, key=m.key, text=m.text.partition("\n")[0]) for m in kept)
    return Told(messages=tuple(m for m in found if m not in kept), held=tuple(lines))


def _to_owner(news: _News, effect: Effect, watch: Watch, level: AlertLevel) -> Message:
    name = name_of(watch.label, watch.account)
    before, after = health_text(effect.before), health_text(effect.after)
    better = effect.after > effect.before
    mark = LEVEL_MARK[level]
    if news.outlook is None:
        first = f"{mark} {name}: health factor {before} -> {after}, parameters changed"
    else:
        first = f"{mark} {name}: health factor would become {after}, is {before}"
    if effect.after < WAD:
        first += "; it can be liquidated" if news.outlook is None else "; it could be liquidated"
    link = account_link(effect.position.market.chain_id, effect.position.account)
    text = "\n".join((first, *_details(news), *([link] if link else [])))
    return Message(
        key=news.key(effect.position, watch.chat),
        chat=watch.chat,
        severity=Severity.INFO if better else _SEVERITY[level],
        text=clip(text),
        kind="change",
    )


def _to_operator(news: _News, chat: str) -> Message:
    changed = news.changed
    number = len(changed.changes)
    what = "1 parameter" if number == 1 else f"{count_text(number)} parameters"
    worse = sum(effect.after < effect.before for effect in changed.effects)
    lost = sum(effect.after < WAD <= effect.before for effect in changed.effects)
    verb = "changed" if news.outlook is None else "would change"
    first = f"🔧 {market_name(changed.market)}: {what} {verb}, {_affected(changed, worse)}"
    if lost:
        first += f", {count_text(lost)} of them below 1"
    return Message(
        key=news.key(news.changed.market, chat),
        chat=chat,
        severity=Severity.CRITICAL if lost else Severity.WARNING if worse else Severity.INFO,
        text=clip("\n".join((first, *_details(news)))),
        kind="change",
    )


def _affected(changed: Changed, worse: int) -> str:
    if not changed.effects:
        return "no watched position is affected"
    return f"{count_text(len(changed.effects))} watched affected, {count_text(worse)} for the worse"


def _details(news: _News) -> list[str]:
    changed, block, outlook = news.changed, news.block, news.outlook
    lines = [
        f"{_foreign(each.subject)}: {_foreign(each.parameter)} "
        f"{_foreign(each.was)} -> {_foreign(each.now)}"
        for each in changed.changes[:SHOWN]
    ]
    if len(changed.changes) > SHOWN:
        lines.append(f"and {count_text(len(changed.changes) - SHOWN)} more")
    chain = chain_name(changed.market.chain_id)
    if outlook is None:
        lines.append(f"{chain}, block {count_text(block.number)}")
    elif outlook.from_s is None:
        lines.append(f"{chain}, {outlook.name}: pending, in any block")
    elif outlook.from_s <= block.timestamp:
        lines.append(f"{chain}, {outlook.name}: queued, can be carried out at any time")
    else:
        when = datetime.fromtimestamp(outlook.from_s, UTC).strftime("%Y-%m-%d %H:%M")
        left = duration_text(outlook.from_s - block.timestamp)
        lines.append(f"{chain}, {outlook.name}: queued, from {when} UTC on, in {left}")
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
