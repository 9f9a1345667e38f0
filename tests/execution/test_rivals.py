"""Who else is asked, how long they are waited for, and which sale is taken."""

import asyncio
from dataclasses import dataclass, field, replace

import pytest

from keeper.errors import ExecutionError, KeeperError, SimulationReverted, Unprofitable
from keeper.execution import rivals as rivals_module
from keeper.execution.choosing import Tried, choose, proved
from keeper.execution.data_fee import DataFee
from keeper.execution.flash import Funded
from keeper.execution.liquidator import word
from keeper.execution.rivals import REVERTS_MOST, Refused, Rivals
from keeper.execution.routes import Sale
from keeper.execution.simulate import Simulated
from keeper.execution.worth import Worth
from keeper.model import (
    Address,
    Asset,
    BlockRef,
    Call,
    Funding,
    Intent,
    IntentKind,
    Offer,
    Sought,
    Submitted,
)
from keeper.units import Base, Bps, Raw, Wei
from tests.execution.fakes import TARGET, USDC, FakeChain, FakeView, intent
from tests.execution.rig import Rig

ROUTER = Address("0x" + "ab" * 20)
WETH = Asset(address=Address("0x" + "e1" * 20), symbol="WETH", decimals=18)


@dataclass
class Source:
    """Answers after a while, or refuses."""

    name: str
    patience_s: float = 0.05
    takes_s: float = 0.0
    refusal: str = ""
    asked: list[float] = field(default_factory=list)

    async def offer(self, sought: Sought) -> Offer:
        self.asked.append(asyncio.get_running_loop().time())
        await asyncio.sleep(self.takes_s)
        if self.refusal:
            raise ExecutionError(self.refusal)
        return Offer(
            source=self.name, bought=7, target=ROUTER, spender=ROUTER, data=b"", valid_until=9
        )


def sought(block: BlockRef) -> Sought:
    return Sought(
        chain_id=1,
        sell=WETH.address,
        buy=USDC.address,
        amount=7,
        block=block,
        caller=TARGET,
        origin=TARGET,
        max_slippage=Bps(100),
    )


async def test_all_are_asked_at_once_and_nobody_spoils_anothers_offer() -> None:
    good, bad, late = Source("good"), Source("bad", refusal="bad: no."), Source("late", takes_s=60)

    found = await Rivals([good, bad, late]).offers(sought(FakeChain().head))

    assert isinstance(found[0], Offer)
    assert found[1] == Refused(source="bad", reason="bad: no.")
    assert found[2] == Refused(source="late", reason="this block's time for asking was over")
    assert len(good.asked) == len(bad.asked) == len(late.asked) == 1


async def test_a_source_that_breaks_in_an_unforeseen_way_is_a_refusal() -> None:
    class Broken(Source):
        async def offer(self, sought: Sought) -> Offer:
            raise OverflowError("date value out of range")

    [found] = await Rivals([Broken("odd")]).offers(sought(FakeChain().head))

    assert found == Refused(
        source="odd",
        reason="its answer could not be taken (OverflowError: date value out of range)",
    )


async def test_fifty_sales_in_one_block_wait_no_longer_than_one() -> None:
    """Counted in the loop's own time: of fifty one after another only the first one waits."""
    chain = FakeChain()
    source = Source("slow", takes_s=60)
    rivals = Rivals([source])
    loop = asyncio.get_running_loop()
    waited = []
    for _ in range(50):
        began_at = loop.time()
        await rivals.offers(sought(chain.head))
        waited.append(loop.time() - began_at >= source.patience_s)
    before = len(source.asked)
    await rivals.offers(sought(chain.mine()))

    assert waited == [True] + [False] * 49
    assert len(source.asked) == before + 1  # the next block begins anew


async def test_who_is_taken_out_of_several_is_waited_for_once_more_in_a_block() -> None:
    chain = FakeChain()
    rivals, loop = Rivals([Source("slow", takes_s=60)]), asyncio.get_running_loop()

    async def waits() -> bool:
        began_at = loop.time()
        await rivals.offers(sought(chain.head))
        return loop.time() - began_at >= 0.05

    assert rivals.may_answer(chain.head)
    assert [await waits(), await waits()] == [True, False]
    assert rivals.may_answer(chain.head)
    rivals.ask_again(chain.head)
    assert [await waits(), await waits()] == [True, False]
    assert not rivals.may_answer(chain.head)
    rivals.ask_again(chain.head)
    assert not await waits()

    assert rivals.may_answer(chain.mine())
    assert await waits()


async def test_whose_sales_revert_one_after_the_other_is_left_alone_for_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bad, good = Source("bad"), Source("good")
    rivals, chain = Rivals([bad, good]), FakeChain()
    for _ in range(REVERTS_MOST - 1):
        rivals.mined("bad", succeeded=False)
    rivals.mined("bad", succeeded=True)  # a race that was lost is no pattern
    for _ in range(REVERTS_MOST - 1):
        rivals.mined("bad", succeeded=False)
    assert all(isinstance(o, Offer) for o in await rivals.offers(sought(chain.head)))

    rivals.mined("bad", succeeded=False)
    resting, other = await rivals.offers(sought(chain.mine()))
    assert isinstance(resting, Refused)
    assert resting.reason == "3 of its sales reverted in a row: it is left alone for 600 s"
    assert isinstance(other, Offer)
    assert len(bad.asked) == 1

    rivals.mined("bad", succeeded=True)  # the last of those that were on their way did well
    assert all(isinstance(o, Offer) for o in await rivals.offers(sought(chain.mine())))
    for _ in range(REVERTS_MOST):
        rivals.mined("bad", succeeded=False)
    assert isinstance((await rivals.offers(sought(chain.mine())))[0], Refused)

    monkeypatch.setattr(rivals_module, "REST_S", 0.0)
    rivals.mined("bad", succeeded=False)  # the rest is over
    assert all(isinstance(o, Offer) for o in await rivals.offers(sought(chain.mine())))


class Offering:
    """A lender whose sales are all offered by somebody, or are all its own."""

    def __init__(self, most: Base | None) -> None:
        self.most = most
        self.told: list[tuple[str, bool]] = []

    async def fund(self, intent: Intent, view: FakeView, **_: object) -> Funded:
        to, data = view.encode(intent)
        call = Call(to=to, data=data)
        made = funded("other", int(intent.expected_profit))
        return replace(made, intent=intent, call=call, most=self.most)

    def took(self, *_: object) -> None: ...

    def left(self, *_: object) -> None: ...

    def has_rivals(self, kind: IntentKind) -> bool:
        return kind is IntentKind.LIQUIDATE

    async def rivals(self, *_: object, **__: object) -> tuple[Funded | Refused, ...]:
        return ()

    def may_answer(self, kind: IntentKind, block: BlockRef) -> bool:
        return True

    def ask_again(self, block: BlockRef) -> None: ...

    def mined(self, kind: IntentKind, source: str, *, succeeded: bool) -> None:
        assert kind is IntentKind.LIQUIDATE
        self.told.append((source, succeeded))


@pytest.mark.parametrize("offered", [True, False])
async def test_whoever_offered_a_sale_is_told_what_the_chain_made_of_it(offered: bool) -> None:
    lender = Offering(Base(10**12) if offered else None)
    rig = Rig(wiring={"flash": lender})
    for number, good in enumerate((True, False), 1):
        rig.chain.mined_ok = good
        head = rig.chain.head
        wanted = replace(intent(number, head, IntentKind.LIQUIDATE), funding=Funding.FLASH)
        assert isinstance(await rig.executor.submit(wanted, FakeView(block=head)), Submitted)
        await rig.blocks(4)

    assert lender.told == ([("other", True), ("other", False)] if offered else [])


def funded(source: str, profit: int = 0, floor: int = 10**8) -> Funded:
    wanted = replace(
        intent(1, FakeChain().head, IntentKind.LIQUIDATE),
        collateral=WETH,
        expected_profit=Base(profit),
        reason="it is below 1",
    )
    return Funded(
        intent=wanted,
        call=Call(to=TARGET, data=b""),
        sale=Sale(hops=(), amounts=(), cost=7),
        premium=Raw(0),
        min_profit=Base(floor),
        native_price=Base(2_000 * 10**8),
        words="7 WETH",
        source=source,
        worth=Worth(
            collateral=WETH,
            collateral_price=Base(2_000 * 10**8),
            debt=USDC,
            debt_price=Base(10**8),
        ),
    )


def tried(source: str, output: bytes, gas: int = 500_000, profit: int = 0) -> Tried:
    one = funded(source, profit)
    return Tried(
        call=one.call,
        simulated=Simulated(gas_used=gas, probe=None, output=output),
        fee=DataFee(),
        funded=one,
    )


def over(dollars: int) -> bytes:
    """What ``liquidateOver`` answers: a dollar in Ether, the rest in the debt."""
    return word(10**18 // 2_000) + word((dollars - 1) * 10**6)


PRICE = Wei(10**9)  # 500,000 gas are 0.0005 coins, a dollar


def certain(source: str, output: bytes, gas: int = 500_000) -> Tried:
    way = proved(tried(source, output, gas), PRICE)
    assert isinstance(way, Tried), way
    return way


def test_what_leaves_most_by_simulation_after_gas_is_taken() -> None:
    pools = tried("Uniswap v3", word(10 * 10**18 // 2_000), profit=99 * 10**8)  # it boasts
    better, dearer = certain("0x", over(12)), certain("1inch", over(13), gas=1_500_000)

    best = choose(pools, [better, dearer], PRICE)

    assert best.funded is not None
    assert best.funded.source == "0x"
    assert best.funded.intent.expected_profit == 12 * 10**8
    assert best.funded.intent.reason == (
        "it is below 1, profit 12.00 USD before gas; by 0x, others:"
        " Uniswap v3 leaves 9.00 USD after gas; 1inch leaves 10.00 USD after gas"
    )


def test_the_pools_are_taken_where_another_leaves_the_same() -> None:
    pools = tried("Uniswap v3", word(10 * 10**18 // 2_000))

    best = choose(pools, [certain("0x", over(10))], PRICE)

    assert best.call == pools.call
    assert best.funded is not None
    assert best.funded.source == "Uniswap v3"
    assert best.funded.intent.reason.endswith(
        "; by Uniswap v3, others: 0x leaves 9.00 USD after gas"
    )


def test_a_simulation_that_leaves_more_than_was_offered_is_not_believed_beyond_it() -> None:
    """Whoever is called can be generous in a simulation and to the letter on chain."""
    boasting = tried("0x", over(1_000_000))
    assert boasting.funded is not None
    kept = replace(boasting, funded=replace(boasting.funded, most=Base(9 * 10**8)))
    way = proved(kept, PRICE)
    pools = tried("Uniswap v3", word(10 * 10**18 // 2_000))

    assert isinstance(way, Tried)
    assert way.funded is not None
    assert way.funded.intent.expected_profit == 9 * 10**8
    assert choose(pools, [way], PRICE).call == pools.call


def test_a_simulation_that_says_nothing_confirms_nothing() -> None:
    for output in (b"", b"\x01", word(1) * 3):
        way = proved(tried("0x", output, profit=10**12), PRICE)

        assert isinstance(way, Refused)
        assert "not what it left" in way.reason
    # of Uniswap's the quote stands, as without others
    assert tried("Uniswap v3", b"", profit=7).profit == 7


def test_what_leaves_less_than_the_floor_is_refused_with_the_numbers() -> None:
    way = proved(tried("0x", over(1)), PRICE)

    assert isinstance(way, Refused)
    assert "gas about 1.00 USD: 0.00 USD is below the floor of 1.00 USD" in way.reason


def test_where_the_pools_sell_nothing_another_does_and_where_nobody_does_all_is_said() -> None:
    no_pool = ExecutionError("No pool buys it.")
    best = choose(no_pool, [certain("0x", over(5))], PRICE)
    assert best.funded is not None
    assert best.funded.intent.reason.endswith("; by 0x, others: Uniswap v3: No pool buys it")

    for error in (no_pool, Unprofitable("Not worth it."), SimulationReverted("It would revert.")):
        with pytest.raises(type(error)) as caught:
            choose(error, [Refused(source="0x", reason="0x: HTTP 500.")], PRICE)
        assert str(caught.value) == f"{error} 0x: HTTP 500."
    with pytest.raises(KeeperError) as alone:
        choose(no_pool, [], PRICE)
    assert alone.value is no_pool
