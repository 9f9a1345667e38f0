"""Acknowledging, snoozing, calling in: what may fall silent and what may not."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from keeper.alerts.hush import alert_id, hushes_of
from keeper.alerts.machine import (
    DEFAULT_THRESHOLDS,
    AlertKey,
    Change,
    Event,
    Policy,
    call_in,
    called_in,
    due_again,
    level_of,
    step_health,
)
from keeper.model import AlertLevel, AlertState, Hush
from keeper.units import Wad
from tests.alerts.build import T0, wad

KEY = AlertKey(chat="telegram:4711", rule="health", subject="aave-v3-ethereum:0x52")
POLICY = Policy(escalate_to=("telegram:8", "ntfy:9"), escalate_after_s=600)


class Play:
    """One alert through time, with what its chat says about it."""

    def __init__(self) -> None:
        self.state: AlertState | None = None
        self.word: Hush | None = None
        self.said: list[tuple[int, Change]] = []
        self.called: list[tuple[int, str]] = []

    def take(self, after: int, health: Wad) -> tuple[Event, ...]:
        now = T0 + after
        hush = self._word_on(self.state)
        step = step_health(
            KEY,
            self.state,
            health,
            thresholds=DEFAULT_THRESHOLDS,
            now=now,
            policy=POLICY,
            hush=hush,
        )
        called = call_in(step.state, now=now, policy=POLICY, hush=self._word_on(step.state))
        self.state = called.state
        if self.state is not None and self.state.level is AlertLevel.CLEAR:
            self.state = None
        events = (*step.events, *called.events)
        self.said += [(after, event.change) for event in events]
        self.called += [(after, chat) for event in events for chat in called_in(event, POLICY)]
        return events

    def _word_on(self, state: AlertState | None) -> Hush | None:
        if self.word is None or state is None:
            return None
        return hushes_of((self.word,)).of(state)

    def say(self, *, until: int | None = None) -> None:
        assert self.state is not None
        self.word = Hush(
            chat=KEY.chat,
            rule=KEY.rule,
            subject=KEY.subject,
            fired_at=self.state.fired_at,
            level=self.state.level,
            until=until,
        )


def test_an_acknowledged_critical_is_not_repeated() -> None:
    play = Play()
    play.take(0, wad("1.04"))
    play.say()
    for after in range(12, 7200, 300):
        play.take(after, wad("1.04"))

    assert play.said == [(0, Change.FIRED)]
    assert play.called == []


def test_an_acknowledgement_does_not_silence_what_gets_worse() -> None:
    play = Play()
    play.take(0, wad("1.14"))
    play.say()
    play.take(12, wad("1.12"))  # 0.02 lower: said, the level is still the acknowledged one
    play.take(24, wad("1.049"))  # the next level: said, and the word on the warning is spent
    play.take(924, wad("1.049"))

    assert play.said == [
        (0, Change.FIRED),
        (12, Change.WORSE),
        (24, Change.WORSE),
        (924, Change.REPEATED),
        (924, Change.ESCALATED),
    ]


def test_an_acknowledgement_ends_with_the_resolve() -> None:
    play = Play()
    play.take(0, wad("1.04"))
    play.say()
    play.take(12, wad("1.5"))
    play.take(612, wad("1.5"))
    play.take(700, wad("1.04"))
    play.take(1600, wad("1.04"))

    assert [change for _, change in play.said] == [
        Change.FIRED,
        Change.RESOLVED,
        Change.FIRED,
        Change.REPEATED,
        Change.ESCALATED,
    ]


def test_a_snooze_ends_with_one_reminder() -> None:
    play = Play()
    play.take(0, wad("1.25"))  # an info, which is not repeated by itself
    play.say(until=T0 + 3600)
    for after in (12, 3599, 3600, 3612, 9000):
        play.take(after, wad("1.25"))

    assert play.said == [(0, Change.FIRED), (3600, Change.REPEATED)]


def test_a_restart_does_not_repeat_what_was_acknowledged() -> None:
    play = Play()
    play.take(0, wad("1.04"))
    play.say()
    assert play.state is not None
    (play.state,) = due_again((play.state,), T0 + 4000)
    play.take(4000, wad("1.04"))

    assert play.said == [(0, Change.FIRED)]


def test_nobody_answers_so_others_are_called_in_one_after_the_other() -> None:
    play = Play()
    for after in range(0, 2000, 100):
        play.take(after, wad("1.04"))

    # the one who was called in at 600 also hears the reminder of 900
    assert play.called == [
        (600, "telegram:8"),
        (900, "telegram:8"),
        (1200, "ntfy:9"),
        (1800, "telegram:8"),
        (1800, "ntfy:9"),
    ]


def test_whoever_was_called_in_hears_the_end() -> None:
    play = Play()
    play.take(0, wad("1.04"))
    play.take(600, wad("1.04"))
    play.take(612, wad("1.5"))
    play.take(1212, wad("1.5"))

    assert play.called == [(600, "telegram:8"), (1212, "telegram:8")]
    assert play.said[-1] == (1212, Change.RESOLVED)


def test_time_spent_as_a_warning_does_not_count_against_the_critical() -> None:
    play = Play()
    play.take(0, wad("1.14"))
    play.take(5000, wad("1.04"))
    play.take(5599, wad("1.04"))
    play.take(5600, wad("1.04"))

    assert play.called == [(5600, "telegram:8")]


def test_each_episode_has_a_name_of_its_own() -> None:
    play = Play()
    play.take(0, wad("1.04"))
    assert play.state is not None

    assert alert_id(play.state) != alert_id(replace(play.state, fired_at=T0 + 1))
    assert alert_id(play.state) == alert_id(replace(play.state, level=AlertLevel.INFO))


STEPS = st.lists(
    st.tuples(
        st.sampled_from([1, 12, 12, 12, 300, 601, 901, -24, 5 * 3600]),
        st.integers(min_value=9 * 10**17, max_value=14 * 10**17),
        st.sampled_from(["", "", "", "ack", "snooze"]),
    ),
    max_size=60,
)


@settings(max_examples=300)
@given(STEPS)
def test_whatever_people_say_nothing_worsens_in_silence_and_it_ends_once(
    steps: list[tuple[int, int, str]],
) -> None:
    play, now = Play(), 0
    told, told_health = AlertLevel.CLEAR, 0
    for after, health, word in steps:
        now += after
        events = play.take(now, Wad(health))
        raw = level_of(Wad(health), DEFAULT_THRESHOLDS)
        changes = [event.change for event in events if event.change is not Change.ESCALATED]
        assert len(changes) <= 1
        if raw > told or (told and health <= told_health - POLICY.worse_by):
            assert changes
        if Change.RESOLVED in changes:
            assert told is not AlertLevel.CLEAR
            assert raw is AlertLevel.CLEAR
        for event in events:
            if event.change is not Change.ESCALATED:
                told, told_health = event.state.level, health
        assert told >= raw
        if word and play.state is not None:
            play.say(until=None if word == "ack" else T0 + now + 3600)
    # left alone and critical, somebody is called in, unless it was acknowledged at that level
    for _ in range(40):
        now += 600
        play.take(now, wad("1.01"))
    answered = play.word is not None and play.state is not None
    if not (answered and play.word and play.word.level is AlertLevel.CRITICAL):
        assert play.state is not None
        assert play.state.escalated == 2
