"""A checkpoint comes back as it was written, or not at all and with one line in the log."""

import asyncio
import hashlib
import sys
import zlib
from dataclasses import replace

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from keeper.model import Address, Checkpoint, Entry, Holdings, Side
from keeper.store.database import Database
from keeper.store.packing import MAGIC, _checksum, checkpoint_of, checkpoint_row
from keeper.store.records import SqlRecords
from keeper.store.tables import CheckpointRow
from keeper.store.types import Damaged, Unfit
from tests.store.builders import MARKET, address, block

LAYOUT = "0x" + "5a" * 32
PROVIDER = Address("0x2f39d218133afab8f2b819b1066c7e434ad94e9e")


def held(number: int, *scaled: int, e_mode: int = 0) -> Holdings:
    sides = (Side.COLLATERAL, Side.DEBT)
    entries = tuple(Entry(reserve=i, side=sides[i % 2], scaled=s) for i, s in enumerate(scaled))
    return Holdings(account=address(number), e_mode=e_mode, entries=entries)


CHECKPOINT = Checkpoint(
    market=MARKET,
    anchor=PROVIDER,
    block=block(21_034_511),
    accounts=tuple(address(n) for n in (1, 2, 3)),
    holdings=(held(1, 10**21 + 7, 2**128 - 1, e_mode=231), held(3)),
    layout=LAYOUT,
)

ENTRY = st.builds(
    Entry,
    reserve=st.integers(0, 127),
    side=st.sampled_from(Side),
    scaled=st.integers(0, 2**128 - 1),
)


@given(
    people=st.dictionaries(
        st.integers(0, 2**160 - 1),
        st.none() | st.tuples(st.integers(0, 255), st.lists(ENTRY, max_size=9)),
        max_size=9,
    )
)
def test_whatever_is_packed_comes_back(
    people: dict[int, tuple[int, list[Entry]] | None],
) -> None:
    accounts = {number: Address(f"0x{number:040x}") for number in people}
    made = replace(
        CHECKPOINT,
        accounts=tuple(accounts.values()),
        holdings=tuple(
            Holdings(account=accounts[number], e_mode=said[0], entries=tuple(said[1]))
            for number, said in people.items()
            if said is not None
        ),
    )

    assert checkpoint_of(checkpoint_row(made, at=1.0), MARKET) == made


@pytest.mark.parametrize("count", [254, 255, 256])
def test_an_account_with_more_entries_than_a_byte_counts_is_kept_by_address_alone(
    count: int,
) -> None:
    """Both sides of each of 128 reserves are 256 entries; 255 in its byte means unknown."""
    every = [Entry(reserve=r, side=side, scaled=10**18 + r) for r in range(128) for side in Side]
    most = Holdings(account=address(1), e_mode=1, entries=tuple(every[:count]))
    made = replace(CHECKPOINT, holdings=(most, held(2, 10**21 + 7), held(3)))

    found = checkpoint_of(checkpoint_row(made, at=1.0), MARKET)

    assert found.accounts == made.accounts
    assert found.holdings == (made.holdings if count == 254 else made.holdings[1:])


def test_it_is_compact() -> None:
    """Two entries each of a hundred thousand accounts: less than 60 bytes an account."""
    many = tuple(held(n, n * 10**18 + n % 977, n * 10**6 + 13) for n in range(1, 1_001))
    made = replace(CHECKPOINT, accounts=tuple(h.account for h in many), holdings=many)

    assert len(checkpoint_row(made, at=1.0).accounts) < 60 * len(many)


@pytest.mark.parametrize(
    "bad",
    [Entry(reserve=128, side=Side.DEBT, scaled=1), Entry(reserve=0, side=Side.DEBT, scaled=-1)],
)
def test_what_cannot_be_is_refused_before_it_is_written(bad: Entry) -> None:
    one = Holdings(account=address(1), e_mode=0, entries=(bad,))

    with pytest.raises(Unfit, match=f"{bad.scaled} in reserve {bad.reserve}; nothing was written"):
        checkpoint_row(replace(CHECKPOINT, holdings=(one,)), at=1.0)


@pytest.mark.parametrize("cut", [1, 20, 57, 100])
def test_a_body_that_is_too_short_is_damaged_though_its_checksum_is_right(cut: int) -> None:
    row = checkpoint_row(CHECKPOINT, at=1.0)
    body = zlib.decompress(row.accounts[len(MAGIC) :])
    row.accounts = MAGIC + zlib.compress(body[:-cut])
    row.checksum = _checksum(MARKET, row.block, row.accounts)

    with pytest.raises(Damaged, match=r"cannot be read: .* bytes are not those of"):
        checkpoint_of(row, MARKET)


def as_first_written(row: CheckpointRow) -> None:
    """What the first version of the keeper wrote: addresses alone, compressed."""
    addresses = b"".join(bytes.fromhex(a[2:]) for a in CHECKPOINT.accounts)
    row.accounts = zlib.compress(addresses, level=1)
    row.checksum = _checksum(MARKET, row.block, row.accounts)


def of_the_version_before(row: CheckpointRow) -> None:
    """The same without the contract that the market is found from."""
    body = zlib.decompress(row.accounts[len(MAGIC) :])
    row.accounts = b"keeper book 2\n" + zlib.compress(body[20:], level=1)
    row.checksum = _checksum(MARKET, row.block, row.accounts)


def not_compressed(row: CheckpointRow) -> None:
    row.accounts = MAGIC + b"not compressed"
    row.checksum = _checksum(MARKET, row.block, row.accounts)


def truncated(row: CheckpointRow) -> None:
    row.accounts = row.accounts[:-9]


def one_bit(row: CheckpointRow) -> None:
    row.accounts = row.accounts[:40] + bytes([row.accounts[40] ^ 4]) + row.accounts[41:]


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (as_first_written, "is of another version of the keeper"),
        (of_the_version_before, "is of another version of the keeper"),
        (not_compressed, "cannot be read"),
        (truncated, "does not match its checksum"),
        (one_bit, "does not match its checksum"),
    ],
)
async def test_what_is_not_whole_is_discarded_with_one_line(
    database: Database, damage: object, why: str
) -> None:
    records = SqlRecords(database)
    await records.save_checkpoint(CHECKPOINT)
    async with database.write("test.damage") as session:
        row = await session.get(CheckpointRow, (MARKET.chain_id, MARKET.name))
        assert row is not None
        assert callable(damage)
        damage(row)
    with structlog.testing.capture_logs() as logs:
        found = await records.checkpoint(MARKET)

    assert found is None
    [said] = logs
    assert said["event"] == "checkpoint.damaged"
    assert why in said["reason"]


KILLED = """
import asyncio, os, sys
from dataclasses import replace
from keeper.store.database import Database
from keeper.store.packing import checkpoint_row
from keeper.store.write import insert_or_replace
from tests.store.test_checkpoint import CHECKPOINT, address

async def main(url):
    database = await Database.open(url)
    row = checkpoint_row(replace(CHECKPOINT, accounts=(address(9),), holdings=()), at=2.0)
    async with database.write("test.killed") as session:
        await insert_or_replace(session, [row], ("chain_id", "market"))
        await session.flush()
        print("written", flush=True)
        os.kill(os.getpid(), 9)

asyncio.run(main(sys.argv[1]))
"""


async def test_a_keeper_killed_while_it_writes_leaves_the_old_one(
    database: Database, url: str
) -> None:
    records = SqlRecords(database)
    await records.save_checkpoint(CHECKPOINT)

    killed = await asyncio.create_subprocess_exec(
        sys.executable, "-c", KILLED, url, stdout=asyncio.subprocess.PIPE
    )
    said, _ = await killed.communicate()

    assert said.strip() == b"written"
    assert killed.returncode == -9
    assert await records.checkpoint(MARKET) == CHECKPOINT


def test_the_checksum_covers_market_block_and_every_byte() -> None:
    row = checkpoint_row(CHECKPOINT, at=1.0)
    elsewhere = replace(MARKET, name="elsewhere")

    assert row.checksum != hashlib.sha256(row.accounts).hexdigest()
    with pytest.raises(Damaged, match="elsewhere does not match its checksum"):
        checkpoint_of(row, elsewhere)
