"""The status page's levels are those of whoever watches the account."""

from dataclasses import replace

from keeper.alerts.machine import DEFAULT_THRESHOLDS
from keeper.app.status import Levels
from keeper.model import AlertLevel, Thresholds
from keeper.units import Wad
from tests.store.builders import assessed, unassessable, watch


def test_a_level_is_by_the_thresholds_of_whoever_watches_the_account() -> None:
    high = Thresholds(info=Wad(3 * 10**18), warning=Wad(2 * 10**18), critical=Wad(15 * 10**17))
    found = assessed(1_700_000_000_000_000_001)
    mine, theirs = watch(thresholds=high), replace(watch(), chat="telegram:6")

    assert Levels(DEFAULT_THRESHOLDS, ()).of(found) is AlertLevel.CLEAR
    assert Levels(DEFAULT_THRESHOLDS, (theirs,)).of(found) is AlertLevel.CLEAR
    assert Levels(DEFAULT_THRESHOLDS, (theirs, mine)).of(found) is AlertLevel.WARNING
    assert Levels(DEFAULT_THRESHOLDS, ()).of(unassessable("stale")) is AlertLevel.WARNING
