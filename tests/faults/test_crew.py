"""The long form's processes: a trial there is the trial here, and one that dies is a violation."""

import os
import signal

import pytest

from bench.faults_crew import crew
from tests.faults.campaign import Result

pytestmark = pytest.mark.chain


@pytest.mark.timeout(120)
async def test_trials_are_shared_out_and_the_planted_bug_is_caught() -> None:
    told: list[Result] = []
    async with crew(2) as hands:
        await hands.run("C17", range(1, 7), told.append, seconds=60)
        caught = await hands.caught("C17", 1)
        again = await hands.alone("C17", 3)

    assert sum(one.trials for one in told) == 6
    assert [violation for one in told for violation in one.violations] == []
    assert caught.violations
    assert again.suffered in [one.suffered for one in told], "the same seed, the same trial"


@pytest.mark.timeout(120)
async def test_a_trial_that_ends_its_process_is_a_violation_and_the_next_one_runs() -> None:
    async with crew(1) as hands:
        first = await hands.alone("C17", 1)
        process = hands._hands[0]._process
        assert process is not None
        os.kill(process.pid, signal.SIGKILL)
        died = await hands.alone("C17", 2)
        after = await hands.alone("C17", 2)

    assert first.violations == []
    assert died.bad == [2]
    assert died.violations[0].startswith("C17:2: ended its process")
    assert after.violations == []
