"""An eth_getLogs answer read as bytes of a fixed layout: equal events, a microsecond each.

Nodes write the logs of one event all alike; only quantities differ in length.  So logs of the same
length are put under one another, what is not a value is compared with the first of them byte for
byte, and values are read by columns.  Every byte is either compared or must be a hex digit.  A page
that is laid out in any other way is not read at all (None): it is a matter for `keeper.chain.wire`.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from keeper.model import Address, Hash, Log

Bytes = NDArray[np.uint8]

_FIELD: Final = re.compile(
    rb'"(\w+)":(?:"0x([0-9a-f]*)"|\[("0x[0-9a-f]{64}"(?:,"0x[0-9a-f]{64}")*)?\]|(true|false))([,}])'
)
_FIXED: Final = {b"address": 40, b"blockHash": 64, b"transactionHash": 64}
_QUANTITIES: Final = frozenset(
    {b"blockNumber", b"transactionIndex", b"logIndex", b"blockTimestamp"}
)
_NEEDED: Final = frozenset(
    {b"address", b"topics", b"data", b"blockNumber", b"blockHash", b"logIndex"}
)
_MOST_LAYOUTS: Final = 64
_TOPIC_STRIDE: Final = 69
"""From one topic to the next: 64 digits and ``","0x``."""
_NO_DIGIT: Final = 255
_NIBBLES: Final = bytes(
    int(chr(byte), 16) if byte in b"0123456789abcdef" else _NO_DIGIT for byte in range(256)
)
"""What each byte is worth as a lower-case hex digit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPage:
    """Logs as columns, in the order of the page; n of them, k topics and d bytes of data each."""

    address: Bytes
    """uint8[n, 20]"""
    topics: Bytes
    """uint8[n, k, 32]"""
    data: Bytes
    """uint8[n, d]"""
    block_hash: Bytes
    """uint8[n, 32]"""
    block_number: NDArray[np.uint64]
    log_index: NDArray[np.uint64]
    removed: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.log_index)

    def logs(self) -> tuple[Log, ...]:
        """Return them one by one, without those that were removed."""
        return self.logs_at(range(len(self)))

    def distinct(self, but: set[bytes] | frozenset[bytes] = frozenset()) -> dict[bytes, int]:
        """Return the row of the first log of each address and topics, in order, by a key for them.

        `but`: keys that are not wanted.  Rows of logs that were removed do not count.
        """
        count, topics = len(self), self.topics.shape[1]
        rows = np.empty((count, 20 + 32 * topics), np.uint8)
        rows[:, :20] = self.address
        rows[:, 20:] = self.topics.reshape(count, -1)
        keys = rows.view(f"V{rows.shape[1]}").ravel().tolist()
        if but and but.issuperset(keys):  # most of a long history says nothing new
            return {}
        last_first = range(count - 1, -1, -1)
        kept = [at for at in last_first if not self.removed[at]] if self.removed.any() else None
        first = dict(zip((keys[at] for at in kept or last_first), kept or last_first, strict=True))
        new = sorted((at, key) for key, at in first.items() if key not in but)
        return {key: at for at, key in new}

    def logs_at(self, rows: Iterable[int]) -> tuple[Log, ...]:
        """Return the logs of these rows, without those that were removed."""
        wanted = np.fromiter(rows, np.intp)
        at = wanted[~self.removed[wanted]]
        topics, size = self.topics.shape[1], self.data.shape[1]
        words = self.topics[at].tobytes().hex()
        hashes = [Hash("0x" + words[i : i + 64]) for i in range(0, len(words), 64)]
        addresses = self.address[at].tobytes().hex()
        block_hashes = self.block_hash[at].tobytes().hex()
        data = self.data[at].tobytes()
        numbers, indices = self.block_number[at].tolist(), self.log_index[at].tolist()
        return tuple(
            [
                Log(
                    address=Address("0x" + addresses[40 * i : 40 * i + 40]),
                    topics=tuple(hashes[topics * i : topics * i + topics]),
                    data=data[size * i : size * i + size],
                    block_number=numbers[i],
                    block_hash=Hash("0x" + block_hashes[64 * i : 64 * i + 64]),
                    log_index=indices[i],
                )
                for i in range(len(at))
            ]
        )

    def repeats(self) -> bool:
        """Whether two rows are of one block and index."""
        number, index = self.block_number, self.log_index
        later = (number[1:] > number[:-1]) | (
            (number[1:] == number[:-1]) & (index[1:] > index[:-1])
        )
        if later.all():  # as nodes write them
            return False
        return len(set(_rows(self.block_hash, _octets_of(index)))) < len(self)

    def same_logs(self, other: "LogPage") -> bool:
        """Whether both have the same logs, in whatever order."""
        ours, theirs = _columns(self), _columns(other)
        if any(a.shape != b.shape for a, b in zip(ours, theirs, strict=True)):
            return False
        if all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True)):
            return True
        return set(_rows(*ours)) == set(_rows(*theirs))


def _columns(page: LogPage) -> tuple[Bytes, ...]:
    place = page.block_hash, _octets_of(page.block_number), _octets_of(page.log_index)
    return *place, page.address, page.topics.reshape(len(page), -1), page.data


def _octets_of(column: NDArray[np.uint64]) -> Bytes:
    return column.astype(">u8").view(np.uint8).reshape(len(column), 8)


def _rows(*columns: Bytes) -> list[bytes]:
    """Return each row of all columns together."""
    rows = np.ascontiguousarray(np.hstack(columns))
    found: list[bytes] = rows.view(f"V{rows.shape[1]}").ravel().tolist()
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    """Where the values of one log are, from its opening brace."""

    spans: dict[bytes, tuple[int, int]]
    """First and one past the last digit, by field."""
    topics: int
    removed: bool
    values: NDArray[np.bool_]
    """bool[length]: where a digit of a value is."""


def scan(page: bytes) -> LogPage | None:
    """Return the logs of `page`, the JSON array as it came; None for any other layout."""
    if len(page) < 4 or page[:2] != b"[{" or page[-2:] != b"}]":
        return None
    buffer = np.frombuffer(page, np.uint8)
    ends = np.flatnonzero(buffer == ord("}"))
    starts = np.empty_like(ends)
    starts[0] = 1
    starts[1:] = ends[:-1] + 2
    if (buffer[ends[:-1] + 1] != ord(",")).any() or (buffer[starts] != ord("{")).any():
        return None
    lengths = ends - starts + 1
    digits = np.frombuffer(page.translate(_NIBBLES), np.uint8)
    parts: list[tuple[NDArray[np.intp], LogPage]] = []
    for length in np.unique(lengths):
        left = np.flatnonzero(lengths == length)
        windows = np.lib.stride_tricks.sliding_window_view(buffer, int(length))
        worth = np.lib.stride_tricks.sliding_window_view(digits, int(length))
        while len(left):
            layout = _layout(page[starts[left[0]] : starts[left[0]] + length])
            if layout is None or len(parts) >= _MOST_LAYOUTS:
                return None
            fits = _fitting(windows[starts[left]], layout)
            part = _read(worth[starts[left[fits]]], layout)
            if part is None:
                return None
            parts.append((left[fits], part))
            left = left[~fits]
    return _joined(parts, len(ends))


def _layout(log: bytes) -> _Layout | None:  # noqa: PLR0911 - one for each thing that can be odd
    """Return the layout of one log, or None for one that is not as nodes write them."""
    spans: dict[bytes, tuple[int, int]] = {}
    at, topics, removed = 1, 0, False
    while at < len(log):
        field = _FIELD.match(log, at)
        if field is None or field[1] in spans:
            return None
        name = field[1]
        if field[4] is not None:
            if name != b"removed":
                return None
            removed = field[4] == b"true"
        elif name == b"topics":
            if field[3] is None:
                return None
            first = field.start(3) + 3
            spans[name] = (first, field.end(3) - 1)
            topics = (field.end(3) - first - 65) // _TOPIC_STRIDE + 1
        elif field[2] is None or not _plausible(name, len(field[2])):
            return None
        else:
            spans[name] = field.span(2)
        at = field.end()
        if (field[5] == b"}") != (at == len(log)):
            return None
    if not spans.keys() >= _NEEDED:
        return None
    return _Layout(
        spans=spans, topics=topics, removed=removed, values=_values(spans, topics, len(log))
    )


def _plausible(name: bytes, digits: int) -> bool:
    if name in _FIXED:
        return digits == _FIXED[name]
    if name in _QUANTITIES:
        return 0 < digits <= 16
    return name == b"data" and digits % 2 == 0


def _values(spans: dict[bytes, tuple[int, int]], topics: int, length: int) -> NDArray[np.bool_]:
    """Return where the digits of values are; what is between topics is none."""
    found = np.zeros(length, np.bool_)
    for name, (start, end) in spans.items():
        if name != b"topics":
            found[start:end] = True
    start, _ = spans[b"topics"]
    for topic in range(topics):
        found[start + topic * _TOPIC_STRIDE :][:64] = True
    return found


def _fitting(rows: Bytes, layout: _Layout) -> NDArray[np.bool_]:
    """Which rows have the same bytes as the first one wherever there is no value."""
    same: NDArray[np.bool_] = ((rows == rows[0]) | layout.values).all(axis=1)
    return same


def _read(nibbles: Bytes, layout: _Layout) -> LogPage | None:
    """Return the values of rows of digits, or None where one is none."""
    others = np.count_nonzero(nibbles[0][~layout.values] > 15)
    if np.count_nonzero(nibbles > 15) != others * len(nibbles):
        return None
    start, _ = layout.spans[b"topics"]
    topics = np.empty((len(nibbles), layout.topics, 32), np.uint8)
    for topic in range(layout.topics):
        at = start + topic * _TOPIC_STRIDE
        topics[:, topic] = _octets(nibbles[:, at : at + 64])

    def column(name: bytes) -> Bytes:
        start, end = layout.spans[name]
        return nibbles[:, start:end]

    return LogPage(
        address=_octets(column(b"address")),
        topics=topics,
        data=_octets(column(b"data")),
        block_hash=_octets(column(b"blockHash")),
        block_number=_quantity(column(b"blockNumber")),
        log_index=_quantity(column(b"logIndex")),
        removed=np.full(len(nibbles), layout.removed),
    )


def _octets(nibbles: Bytes) -> Bytes:
    octets: Bytes = (nibbles[:, 0::2] << np.uint8(4)) | nibbles[:, 1::2]
    return octets


def _quantity(nibbles: Bytes) -> NDArray[np.uint64]:
    value = np.zeros(len(nibbles), np.uint64)
    for digit in range(nibbles.shape[1]):
        value = (value << np.uint64(4)) | nibbles[:, digit]
    return value


def _joined(parts: list[tuple[NDArray[np.intp], LogPage]], count: int) -> LogPage | None:
    """Put the parts together in the order of the page; None where they are of several events."""
    first = parts[0][1]
    if len(parts) == 1:
        return first
    if any(p.topics.shape[1:] != first.topics.shape[1:] for _, p in parts):
        return None
    if any(p.data.shape[1:] != first.data.shape[1:] for _, p in parts):
        return None
    made = LogPage(
        address=np.empty((count, 20), np.uint8),
        topics=np.empty((count, *first.topics.shape[1:]), np.uint8),
        data=np.empty((count, *first.data.shape[1:]), np.uint8),
        block_hash=np.empty((count, 32), np.uint8),
        block_number=np.empty(count, np.uint64),
        log_index=np.empty(count, np.uint64),
        removed=np.empty(count, np.bool_),
    )
    for rows, part in parts:
        made.address[rows], made.topics[rows] = part.address, part.topics
        made.data[rows], made.block_hash[rows] = part.data, part.block_hash
        made.block_number[rows], made.log_index[rows] = part.block_number, part.log_index
        made.removed[rows] = part.removed
    return made
