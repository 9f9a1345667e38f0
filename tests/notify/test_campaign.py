"""The short forms of `bench.alerts`: fixed seeds, and the planted bugs are caught."""

import logging
from collections.abc import Iterator

import pytest
import structlog

from bench.alerts import campaign
from bench.hostile import TrustsTheChat, TrustsTheCode, attack


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """A campaign would log each of its thousands of messages."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.configure(**before)


async def test_a_misbehaving_channel_loses_nothing_and_says_hardly_anything_twice() -> None:
    found = await campaign(800, seed=5, hours=0.5)

    assert found.lost == 0
    assert found.limits_broken == 0
    assert found.duplicates == found.answers["lost"]
    assert found.duplicates
    assert found.unmarked == 0
    assert found.answers["gone"] > 100
    assert found.answers["429"]
    assert found.answers["500"]
    assert found.burst_criticals_s < found.burst_s / 2


@pytest.mark.parametrize("bug", ["lost is acknowledged", "gives up"])
async def test_a_planted_bug_of_the_drain_is_caught(bug: str) -> None:
    assert (await campaign(200, seed=1, hours=0.5, bug=bug)).lost > 0


async def test_a_drain_that_marks_no_repeats_is_caught() -> None:
    assert (await campaign(800, seed=5, hours=0.5, bug="marks nothing")).unmarked > 0


async def test_hostile_updates_have_no_privileged_effect() -> None:
    assert await attack(3_000, seed=11) == ()


@pytest.mark.parametrize("bot", [TrustsTheChat, TrustsTheCode])
async def test_a_bot_that_trusts_too_much_is_caught(
    bot: type[TrustsTheChat] | type[TrustsTheCode],
) -> None:
    assert await attack(1_000, seed=11, bot_type=bot)
