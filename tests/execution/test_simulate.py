"""Simulation with and without `eth_simulateV1`."""

from dataclasses import replace
from typing import Any

import pytest

from keeper.errors import BadAnswer, RpcError, SimulationReverted
from keeper.execution.simulate import Simulated, Simulator
from keeper.model import Call, Supposed
from tests.execution.fakes import SELECTOR, SIGNER, TARGET, FakeChain, health_call, intent

CALL = Call(to=TARGET, data=SELECTOR + bytes(32))


async def run(chain: FakeChain, simulator: Simulator | None = None) -> Simulated:
    probe = health_call(intent(7, chain.head))
    return await (simulator or Simulator(chain)).run(
        SIGNER.address, CALL, probe, chain.head, in_flight=(CALL,)
    )


async def test_a_simulation_says_gas_and_the_health_afterwards() -> None:
    simulated = await run(FakeChain(gas_used=200_003))

    # 200003 * 1.3 = 260003.9 -> 260004, and the margin
    assert simulated.gas_limit == 260_004 + 20_000
    assert simulated.probe == (1_500_000_000_000_000_000).to_bytes(32, "big")


async def test_further_reads_are_answered_in_the_same_request_and_in_their_order() -> None:
    class Counts(FakeChain):
        """Each read finds another health, and the second of them fails."""

        async def call(self, method: str, params: list[Any], /) -> Any:
            answer = await super().call(method, params)
            for number, read in enumerate(answer[0]["calls"][2:], start=1):
                read["returnData"] = "0x" + number.to_bytes(32, "big").hex()
                read["status"] = hex(number != 2)
            return answer

    chain = Counts()
    reads = [health_call(intent(n, chain.head)) for n in (7, 8, 9)]

    simulator = Simulator(chain)
    both = await simulator.run(SIGNER.address, CALL, reads[0], chain.head, (CALL,), further=reads)
    only = await simulator.run(SIGNER.address, CALL, None, chain.head, (CALL,), further=reads)

    one, three, four = (n.to_bytes(32, "big") for n in (1, 3, 4))
    assert (both.probe, both.further) == (one, (None, three, four))
    assert (only.probe, only.further) == (None, (one, None, three))
    assert chain.calls == ["eth_simulateV1"] * 2


async def test_without_simulate_v1_further_reads_say_nothing() -> None:
    chain = FakeChain(has_simulate_v1=False)
    reads = [health_call(intent(n, chain.head)) for n in (7, 8)]

    simulated = await Simulator(chain).run(SIGNER.address, CALL, None, chain.head, further=reads)

    assert simulated.further == (None, None)


async def test_the_gas_limit_never_passes_what_a_transaction_or_a_block_may_have() -> None:
    assert Simulated(gas_used=29_000_000, probe=None).gas_limit == 2**24
    assert Simulated(gas_used=9_000_001, probe=None, block_gas_limit=10_000_000).gas_limit == 10**7


async def test_a_revert_is_raised_with_its_reason_in_words() -> None:
    chain = FakeChain(revert_data=bytes.fromhex("930bb771"))

    with pytest.raises(SimulationReverted, match="would revert: health factor not below threshold"):
        await run(chain)


async def test_an_earlier_action_that_would_revert_does_not_speak_for_this_one() -> None:
    class FirstFails(FakeChain):
        async def call(self, method: str, params: list[Any], /) -> Any:
            answer = await super().call(method, params)
            answer[0]["calls"][0]["status"] = "0x0"
            return answer

    assert (await run(FirstFails())).probe is not None


async def test_a_node_without_simulate_v1_is_asked_the_old_way_and_not_asked_again() -> None:
    chain = FakeChain(has_simulate_v1=False, gas_used=200_003)
    simulator = Simulator(chain)

    first = await run(chain, simulator)
    await run(chain, simulator)

    assert first.gas_limit == 260_004 + 20_000
    assert first.probe is None
    assert chain.calls.count("eth_simulateV1") == 1


async def test_a_revert_is_told_the_old_way_too() -> None:
    chain = FakeChain(has_simulate_v1=False, revert_data=bytes.fromhex("930bb771"))

    with pytest.raises(SimulationReverted, match="health factor not below threshold"):
        await run(chain)


async def test_a_node_that_cannot_say_is_not_read_as_success() -> None:
    with pytest.raises(RpcError, match="gone"):
        await run(FakeChain(read_fault=RpcError("gone")))


@pytest.mark.parametrize("answer", [None, [], [{}], [{"calls": []}], [{"calls": [1, 2, 3]}], "0x"])
async def test_nonsense_is_a_bad_answer(answer: object) -> None:
    class Nonsense(FakeChain):
        async def call(self, method: str, params: list[object], /) -> object:
            return answer

    with pytest.raises(BadAnswer):
        await run(Nonsense())


# --- beforehand -------------------------------------------------------------------------------

AFTER_IT, WITHOUT_IT = (973_210_000_000_000_001,), (1_000_310_000_000_000_007,)
ORACLE = Supposed(sender=SIGNER.address, to=TARGET, data=b"\x20\x2e\xe0\xed")


async def prepared(chain: FakeChain, simulator: Simulator) -> Call:
    """Simulate for the next block, 12 s after the head; return its health read."""
    head = chain.head
    probe = health_call(intent(7, head))
    await simulator.prepare(
        SIGNER.address,
        CALL,
        probe,
        parent=head,
        after=(ORACLE,),
        timestamp=head.timestamp + 12,
        state=AFTER_IT,
    )
    return probe


async def test_what_was_prepared_for_this_very_block_is_not_asked_again() -> None:
    chain = FakeChain(gas_used=200_003)
    simulator = Simulator(chain)
    probe = await prepared(chain, simulator)
    asked = len(chain.calls)

    simulated = await simulator.run(SIGNER.address, CALL, probe, chain.mine(), state=AFTER_IT)

    assert simulated.gas_limit == 260_004 + 20_000
    assert simulated.probe is not None
    assert len(chain.calls) == asked


@pytest.mark.parametrize("how", ["grandchild", "second", "bytes", "in flight", "state"])
async def test_what_was_prepared_is_good_for_nothing_else(how: str) -> None:
    chain = FakeChain()
    simulator = Simulator(chain)
    probe = await prepared(chain, simulator)
    asked = chain.calls.count("eth_simulateV1")
    block, call, in_flight = chain.mine(), CALL, ()
    if how == "grandchild":
        block = replace(chain.mine(), timestamp=block.timestamp)
    if how == "second":
        block = replace(block, timestamp=block.timestamp + 1)
    if how == "bytes":
        call = replace(CALL, data=CALL.data + b"\x01")

    await simulator.run(
        SIGNER.address,
        call,
        probe,
        block,
        (CALL,) if how == "in flight" else in_flight,
        state=WITHOUT_IT if how == "state" else AFTER_IT,
    )

    assert chain.calls.count("eth_simulateV1") == asked + 1


async def test_what_would_revert_behind_the_update_is_not_kept() -> None:
    chain = FakeChain(revert_data=bytes.fromhex("930bb771"))
    simulator = Simulator(chain)

    with pytest.raises(SimulationReverted):
        await prepared(chain, simulator)

    probe = health_call(intent(7, chain.head))
    assert simulator.prepared(SIGNER.address, CALL, probe, chain.mine(), AFTER_IT) is None
