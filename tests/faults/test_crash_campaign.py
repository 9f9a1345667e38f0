"""The kill -9 campaign in its short form; the long one is ``./run bench crash``."""

import json
import subprocess
import sys

import pytest

from tests.chain_unit.bare_anvil import ROOT

TRIALS = 200
"""On two databases, in five ways to live each: twenty kills of each way."""

pytestmark = pytest.mark.chain


@pytest.mark.timeout(600)
def test_no_kill_makes_a_duplicate_or_loses_an_intent_or_a_message() -> None:
    said = subprocess.run(
        [sys.executable, "-m", "bench.crash", "--trials", str(TRIALS), "--seed", "7"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    lines = [json.loads(line) for line in said.stdout.splitlines()]

    assert sum(line["context"]["trials"] for line in lines) >= TRIALS
    for line in lines:
        found = line["context"]
        assert line["value"] == 0, found
        assert found["actions_done"] > 0
        assert found["resume_s_most"] <= 10
        # keepers that forget what was done, what was to be told, or what reverted
        assert found["planted_bug_caught"], found["planted_bug"]
        assert len(found["killed_at"]) >= 3
        assert set(found["ways"]) == {"plain", "relay", "two keys", "reverts", "batches"}
        assert found["intents_in_those"] > found["transactions_with_several"] > 0
    contexts = [line["context"] for line in lines]
    assert sum(found["handed_to_the_relay"] for found in contexts) > 0
    assert sum(found["reverts"] for found in contexts) > 0
