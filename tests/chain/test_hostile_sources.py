"""Price sources and feeds that do their worst, on the real AaveOracle and a real node.

Each is a few bytes of code by hand.  The bad one is unusable and says so; every other price, and
every position that does not touch it, is read as before.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from keeper.app.chain import open_chain
from keeper.app.look import read_accounts
from keeper.devnet.network import Devnet
from keeper.engine.market import Reading
from keeper.model import Address, Assessed, Cause, Unassessable
from tests.chain.watching import settings_of

pytestmark = pytest.mark.chain

HOSTILE = Address("0x" + "bad0" * 10)
ONE = (1).to_bytes(32, "big").hex()


def push(value: int) -> str:
    """PUSH4 of `value`."""
    return "63" + value.to_bytes(4, "big").hex()


def answer(data: bytes) -> str:
    """Whatever is asked: these bytes, which stand behind the code."""
    # PUSH4 size, PUSH4 offset, PUSH0, CODECOPY, PUSH4 size, PUSH0, RETURN
    head = push(len(data)) + push(19) + "5f39" + push(len(data)) + "5ff3"
    assert len(head) == 2 * 19
    return head + data.hex()


def one_answer_but(selector: str, special: str) -> str:
    """`special` (code that ends by itself) for one function, and 1 for every other."""
    # PUSH0 CALLDATALOAD PUSH1 e0 SHR PUSH4 selector EQ PUSH1 dest JUMPI | PUSH1 1 PUSH0 MSTORE ...
    start = f"5f3560e01c63{selector}1460"
    rest = "57" + "60015f5260205ff3" + "5b"
    dest = len(bytes.fromhex(start)) + 1 + len(bytes.fromhex(rest)) - 1
    return start + dest.to_bytes(1, "big").hex() + rest + special


REVERTS = "5f5ffd"
SHORT = push(31) + "5ff3"
TEN_MEGABYTES = push(10 * 1024 * 1024) + "5ff3"
ENDLESS = "5b5f56"  # JUMPDEST PUSH0 JUMP
INVALID = "fe"


def bad_text(data: bytes) -> str:
    padded = data + b"\0" * (-len(data) % 32)
    words = (32).to_bytes(32, "big") + len(data).to_bytes(32, "big") + padded
    # the bytes are pushed a word at a time: the code moves with where it stands
    stores = "".join(
        f"7f{words[i : i + 32].hex()}61{i.to_bytes(2, 'big').hex()}52"
        for i in range(0, len(words), 32)
    )
    return stores + push(len(words)) + "5ff3"


async def look(devnet: Devnet, folder: Path, code: str) -> Reading:
    """Give WETH a source of this code and read everything."""
    await devnet.anvil.set_code(HOSTILE, bytes.fromhex(code))
    there = devnet.deployment
    await devnet.deployer.send(
        there.oracle, "AaveOracle", "setAssetSources", [there.reserve("WETH").asset], [HOSTILE]
    )
    settings = settings_of(devnet, folder)
    async with open_chain(settings, settings.select()[0]) as chain:
        accounts = [borrower.address for borrower in devnet.borrowers]
        return await read_accounts(chain, chain.market(), accounts)


WHOLLY: dict[str, str] = {
    "reverts": REVERTS,
    "short data": SHORT,
    "ten megabytes": TEN_MEGABYTES,
    "no end": ENDLESS,
    "invalid opcode": INVALID,
    "nothing": "00",
    "not a number": answer(b"\xff" * 160),
    "a million words": answer(b"\0" * 20_000),
}


@pytest.mark.parametrize("how", WHOLLY)
async def test_a_source_that_answers_all_things_badly_costs_its_own_price_only(
    devnet: Devnet, tmp_path: Path, how: str
) -> None:
    reading = await look(devnet, tmp_path, WHOLLY[how])

    verdicts = {price.asset.symbol: price for price in reading.prices}
    assert {doubt.cause for doubt in verdicts["WETH"].suspicions} == {
        Cause.NO_PRICE,
        Cause.UNTRACED,
    }
    assert "WETH" in verdicts["WETH"].reason
    assert all(v.usable for symbol, v in verdicts.items() if symbol != "WETH"), how
    assert reading.unreadable == ()


PART: dict[str, tuple[str, Callable[[], str]]] = {
    "description reverts": ("7284e416", lambda: REVERTS),
    "description of invalid UTF-8": ("7284e416", lambda: bad_text(b"\xff\xfe\xc0\x80 / USD")),
    "description of controls": ("7284e416", lambda: bad_text("\u202e\x1b[2J\x00".encode())),
    "description of ten megabytes": ("7284e416", lambda: TEN_MEGABYTES),
    "description without end": ("7284e416", lambda: ENDLESS),
    "decimals of 255": ("313ce567", lambda: "60ff5f5260205ff3"),
    "decimals short": ("313ce567", lambda: SHORT),
    "rounds of ten megabytes": ("feaf968c", lambda: TEN_MEGABYTES),
    "aggregator without end": ("245a7bfc", lambda: ENDLESS),
}


@pytest.mark.parametrize("how", PART)
async def test_a_source_with_one_bad_answer_is_never_taken_for_fresh(
    devnet: Devnet, tmp_path: Path, how: str
) -> None:
    selector, special = PART[how]

    reading = await look(devnet, tmp_path, one_answer_but(selector, special()))

    verdicts = {price.asset.symbol: price for price in reading.prices}
    weth = verdicts["WETH"]
    assert not weth.usable
    assert weth.reason.isprintable()
    assert all(line.isprintable() and len(line) < 300 for line in weth.source.path)
    assert all(v.usable for symbol, v in verdicts.items() if symbol != "WETH"), how


async def test_positions_without_the_bad_asset_are_as_well_as_before(
    devnet: Devnet, tmp_path: Path
) -> None:
    reading = await look(devnet, tmp_path, TEN_MEGABYTES)
    settings = settings_of(devnet, tmp_path)
    async with open_chain(settings, settings.select()[0]) as chain:
        market = chain.market()
        await read_accounts(chain, market, [b.address for b in devnet.borrowers])
        weth = devnet.deployment.reserve("WETH").reserve
        with_it, without = 0, 0
        for borrower in devnet.borrowers:
            holdings = market.holdings(borrower.address)
            assert holdings is not None
            found = reading.view.assess(holdings)
            if any(entry.reserve == weth for entry in holdings.entries):
                assert isinstance(found, Unassessable) or not found.debt
                with_it += 1
            elif holdings.entries:
                assert isinstance(found, Assessed)
                theirs = await devnet.account_data(borrower.address, hex(reading.block.number))
                assert found.health_factor == theirs[5]
                without += 1
    assert min(with_it, without) > 2
