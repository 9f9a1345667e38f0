"""Private first, public by policy, and never two nonces for one intent.

The relay is a stand-in: it keeps what it is given and puts it into the chain's next block if told.
"""

import random
from dataclasses import dataclass, field
from typing import Any

import pytest

from keeper.errors import RpcError
from keeper.execution.sending import PrivateRoute
from keeper.execution.transaction import SignedTx, decode_signed, is_cancellation
from keeper.model import Abandoned, Confirmed, IntentKind, Outcome
from tests.execution.fakes import SIGNER, FakeChain
from tests.execution.rig import Rig


@dataclass
class Relay:
    """Shows nothing to the public pool."""

    name: str = "https://relay.example"
    given: list[SignedTx] = field(default_factory=list)
    kept: dict[int, SignedTx] = field(default_factory=dict)
    fault: str = ""
    """``refused``, ``lost reply`` or ``black hole``."""

    async def send_private(self, raw: bytes, after_block: int) -> None:
        signed = decode_signed(raw)
        if self.fault == "refused":
            raise RpcError("the relay is full")
        self.given.append(signed)
        if self.fault != "black hole":
            self.kept[signed.tx.nonce] = signed
        if self.fault == "lost reply":
            raise RpcError("the relay did not answer")

    def build(self, chain: FakeChain) -> None:
        """Let a builder take what is kept: where both have the nonce, its own is chosen."""
        chain.pool.update({n: tx for n, tx in self.kept.items() if n >= chain.nonce()})
        self.kept.clear()


class Private:
    """A rig whose top-ups go to a relay."""

    def __init__(self, public_after: int | None) -> None:
        self.relay = Relay()
        route = PrivateRoute(
            relay=self.relay, kinds=frozenset({IntentKind.TOP_UP}), public_after=public_after
        )
        self.rig = Rig(wiring={"private": route})

    async def blocks(self, count: int, *, build: bool) -> list[Outcome]:
        outcomes: list[Outcome] = []
        for _ in range(count):
            if build:
                self.relay.build(self.rig.chain)
            outcomes += await self.rig.block(include=True)
        return outcomes

    def public(self) -> list[SignedTx]:
        """What the public pool saw of the actions themselves."""
        return [s for s in self.rig.chain.sent if not is_cancellation(s.tx, SIGNER.address)]


async def test_what_is_private_is_mined_without_the_public_pool_seeing_it() -> None:
    there = Private(None)
    await there.rig.submit()

    outcomes = await there.blocks(4, build=True)

    assert [type(o) for o in outcomes] == [Confirmed]
    assert there.rig.chain.sent == []
    assert len({s.tx_hash for s in there.relay.given}) == 1


async def test_at_each_block_it_is_handed_over_again_as_a_bundle_must_be() -> None:
    there = Private(None)
    await there.rig.submit()

    await there.blocks(3, build=False)

    assert len(there.relay.given) >= 3
    assert there.public() == []


@pytest.mark.parametrize("fault", ["refused", "black hole", "lost reply"])
async def test_after_its_blocks_the_same_nonce_goes_public(fault: str) -> None:
    there = Private(3)
    there.relay.fault = fault
    await there.rig.submit()

    await there.blocks(2, build=False)
    assert there.public() == []
    outcomes = await there.blocks(5, build=False)

    assert [type(o) for o in outcomes] == [Confirmed]
    assert {s.tx.nonce for s in there.public()} == {0}
    assert len(there.rig.chain.executed()) == 1


async def test_never_public_it_is_cancelled_after_its_deadline_and_only_that_is_public() -> None:
    there = Private(None)
    there.relay.fault = "black hole"
    await there.rig.submit()

    outcomes = await there.blocks(24, build=False)

    assert [type(o) for o in outcomes] == [Abandoned]
    assert there.public() == []
    assert there.rig.chain.executed() == [b""]


async def test_an_orphaned_private_transaction_goes_to_the_relay_again_and_not_to_all() -> None:
    there = Private(None)
    await there.rig.submit()
    await there.blocks(1, build=True)
    assert len(there.rig.chain.executed()) == 1

    there.rig.chain.reorg(1, keep=False)
    await there.rig.executor.settle(there.rig.chain.head)
    given = len(there.relay.given)
    outcomes = await there.blocks(6, build=True)

    assert given >= 2
    assert [type(o) for o in outcomes] == [Confirmed]
    assert there.rig.chain.sent == []
    assert {s.tx.nonce for s in there.relay.given} == {0}


async def test_what_is_not_meant_for_the_relay_goes_to_the_node() -> None:
    there = Private(None)
    route: dict[str, Any] = there.rig.wiring
    private = route["private"]
    route["private"] = PrivateRoute(
        relay=private.relay, kinds=frozenset({IntentKind.LIQUIDATE}), public_after=None
    )
    there.rig.restart()

    await there.rig.submit()

    assert len(there.public()) == 1
    assert there.relay.given == []


@pytest.mark.parametrize("seed", range(30))
async def test_whatever_relay_and_chain_do_no_intent_has_two_nonces_or_runs_twice(
    seed: int,
) -> None:
    chance = random.Random(seed)
    there = Private(chance.choice((None, 1, 3)))
    rig, relay = there.rig, there.relay
    for number in (1, 2, 3):
        await rig.submit(number)
    for _ in range(30):
        relay.fault = chance.choice(("", "", "refused", "black hole", "lost reply"))
        if chance.random() < 0.15:
            rig.restart()
            await rig.executor.recover(rig.chain.head)
        if chance.random() < 0.2 and len(rig.chain.blocks) > 3:
            rig.chain.reorg(chance.randint(1, 2), keep=chance.random() < 0.5)
            await rig.executor.settle(rig.chain.head)
        await there.blocks(1, build=chance.random() < 0.5)
    relay.fault = ""
    await there.blocks(30, build=True)

    nonces: dict[bytes, set[int]] = {}
    for signed in (*relay.given, *rig.chain.sent):
        if not is_cancellation(signed.tx, SIGNER.address):
            nonces.setdefault(signed.tx.data, set()).add(signed.tx.nonce)
    assert all(len(used) == 1 for used in nonces.values()), nonces
    ran = [data for data in rig.chain.executed() if data]
    assert len(ran) == len(set(ran))
    assert not await rig.journal.open_plans(SIGNER.address)
