"""When an alert speaks, and what must hold for every sequence of health factors and clocks."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from keeper.alerts.machine import (
    DEFAULT_THRESHOLDS,
    AlertKey,
    Change,
    Event,
    Policy,
    Step,
    due_again,
    hold,
    level_of,
    step_condition,
    step_health,
    threshold_of,
)
from keeper.model import AlertLevel, AlertState
from keeper.units import UINT256_MAX, Wad
from tests.alerts.build import T0, wad

KEY = AlertKey(chat="telegram:4711", rule="health", subject="aave-v3-ethereum:0x52")
POLICY = Policy()


def take(state: AlertState | None, health: str, at: int) -> Step:
    return step_health(
        KEY, state, wad(health), thresholds=DEFAULT_THRESHOLDS, now=at, policy=POLICY
    )


def play(*readings: tuple[int, str]) -> tuple[AlertState | None, list[tuple[int, Change]]]:
    state: AlertState | None = None
    said: list[tuple[int, Change]] = []
    for after, health in readings:
        step = take(state, health, T0 + after)
        state = step.state
        said.extend((after, event.change) for event in step.events)
    return state, said


def test_a_healthy_position_has_no_alert() -> None:
    step = take(None, "1.30", T0)

    assert step == Step(state=None)


def test_a_crossing_is_said_once_and_not_on_the_next_block() -> None:
    state, said = play((0, "1.149"), (12, "1.148"), (24, "1.149"))

    assert said == [(0, Change.FIRED)]
    assert state is not None
    assert state.level is AlertLevel.WARNING
    assert state.lowest == wad("1.148")


def test_a_threshold_itself_is_not_below_it() -> None:
    assert level_of(wad("1.15"), DEFAULT_THRESHOLDS) is AlertLevel.INFO
    assert level_of(Wad(wad("1.15") - 1), DEFAULT_THRESHOLDS) is AlertLevel.WARNING


def test_the_next_level_is_said_at_once() -> None:
    _, said = play((0, "1.149"), (12, "1.0499"))

    assert said == [(0, Change.FIRED), (12, Change.WORSE)]


def test_many_small_steps_add_up_to_a_worsening() -> None:
    # 1.149 said; 1.142 and 1.136 are within 0.02 of it; 1.129 is exactly 0.02 below.
    _, said = play((0, "1.149"), (12, "1.142"), (24, "1.136"), (36, "1.129"), (48, "1.128"))

    assert said == [(0, Change.FIRED), (36, Change.WORSE)]


def test_falling_below_one_is_always_said() -> None:
    _, said = play((0, "1.003"), (12, "1.000"), (24, "0.999"), (36, "0.998"))

    assert said == [(0, Change.FIRED), (24, Change.WORSE)]


def test_trembling_around_a_threshold_speaks_once() -> None:
    readings = tuple((12 * at, "1.151" if at % 2 else "1.149") for at in range(100))

    _, said = play(*readings)

    assert said == [(0, Change.FIRED)]


def test_it_resolves_after_ten_minutes_above_the_margin_and_once() -> None:
    _, said = play((0, "1.149"), (60, "1.317"), (659, "1.317"), (660, "1.317"), (2000, "1.4"))

    assert said == [(0, Change.FIRED), (660, Change.RESOLVED)]


def test_a_dip_back_into_the_band_starts_the_ten_minutes_anew() -> None:
    # 1.20 is the clearing bound of the warning, and the bound itself is not above it.
    _, said = play((0, "1.149"), (60, "1.317"), (400, "1.20"), (500, "1.317"), (1099, "1.317"))

    assert said == [(0, Change.FIRED)]


def test_a_critical_that_stays_above_its_margin_eases_to_where_it_is() -> None:
    state, said = play((0, "1.04"), (12, "1.12"), (612, "1.12"), (624, "1.12"))

    assert said == [(0, Change.FIRED), (612, Change.EASED)]
    assert state is not None
    assert state.level is AlertLevel.WARNING


def test_a_critical_is_repeated_every_fifteen_minutes_and_a_warning_every_four_hours() -> None:
    _, critical = play(*((at, "1.04") for at in range(0, 1813, 12)))
    _, warning = play(*((at, "1.12") for at in range(0, 4 * 3600 + 1, 600)))
    _, info = play(*((at, "1.25") for at in range(0, 48 * 3600, 3600)))

    assert critical == [(0, Change.FIRED), (900, Change.REPEATED), (1800, Change.REPEATED)]
    assert warning == [(0, Change.FIRED), (4 * 3600, Change.REPEATED)]
    assert info == [(0, Change.FIRED)]


def test_no_reminder_while_it_is_on_its_way_to_clear() -> None:
    _, said = play((0, "1.04"), (880, "1.5"), (1000, "1.5"))

    assert said == [(0, Change.FIRED)]


def test_unknown_says_nothing_clears_nothing_and_stops_the_clock() -> None:
    fired = take(None, "1.04", T0).state
    rising = take(fired, "1.5", T0 + 60).state
    unknown = hold(rising).state
    again = take(unknown, "1.5", T0 + 700)

    assert unknown is not None
    assert unknown.level is AlertLevel.CRITICAL
    assert hold(rising).events == ()
    assert again.events == ()  # not resolved: the ten minutes began at 700


def test_a_clock_that_steps_back_clears_nothing_early() -> None:
    _, said = play((0, "1.149"), (600, "1.4"), (500, "1.4"), (1099, "1.4"), (1100, "1.4"))

    assert said == [(0, Change.FIRED), (1100, Change.RESOLVED)]


def test_worse_inside_the_band_keeps_the_level_that_was_said() -> None:
    # reminded at 1.09, inside the band of the critical; 1.069 is worse by 0.02, and still in it
    state, said = play((0, "1.04"), (900, "1.09"), (912, "1.069"))

    assert said == [(0, Change.FIRED), (900, Change.REPEATED), (912, Change.WORSE)]
    assert state is not None
    assert state.level is AlertLevel.CRITICAL


def test_an_account_without_debt_resolves_like_any_other() -> None:
    fired = take(None, "1.04", T0).state
    args = {"thresholds": DEFAULT_THRESHOLDS, "policy": POLICY}
    rising = step_health(KEY, fired, Wad(UINT256_MAX), now=T0 + 12, **args).state  # type: ignore[arg-type]
    step = step_health(KEY, rising, Wad(UINT256_MAX), now=T0 + 612, **args)  # type: ignore[arg-type]

    assert [event.change for event in step.events] == [Change.RESOLVED]


def test_a_restart_says_again_what_still_fires_and_only_once() -> None:
    fired = take(None, "1.25", T0).state
    assert fired is not None
    (again,) = due_again((fired,), T0 + 300)
    first = take(again, "1.25", T0 + 312)
    second = take(first.state, "1.25", T0 + 324)

    assert [event.change for event in first.events] == [Change.REPEATED]
    assert second.events == ()


def test_a_restart_loop_does_not_repeat_what_was_just_said() -> None:
    fired = take(None, "1.04", T0).state
    assert fired is not None

    assert due_again((fired,), T0 + 299) == (fired,)


def test_a_condition_fires_repeats_escalates_and_resolves_once() -> None:
    state: AlertState | None = None
    said: list[tuple[int, Change]] = []
    for after, level in (
        (0, AlertLevel.WARNING),
        (12, AlertLevel.WARNING),
        (24, AlertLevel.CRITICAL),
        (36, AlertLevel.WARNING),
        (924, AlertLevel.WARNING),
        (930, AlertLevel.CLEAR),
        (989, AlertLevel.CLEAR),
        (990, AlertLevel.CLEAR),
        (1002, AlertLevel.CLEAR),
    ):
        step = step_condition(KEY, state, level, clear_for_s=60, now=T0 + after, policy=POLICY)
        state = step.state
        said.extend((after, event.change) for event in step.events)

    assert said == [
        (0, Change.FIRED),
        (24, Change.WORSE),
        (924, Change.REPEATED),
        (990, Change.RESOLVED),
    ]


HEALTHS = st.one_of(
    st.integers(min_value=9 * 10**17, max_value=14 * 10**17),
    st.sampled_from([wad(one) for one in ("1.05", "1.10", "1.15", "1.20", "1.30", "1.35", "1")]),
    st.just(UINT256_MAX),
)
READINGS = st.lists(
    st.tuples(
        st.sampled_from([1, 12, 12, 12, 300, 601, 901, -24, 5 * 3600]),
        st.one_of(HEALTHS, st.none()),
    ),
    max_size=60,
)


@settings(max_examples=400)
@given(READINGS)
def test_for_every_sequence_nothing_worsens_in_silence_and_the_last_word_is_true(
    readings: list[tuple[int, int | None]],
) -> None:
    state: AlertState | None = None
    now = T0
    told = AlertLevel.CLEAR
    told_health: int | None = None

    def take_one(health: int | None) -> tuple[Event, ...]:
        nonlocal state
        if health is None:
            step = hold(state)
        else:
            step = step_health(
                KEY, state, Wad(health), thresholds=DEFAULT_THRESHOLDS, now=now, policy=POLICY
            )
        state = step.state
        if state is not None and state.level is AlertLevel.CLEAR:
            state = None  # as the store has it: CLEAR removes
        return step.events

    for after, health in readings:
        now += after
        events = take_one(health)
        assert len(events) <= 1
        if health is None:
            assert not events
            continue
        raw = level_of(Wad(health), DEFAULT_THRESHOLDS)
        if raw > told:
            assert events, "worse than what people were told, in silence"
        if told_health is not None and told is not AlertLevel.CLEAR:
            sunk = health <= told_health - POLICY.worse_by
            crossed = health < 10**18 <= told_health
            assert events or not (sunk or crossed)
        for event in events:
            if event.change is Change.RESOLVED:
                assert told is not AlertLevel.CLEAR, "a second resolve"
                assert raw is AlertLevel.CLEAR
            elif event.change is Change.FIRED:
                assert told is AlertLevel.CLEAR
            told, told_health = event.state.level, health
        assert told >= raw

    last = next((health for _, health in reversed(readings) if health is not None), None)
    if last is None:
        return
    for _ in range(4):  # the same health for a long while
        now += 3600
        for event in take_one(last):
            told = event.state.level
    truth = level_of(Wad(last), DEFAULT_THRESHOLDS)
    if told is not truth:  # only inside the hysteresis band of the level that was said
        bound = threshold_of(told, DEFAULT_THRESHOLDS)
        assert told > truth
        assert bound <= last <= bound + POLICY.clear_margin


def test_a_serial_grows_with_each_message_so_that_keys_differ() -> None:
    first = take(None, "1.149", T0)
    second = take(first.state, "1.12", T0 + 12)

    assert first.state is not None
    assert second.state == replace(
        first.state,
        serial=2,
        said_at=T0 + 12,
        said_health=wad("1.12"),
        lowest=wad("1.12"),
    )
