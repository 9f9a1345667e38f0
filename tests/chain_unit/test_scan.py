"""Pages of logs read by columns: what msgspec reads one by one, or nothing at all."""

import json
import random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keeper.chain import wire
from keeper.chain.history import Distinct, every_log, read_answer
from keeper.chain.scan import scan
from keeper.errors import BadAnswer
from keeper.model import Log


def made(chance: random.Random, count: int, *, topics: int = 3, **fields: Any) -> list[Any]:
    """Logs as a node writes them, quantities of many lengths."""
    people = [f"0x{'00' * 12}{chance.randbytes(20).hex()}" for _ in range(5)]
    return [
        {
            "address": "0x" + bytes([chance.randrange(3)] * 20).hex(),
            "topics": ["0x" + "dd" * 32, *(chance.choice(people) for _ in range(topics - 1))],
            "data": f"0x{chance.randrange(2**256):064x}",
            "blockNumber": hex(4_090 + i // 4),
            "transactionHash": "0x" + chance.randbytes(32).hex(),
            "transactionIndex": hex(chance.choice((3, 77, 4_000))),
            "blockHash": f"0x{4_090 + i // 4:064x}",
            "logIndex": hex(chance.choice((0, 15, 16, 300)) * 1_000 + i),
            "removed": chance.random() < 0.1,
        }
        | fields
        for i in range(count)
    ]


def page_of(logs: list[Any]) -> bytes:
    return json.dumps(logs, separators=(",", ":")).encode()


def one_by_one(page: bytes) -> tuple[Log, ...]:
    wires = msgspec.json.decode(page, type=list[wire.WireLog])
    return tuple(wire.log(one) for one in wires if not one.removed)


@given(st.randoms(use_true_random=False), st.integers(1, 60), st.integers(1, 4))
def test_columns_say_what_is_read_one_by_one(
    chance: random.Random, count: int, topics: int
) -> None:
    page = page_of(made(chance, count, topics=topics))

    scanned = scan(page)

    assert scanned is not None
    assert len(scanned) == count
    assert scanned.logs() == one_by_one(page)
    seen: dict[Any, Log] = {}
    for log in one_by_one(page):
        seen.setdefault((log.address, log.topics), log)
    assert scanned.logs_at(scanned.distinct().values()) == tuple(seen.values())


@given(st.randoms(use_true_random=False), st.data())
def test_a_page_with_one_byte_changed_is_never_read_otherwise_than_one_by_one(
    chance: random.Random, data: st.DataObject
) -> None:
    page = bytearray(page_of(made(chance, 6)))
    page[data.draw(st.integers(0, len(page) - 1))] = data.draw(st.integers(0, 255))

    scanned = scan(bytes(page))

    if scanned is not None:
        assert scanned.logs() == one_by_one(bytes(page))


@pytest.mark.parametrize(
    "page",
    [
        b"[]",
        b"",
        b"[{}]",
        b"null",
        page_of(made(random.Random(1), 3)).replace(b",", b", "),
        page_of(made(random.Random(1), 3) + made(random.Random(1), 3, topics=2)),
        page_of(made(random.Random(1), 3, address="0x" + "AB" * 20)),
        page_of(made(random.Random(1), 3, data="0x123")),
        page_of(made(random.Random(1), 3, extra={"a": "}"})),
        page_of([*made(random.Random(1), 3, topics=1), {"removed": True}]),
    ],
)
def test_another_layout_is_left_to_the_slow_way(page: bytes) -> None:
    assert scan(page) is None


def test_pages_of_several_events_are_read_the_slow_way_and_whole() -> None:
    others = made(random.Random(4), 5, topics=1, blockHash="0x" + "ee" * 32)
    logs = [*made(random.Random(3), 5, removed=False), *others]
    raw = msgspec.Raw(page_of(logs))

    answer = read_answer(raw)

    assert answer.page is None
    assert every_log(answer) == one_by_one(bytes(raw))
    assert (answer.lowest, answer.highest, answer.count) == (4_090, 4_091, len(every_log(answer)))


def test_whoever_was_handed_on_is_not_handed_on_again() -> None:
    first = made(random.Random(5), 40, removed=False)
    second = made(random.Random(6), 40, blockHash="0x" + "ee" * 32)
    pages = [msgspec.Raw(page_of(logs)) for logs in (first, [*first[:20], *second], first)]
    distinct, forgetful = Distinct(), Distinct(most=0)

    found = [distinct(read_answer(page)) for page in pages]

    whom = [(log.address, log.topics) for logs in found for log in logs]
    assert len(whom) == len(set(whom))
    assert set(whom) == {
        (log.address, log.topics) for page in pages for log in one_by_one(bytes(page))
    }
    assert found[2] == ()
    assert [len(forgetful(read_answer(pages[0]))) for _ in range(2)] == [len(found[0])] * 2


@given(st.randoms(use_true_random=False), st.integers(2, 40))
def test_a_log_twice_is_seen_in_any_order_and_two_of_one_index_are_refused(
    chance: random.Random, count: int
) -> None:
    logs = made(chance, count, removed=False)
    chance.shuffle(logs)
    once = read_answer(msgspec.Raw(page_of(logs)))
    assert once.page is not None

    repeated = chance.choice(logs)
    twice = [*logs, repeated]
    chance.shuffle(twice)
    assert set(every_log(read_answer(msgspec.Raw(page_of(twice))))) == set(every_log(once))
    with pytest.raises(BadAnswer, match="is said twice, and differently"):
        read_answer(msgspec.Raw(page_of([*twice, repeated | {"data": "0x" + "0c" * 32}])))


@given(st.randoms(use_true_random=False), st.integers(1, 40), st.data())
def test_pages_are_the_same_whatever_their_order_and_not_where_one_value_differs(
    chance: random.Random, count: int, data: st.DataObject
) -> None:
    logs = made(chance, count, removed=False)
    shuffled = chance.sample(logs, count)
    at, field = chance.randrange(count), data.draw(st.sampled_from(["address", "data", "topics"]))
    other = {
        "address": "0x" + "0d" * 20,
        "data": "0x" + "0c" * 32,
        "topics": ["0x" + "0b" * 32] * 3,
    }
    changed = [*logs[:at], logs[at] | {field: other[field]}, *logs[at + 1 :]]

    page, same, different = (scan(page_of(one)) for one in (logs, shuffled, changed))

    assert page is not None
    assert same is not None
    assert different is not None
    assert page.same_logs(same)
    assert not page.same_logs(different)
    assert not same.same_logs(different)


@pytest.mark.parametrize("field", ["address", "data", "blockHash", "transactionHash", "logIndex"])
@pytest.mark.parametrize("digit", ["g", "A", " ", '"', "\x00"])
def test_a_digit_that_is_none_is_seen_in_any_log_of_a_page(field: str, digit: str) -> None:
    equal: dict[str, Any] = {
        "transactionIndex": "0x4d",
        "logIndex": "0x12c",
        "blockNumber": "0xffa",
    }
    logs = made(random.Random(9), 8, removed=False, **equal)
    assert scan(page_of(logs)) is not None

    page = page_of([*logs[:6], logs[6] | {field: logs[6][field][:-1] + "#"}, logs[7]])

    assert scan(page.replace(b"#", digit.encode())) is None
