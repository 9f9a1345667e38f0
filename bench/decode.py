"""D1: one event log from the bytes a node sent to the words the keeper works with.

Ours: the page read by columns, every byte of every log checked (`keeper.chain.scan`).  Besides it,
what a page of another layout takes (`keeper.chain.wire`), also with the adapter told whom the logs
speak of.  Theirs: the same page by `json`, web3.py's own formatting
of a log, and `process_log` of the Transfer event.  Pages have the shape of geth's answers.
"""

import json
import random
from collections.abc import Iterator
from typing import Any

import msgspec
from web3 import Web3
from web3._utils.method_formatters import log_entry_formatter  # what web3 itself runs on each log
from web3.datastructures import AttributeDict

from bench.line import Line, median, ratios, say, spread, times_s
from bench.market import Made, make
from keeper.chain import wire
from keeper.chain.scan import scan
from keeper.protocols.aave_v3.topics import TRANSFER

LOGS = 2_000
TRANSFER_ABI: list[dict[str, Any]] = [
    {
        "type": "event",
        "name": "Transfer",
        "anonymous": False,
        "inputs": [
            {"name": "from", "type": "address", "indexed": True},
            {"name": "to", "type": "address", "indexed": True},
            {"name": "value", "type": "uint256", "indexed": False},
        ],
    }
]


def run() -> Iterator[Line]:
    """Yield D1."""
    made = make(12)
    page = _page(made)
    decoder = msgspec.json.Decoder(list[wire.WireLog])
    by_one = tuple([wire.log(one) for one in decoder.decode(page)])
    scanned = scan(page)
    assert scanned is not None, "the page is not read by columns"
    assert scanned.logs() == by_one, "both ways of reading must agree"
    event = Web3().eth.contract(abi=TRANSFER_ABI).events.Transfer()

    def ours() -> int:
        logs = tuple([wire.log(one) for one in decoder.decode(page)])
        return len(made.adapter.touched(made.market, logs).accounts)

    def decoded() -> int:
        return len(scan(page) or ())

    def one_by_one() -> int:
        return len([wire.log(one) for one in decoder.decode(page)])

    def theirs() -> int:
        found = set()
        for one in json.loads(page):
            log = event.process_log(AttributeDict.recursive(log_entry_formatter(one)))
            found |= {log["args"]["from"].lower(), log["args"]["to"].lower()}
        return len(found)

    assert ours() == theirs(), "both must find the same accounts"
    say("D1: decoding")
    ours_s, theirs_s = times_s(decoded, 27), times_s(theirs)
    whole_s, slow_s = times_s(ours, 27), times_s(one_by_one)
    each_us = tuple(s / LOGS * 1e6 for s in ours_s)
    times = ratios(theirs_s, ours_s[: len(theirs_s)])
    yield Line(
        id="D1",
        what="decode of one log, every field checked, vs web3.py process_log",
        value=median(each_us),
        unit="us",
        reach="<= 1.5 us, >= 150x",
        ok=median(each_us) <= 1.5 and median(times) >= 150,
        runs=len(each_us),
        spread=spread(each_us),
        context={
            "web3_us": median(theirs_s) / LOGS * 1e6,
            "times": median(times),
            "times_runs": len(times),
            "fall_back_us": median(slow_s) / LOGS * 1e6,
            "with_touched_us": median(whole_s) / LOGS * 1e6,
            "logs": LOGS,
            "bytes_per_log": len(page) / LOGS,
        },
    )


def _page(made: Made) -> bytes:
    """An eth_getLogs result: transfers of the market's tokens."""
    chance = random.Random(5)
    tokens = [t for r in made.market.reserves for t in (r.a_token, r.debt_token)]
    people = [f"0x{'00' * 12}{chance.randbytes(20).hex()}" for _ in range(LOGS // 4)]
    logs = [
        {
            "address": chance.choice(tokens),
            "topics": [TRANSFER, *chance.sample(people, 2)],
            "data": f"0x{chance.randrange(2**90):064x}",
            "blockNumber": hex(21_400_000 + i // 9),
            "transactionHash": "0x" + chance.randbytes(32).hex(),
            "transactionIndex": hex(i % 180),
            "blockHash": "0x" + chance.randbytes(32).hex(),
            "blockTimestamp": hex(1_763_680_121 + i),
            "logIndex": hex(i % 400),
            "removed": False,
        }
        for i in range(LOGS)
    ]
    return json.dumps(logs, separators=(",", ":")).encode()
