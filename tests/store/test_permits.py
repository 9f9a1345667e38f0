"""Permits that accounts were asked for, and gave."""

from dataclasses import replace

from keeper.model import Address, Permit, SignedPermit
from keeper.store.audit import trail
from keeper.store.database import Database
from keeper.store.permits import MOST_ASKED, SqlPermits
from keeper.units import UINT256_MAX
from tests.store.builders import Clock

ALICE, BOB = Address("0x" + "a1" * 20), Address("0x" + "b0" * 20)
WETH, WBTC = Address("0x" + "e4" * 20), Address("0x" + "bc" * 20)
PERMIT = Permit(
    chain_id=31_337,
    token=WETH,
    owner=ALICE,
    spender=Address("0x" + "d1" * 20),
    value=UINT256_MAX,
    nonce=UINT256_MAX,
    deadline=UINT256_MAX,
)


def hashed(nth: int) -> bytes:
    return nth.to_bytes(32, "big")


def signed(permit: Permit, nth: int = 7) -> SignedPermit:
    return SignedPermit(permit=permit, v=28, r=hashed(nth), s=b"\xff" * 32)


async def test_what_was_asked_is_remembered_the_newest_first_and_no_more_than_a_few(
    database: Database, clock: Clock
) -> None:
    permits = SqlPermits(database)
    many = [replace(PERMIT, value=n) for n in range(MOST_ASKED + 3)]
    for n, one in enumerate(many):
        clock.at += 1
        await permits.ask(one, hashed(n))
    await permits.ask(replace(PERMIT, token=WBTC), hashed(100))
    await permits.ask(replace(PERMIT, chain_id=1), hashed(101))
    await permits.ask(replace(PERMIT, owner=BOB), hashed(102))

    found = await permits.asked(31_337, ALICE)

    assert [one.value for one in found if one.token == WETH] == [
        one.value for one in reversed(many[3:])
    ]
    assert [one for one in found if one.token == WBTC] == [replace(PERMIT, token=WBTC)]
    assert await permits.signed(31_337) == ()


async def test_a_signed_one_is_the_only_one_of_its_token_and_comes_back_whole(
    database: Database,
) -> None:
    permits = SqlPermits(database)
    await permits.keep(signed(replace(PERMIT, value=5)), hashed(1), by="command")
    await permits.ask(PERMIT, hashed(2))
    await permits.ask(replace(PERMIT, value=6), hashed(3))
    other = signed(replace(PERMIT, token=WBTC), 9)
    await permits.keep(other, hashed(4), by="command")

    await permits.keep(signed(PERMIT), hashed(2), by="command")

    assert set(await permits.signed(31_337)) == {other, signed(PERMIT)}
    assert await permits.signed(1) == ()
    assert await permits.asked(31_337, ALICE) == ()
    where = {"token": WETH, "owner": ALICE, "spender": PERMIT.spender}
    assert await permits.of(31_337, **where) == signed(PERMIT)
    assert await permits.of(31_337, **{**where, "owner": BOB}) is None
    assert await permits.of(31_337, **{**where, "spender": BOB}) is None
    assert await permits.of(1, **where) is None


async def test_asking_again_does_not_take_a_signature_away(database: Database) -> None:
    permits = SqlPermits(database)
    await permits.keep(signed(PERMIT), hashed(2), by="command")

    await permits.ask(PERMIT, hashed(2))
    await permits.ask(replace(PERMIT, value=1), hashed(3))

    assert await permits.signed(31_337) == (signed(PERMIT),)


async def test_keeping_and_forgetting_are_in_the_audit_trail_without_the_signature(
    database: Database,
) -> None:
    permits = SqlPermits(database)
    await permits.keep(signed(PERMIT), hashed(2), by="command")
    await permits.ask(replace(PERMIT, value=1), hashed(3))
    await permits.keep(signed(replace(PERMIT, owner=BOB)), hashed(4), by="command")

    gone = [await permits.forget(31_337, ALICE, WETH, by="command") for _ in range(2)]

    assert gone == [1, 0]
    assert await permits.asked(31_337, ALICE) == ()
    assert [one.permit.owner for one in await permits.signed(31_337)] == [BOB]
    events = sorted((entry.event for entry in await trail(database, 10)), key=lambda e: e.event)
    assert [e.event for e in events] == ["permit.forgotten", "permit.kept", "permit.kept"]
    assert events[0].fields["value"] == str(UINT256_MAX)
    assert not {"r", "s", "v", "signature"} & set(events[0].fields)
