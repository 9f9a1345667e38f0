"""What each command answers.  Reading is for every allowed chat; acting asks for the user's id.

Nothing here trusts a chat: `Asker.operator` comes from the Telegram user id of the message or of
the tap, and everything that moves money or stops it asks for it.

One class, though it is long: a short method a command, over the same offers and their codes.
"""

import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from keeper.alerts.answers import (
    Offer,
    alerts_text,
    hours_text,
    offer_text,
    oracles_text,
    position_text,
    stress_line,
    stress_text,
)
from keeper.alerts.hours import zone_of
from keeper.alerts.hush import alert_id
from keeper.alerts.messages import chart_of
from keeper.alerts.numbers import duration_text, plain
from keeper.alerts.render import name_of
from keeper.alerts.replies import rules_text
from keeper.alerts.rules import parse_rule
from keeper.alerts.speech import ENGLISH, Speech, noted
from keeper.alerts.stress import named, nearest, stressed
from keeper.model import (
    Address,
    AlertState,
    Assessed,
    Button,
    ChatHours,
    PositionId,
    Watch,
)
from keeper.notify.desk import Desk
from keeper.notify.languages import LANGUAGES, language_named, languages_text, speech_of
from keeper.notify.words import (
    LONGEST_SNOOZE_S,
    BadWord,
    looks_like_duration,
    parse_address,
    parse_duration,
    parse_minute,
    parse_night,
    parse_shock,
)

CONFIRM_S: Final = 60.0
MOST_OFFERS: Final = 20
SNOOZE_S: Final = 3600
CHART_S: Final = 7 * 86_400
LONGEST_CHART_S: Final = 90 * 86_400
NOT_YOU: Final = noted(
    "Only an operator may do this: the operator puts your user id into telegram.operators."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asker:
    """Who asks, where."""

    chat: str
    user: int
    operator: bool
    """The user's id is listed; a chat's never is."""
    say: Speech = ENGLISH
    """The chat's language."""

    @property
    def name(self) -> str:
        """As the audit trail knows them."""
        return f"telegram user {self.user}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What is answered."""

    text: str
    buttons: tuple[Button, ...] = ()
    chart: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Waiting:
    """An offer that waits for its second tap."""

    user: int
    chat: str
    offer: Offer
    until: float


class Commands:
    """Answers the richer commands and the taps on buttons."""

    def __init__(self, desk: Desk, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock`: monotonic seconds, for the life of an offer."""
        self._desk = desk
        self._clock = clock
        self._offers: dict[str, _Waiting] = {}

    async def answer(self, asker: Asker, name: str, words: tuple[str, ...]) -> Reply | None:
        """Return the reply to a command; None for one that is not known here.

        Raises `KeeperError` whose text is the reply.
        """
        known = {
            "pos": self._position,
            "stress": self._stress,
            "chart": self._chart,
            "oracles": self._oracles,
            "alerts": self._alerts,
            "ack": self._ack,
            "snooze": self._snooze,
            "quiet": self._quiet,
            "digest": self._digest,
            "rule": self._rule,
            "unrule": self._unrule,
            "language": self._language,
            "topup": self._topup,
            "mode": self._mode,
            "actions": self._actions,
            "pause": self._pause,
            "resume": self._resume,
        }
        command = known.get(name)
        return None if command is None else await command(asker, words)

    async def tapped(self, asker: Asker, data: str) -> Reply | None:
        """Return the reply to a tap; None where the button means nothing (any more)."""
        verb, _, name = data.partition(":")
        match verb:
            case "yes":
                return await self._confirmed(asker, name)
            case "no":
                return self._cancelled(asker, name)
            case "ack" | "zzz" | "chart" | "top":
                state = await self._state_named(asker, name)
                return await self._tapped_alert(asker, verb, state)
            case _:
                return None

    # --- reading ------------------------------------------------------------------------------

    async def _position(self, asker: Asker, words: tuple[str, ...]) -> Reply:
        texts = []
        for watch in (await self._mine(asker, " ".join(words)))[:5]:
            levels = watch.thresholds or self._desk.thresholds
            for one in await self._desk.health(watch.account):
                prices = self._desk.prices(one.position.market)
                texts.append(position_text(watch.label, one, levels, prices, asker.say))
        return Reply(text="\n".join(texts) or asker.say("No position was found."))

    async def _stress(self, asker: Asker, words: tuple[str, ...]) -> Reply:
        if len(words) != 2:
            raise BadWord("Send /stress, what moves, and by how many per cent: /stress eth -20.")
        what, permille = self._moving(words[0]), parse_shock(words[1])
        lines = []
        moved: dict[str, None] = {}
        for watch in await self._mine(asker, ""):
            levels = watch.thresholds or self._desk.thresholds
            for one in await self._desk.health(watch.account):
                prices = self._desk.prices(one.position.market)
                result = (
                    stressed(one, prices, what, permille) if isinstance(one, Assessed) else None
                )
                moved |= dict.fromkeys(result.symbols if result else ())
                name = name_of(watch.label, watch.account)
                lines.append(stress_line(name, one, result, levels, asker.say))
        others = [symbol for symbol in moved if symbol.casefold() != what.casefold()]
        none = [asker.say("No position was found.")]
        return Reply(text=stress_text(what, permille, lines or none, others, asker.say))

    def _moving(self, word: str) -> str:
        """Return how what is to move is written.  Raises `BadWord` for what no market has.

        Before the first block nothing is known of any: then it is what was said.
        """
        prices = self._desk.prices()
        found = named(prices, word) if prices else word
        if found is None and (near := nearest(prices, word)):
            raise BadWord(
                "No market lists {what}. Did you mean {names}?",
                what=plain(word, 32),
                names=", ".join(near),
            )
        if found is None:
            raise BadWord(
                "No market lists {what}: /oracles shows what there is.", what=plain(word, 32)
            )
        return found

    async def _oracles(self, asker: Asker, words: tuple[str, ...]) -> Reply:
        del words
        return Reply(text=oracles_text(self._desk.prices(), asker.say))

    async def _chart(self, asker: Asker, words: tuple[str, ...]) -> Reply:
        span = CHART_S
        if words and looks_like_duration(words[-1]):
            span = parse_duration(words[-1], most_s=LONGEST_CHART_S)
            words = words[:-1]
        watch = (await self._mine(asker, " ".join(words)))[0]
        found = await self._desk.health(watch.account)
        if not found:
            return Reply(text=asker.say("No position was found."))
        name = name_of(watch.label, watch.account)
        return self._charted(asker, found[0].position, name, span)

    def _charted(self, asker: Asker, position: PositionId, name: str, span: int) -> Reply:
        say = asker.say
        if not self._desk.draws:
            return Reply(text=say("Charts need matplotlib: pip install 'keeper[charts]'."))
        text = say("{name}: the last {time}", name=name, time=duration_text(span))
        return Reply(text=text, chart=chart_of(position, span))

    async def _alerts(self, asker: Asker, words: tuple[str, ...]) -> Reply:
        del words
        states = await self._desk.alerts(asker.chat)
        names = {}
        for watch in await self._desk.watches(asker.chat):
            for state in states:
                if state.subject.endswith(f":{watch.account}"):
                    names[state.subject] = name_of(watch.label, watch.account)
        hushes = await self._desk.hushes()
        return Reply(text=alerts_text(states, names, hushes, self._desk.now("health"), asker.say))

    async def _mode(self, asker: Asker, words: tuple[str, ...]) -> Reply:
        del words
        return Reply(text=self._desk.mode(asker.say))

    async def _actions(self, asker: Asker, words: tuple[str, ...]) -> Reply:
        del words
        return Reply(text=await self._desk.actions(asker.say))

    # --- how people want to be told -----------------------------------------------------------

    async def _ack(self, asker: Asker, words: tuple[str, ...]) -> Reply:
        states = await self._firing(asker, " ".join(words))
        for state in states:
            await self._desk.hush(state, None, asker.name)
        return Reply(text=_acknowledged(states, asker.say))

    async def _snooze(self, asker: Asker, words: tuple[str, ...]) -> Reply:
        if not words:
            raise BadWord("Send /snooze, a label, and how long: /snooze main 1h.")
        for_s = parse_duration(words[-1], most_s=LONGEST_SNOOZE_S)
        states = await self._firing(asker, " ".join(words[:-1]))
        for state in states:
            await self._desk.hush(state, for_s, asker.name)
        return Reply(text=_snoozed(states, for_s, asker.say))

    async def _quiet(self, asker: Asker, words: tuple[str, ...]) -> Reply:
        hours = await self._desk.hours(asker.chat)
        if words and words[0].lower() == "off":
            hours = replace(hours, quiet_from=None, quiet_to=None)
        elif words:
            begin, end = parse_night(words[0])
            hours = _zoned(replace(hours, quiet_from=begin, quiet_to=end), words[1:])
        else:
            return Reply(text=hours_text(hours, asker.say))
        await self._desk.set_hours(replace(hours, digested_at=self._desk.now("keeper")))
        return Reply(text=hours_text(hours, asker.say))

    async def _digest(self, asker: Asker, words: tuple[str, ...]) -> Reply:
        hours = await self._desk.hours(asker.chat)
        if words and words[0].lower() == "off":
            hours = replace(hours, digest_at=None)
        elif words:
            hours = _zoned(replace(hours, digest_at=parse_minute(words[0])), words[1:])
        else:
            return Reply(text=hours_text(hours, asker.say))
        await self._desk.set_hours(replace(hours, digested_at=self._desk.now("keeper")))
        return Reply(text=hours_text(hours, asker.say))

    async def _rule(self, asker: Asker, words: tuple[str, ...]) -> Reply:
        """List the chat's rules, or keep one more."""
        if not words:
            rules = await self._desk.rules(asker.chat)
            return Reply(text=rules_text(rules, asker.say))
        mine = await self._desk.watches(asker.chat)
        by_name = {one.label.casefold(): one.account for one in mine if one.label}

        def account_of(word: str) -> Address | None:
            if not word.lower().startswith("0x"):
                return by_name.get(word.casefold())
            account = parse_address(word)
            return account if any(one.account == account for one in mine) else None

        rule = parse_rule(" ".join(words), asker.chat, account_of)
        return Reply(text=await self._desk.add_rule(rule, asker.name, asker.say))

    async def _unrule(self, asker: Asker, words: tuple[str, ...]) -> Reply:
        rules = await self._desk.rules(asker.chat)
        said = "".join(words)
        if not (said.isascii() and said.isdigit() and 1 <= int(said[:6]) <= len(rules)):
            raise BadWord("Send /unrule and the number of a rule, as /rule shows it.")
        gone = rules[int(said) - 1]
        await self._desk.remove_rule(gone, asker.name)
        return Reply(text=asker.say("No longer told: {rule}", rule=gone.text))

    async def _language(self, asker: Asker, words: tuple[str, ...]) -> Reply:
        """Speak another language here from now on, or say which it is."""
        say = asker.say
        if words:
            wanted = language_named(words[0])
            if wanted is None:
                raise BadWord(
                    "{said} is no language I speak: there is {languages}.",
                    said=plain(words[0], 32),
                    languages=languages_text(),
                )
            await self._desk.set_language(asker.chat, wanted, asker.name)
            say = speech_of(wanted)
        name = LANGUAGES[say.language]
        told = say("I speak {language} here.", language=name)
        others = say("There is {languages}: /language de", languages=languages_text())
        return Reply(text=told if words else f"{told} {others}")

    # --- acting -------------------------------------------------------------------------------

    async def _pause(self, asker: Asker, words: tuple[str, ...]) -> Reply:
        del words
        _only_operators(asker)
        return Reply(text=await self._desk.pause(asker.name, asker.say))

    async def _resume(self, asker: Asker, words: tuple[str, ...]) -> Reply:
        del words
        _only_operators(asker)
        return Reply(text=await self._desk.resume(asker.name, asker.say))

    async def _topup(self, asker: Asker, words: tuple[str, ...]) -> Reply:
        _only_operators(asker)
        if not words:
            raise BadWord("Send /topup and a label, as /list shows it.")
        watch = (await self._mine(asker, " ".join(words)))[0]
        return await self._offered(asker, watch.account, name_of(watch.label, watch.account))

    async def _offered(self, asker: Asker, account: Address, name: str) -> Reply:
        """Return the first tap's answer: what a second one would do."""
        _only_operators(asker)
        offer = await self._desk.offer(account)
        code = secrets.token_urlsafe(16)
        now = self._clock()
        self._offers = {key: one for key, one in self._offers.items() if one.until > now}
        while len(self._offers) >= MOST_OFFERS:
            del self._offers[next(iter(self._offers))]
        self._offers[code] = _Waiting(
            user=asker.user, chat=asker.chat, offer=offer, until=now + CONFIRM_S
        )
        return Reply(
            text=offer_text(name, offer, asker.say),
            buttons=(
                Button(label=asker.say("Confirm (60 s)"), data=f"yes:{code}"),
                Button(label=asker.say("Cancel"), data=f"no:{code}"),
            ),
        )

    async def _confirmed(self, asker: Asker, code: str) -> Reply:
        """Return the second tap's answer.  A code works once, for who asked, where it was asked."""
        _only_operators(asker)
        waiting = self._take(asker, code)
        return Reply(text=await self._desk.carry_out(waiting.offer, asker.name, asker.say))

    def _cancelled(self, asker: Asker, code: str) -> Reply:
        self._take(asker, code)
        return Reply(text=asker.say("Cancelled: nothing was sent."))

    def _take(self, asker: Asker, code: str) -> _Waiting:
        """Use a code up.  Raises `BadWord` for one that is not this person's or is too old."""
        waiting = self._offers.get(code)
        if waiting is None or waiting.until <= self._clock():
            self._offers.pop(code, None)
            raise BadWord("That offer is over: ask again for a fresh one. Nothing was sent.")
        if (waiting.user, waiting.chat) != (asker.user, asker.chat):
            raise BadWord("Only whoever asked may confirm this. Nothing was sent.")
        return self._offers.pop(code)

    # --- taps on alerts -----------------------------------------------------------------------

    async def _state_named(self, asker: Asker, name: str) -> AlertState:
        for state in await self._desk.alerts(asker.chat):
            if alert_id(state) == name:
                return state
        raise BadWord("That alert is over: /alerts shows what is firing.")

    async def _tapped_alert(self, asker: Asker, verb: str, state: AlertState) -> Reply:
        if verb == "ack":
            await self._desk.hush(state, None, asker.name)
            return Reply(text=_acknowledged((state,), asker.say))
        if verb == "zzz":
            await self._desk.hush(state, SNOOZE_S, asker.name)
            return Reply(text=_snoozed((state,), SNOOZE_S, asker.say))
        account = Address(state.subject.rpartition(":")[2])
        names = {one.account: one.label for one in await self._desk.watches(asker.chat)}
        name = name_of(names.get(account, ""), account)
        if verb == "top":
            return await self._offered(asker, account, name)
        for one in await self._desk.health(account):
            if str(one.position) == state.subject:
                return self._charted(asker, one.position, name, CHART_S)
        raise BadWord("No position was found.")

    # --- finding ------------------------------------------------------------------------------

    async def _mine(self, asker: Asker, name: str) -> Sequence[Watch]:
        """Return the chat's watches of that label or address, all without one; never none."""
        watches = await self._desk.watches(asker.chat)
        if not name:
            found = watches
        elif name.lower().startswith("0x"):
            account = parse_address(name)
            found = tuple(one for one in watches if one.account == account)
        else:
            found = tuple(one for one in watches if one.label.casefold() == name.casefold())
        if found:
            return found
        raise nothing_watched(name)

    async def _firing(self, asker: Asker, name: str) -> Sequence[AlertState]:
        """Return what is firing for the chat, about one watch if named; never nothing."""
        states = await self._desk.alerts(asker.chat)
        if name:
            accounts = {one.account for one in await self._mine(asker, name)}
            states = tuple(
                one for one in states if Address(one.subject.rpartition(":")[2]) in accounts
            )
        if not states:
            raise BadWord("Nothing is firing there: /alerts shows what is.")
        return states


def _only_operators(asker: Asker) -> None:
    if not asker.operator:
        raise BadWord(NOT_YOU)


def _zoned(hours: ChatHours, words: tuple[str, ...]) -> ChatHours:
    if not words:
        return hours
    try:
        zone_of(words[0])
    except ValueError as error:
        raise BadWord(
            "{said} is no time zone: send one such as Europe/Berlin.", said=plain(words[0], 60)
        ) from error
    return replace(hours, zone=words[0])


def nothing_watched(name: str) -> BadWord:
    """Return why nothing of a chat's is found."""
    if name:
        return BadWord("Nothing by that name is watched for this chat: /list shows what is.")
    return BadWord("Nothing is watched for this chat: send /watch ADDRESS.")


def _acknowledged(states: Sequence[AlertState], say: Speech) -> str:
    return say.plural(
        "Acknowledged one alert: no reminders until it is worse or over.",
        "Acknowledged {n} alerts: no reminders until it is worse or over.",
        len(states),
    )


def _snoozed(states: Sequence[AlertState], for_s: int, say: Speech) -> str:
    return say.plural(
        "One alert snoozed for {time}; what gets worse is said all the same.",
        "{n} alerts snoozed for {time}; what gets worse is said all the same.",
        len(states),
        time=duration_text(for_s),
    )
