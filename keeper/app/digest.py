"""Digests: once a day how everything is, and after quiet hours what they kept back."""

from collections.abc import Sequence
from dataclasses import replace

import structlog

from keeper.alerts.answers import digest_text
from keeper.alerts.hours import clock_text, daily, digest_hour, local, quiet
from keeper.alerts.render import clip, more
from keeper.alerts.replies import SHOWN, health_reply
from keeper.alerts.speech import Speech, SpeechOf, english
from keeper.app.watcher import Watcher
from keeper.model import ChatHours, HeldLine, Message, Severity, Thresholds
from keeper.store.people import SqlPeople
from keeper.store.watches import SqlWatches

log = structlog.get_logger()


async def write_digests(
    watchers: Sequence[Watcher],
    people: SqlPeople,
    watches: SqlWatches,
    thresholds: Thresholds,
    now: int,
    *,
    speech: SpeechOf = english,
) -> int:
    """Write every digest that is due at `now`, wall-clock seconds; return how many were.

    The message and the lines it says leave in one transaction: a crash repeats neither.
    """
    written = 0
    for hours in await people.all_hours():
        instant = digest_hour(hours, now)
        held: tuple[HeldLine, ...] = ()
        if instant is None:  # neither quiet hours nor a digest any more: what was kept is due
            held = await people.held(hours.chat)
            instant = now if held else None
        if instant is None or instant <= hours.digested_at or quiet(hours, now):
            continue
        held = held or await people.held(hours.chat)
        lines: list[str] = []
        say = speech(hours.chat)
        if daily(hours, instant):
            for watch in await watches.of(hours.chat):
                levels = watch.thresholds or thresholds
                for watcher in watchers:
                    if watcher.engine is not None:
                        found = watcher.engine.assessments_of(watch.account)
                        lines += [health_reply(watch.label, one, levels, say) for one in found]
        digest = _digest(hours, instant, lines, held, say) if lines or held else None
        await people.digested(replace(hours, digested_at=instant), held, digest)
        if digest is not None:
            log.info("digest.written", chat=hours.chat, held=len(held), positions=len(lines))
            written += 1
    return written


def _digest(
    hours: ChatHours, instant: int, lines: list[str], held: tuple[HeldLine, ...], say: Speech
) -> Message:
    clocks = []
    for line in held:
        at = local(hours, line.at)
        clocks.append(clock_text(at.hour * 60 + at.minute))
    return Message(
        key=f"digest#{instant}@{hours.chat}",
        chat=hours.chat,
        severity=Severity.INFO,
        kind="digest",
        text=clip(digest_text([*lines[:SHOWN], *more(len(lines) - SHOWN, say)], held, clocks, say)),
    )
