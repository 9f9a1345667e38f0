"""No answer of anybody ends the process by being nested, whatever a library makes of the limit."""

import subprocess
import sys

import pytest

PROGRAM = """
import sys
import keeper
import eth_account, eth_account.messages
from keeper.chain import relay
from keeper.execution import keystore, signer
assert sys.getrecursionlimit() == 1_000, sys.getrecursionlimit()
import json, msgspec
from typing import Any
from keeper.chain.wire import Envelope
nested = b"[" * int(sys.argv[1])
refused = 0
for parse in (
    json.loads,
    lambda body: msgspec.json.decode(body, type=Envelope),
    lambda body: msgspec.json.decode(body, type=msgspec.Raw),
    lambda body: msgspec.json.decode(body, type=Any),
):
    for before in (b"", b'{"result":', b'{"error":{"data":'):
        try:
            parse(before + nested)
        except (ValueError, RecursionError):
            refused += 1
print(refused)
"""


@pytest.mark.parametrize("depth", [2_000, 60_000, 99_990, 3_000_000])
def test_nested_answers_are_refused_by_every_parser(depth: int) -> None:
    said = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(depth)], capture_output=True, text=True, check=False
    )

    assert said.returncode == 0, said.stderr
    assert said.stdout == "12\n"
