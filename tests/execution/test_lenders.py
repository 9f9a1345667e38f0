"""Which contract funds which intent, and who hears that a sale is on its way."""

from dataclasses import replace
from typing import Any

import pytest

from keeper.errors import ExecutionError
from keeper.execution.flash import Funded
from keeper.execution.lenders import REMEMBERED, Lenders
from keeper.execution.routes import Sale
from keeper.model import BlockRef, Call, Intent, IntentKind
from keeper.ports import MarketView
from keeper.units import Raw
from tests.execution.fakes import TARGET, FakeChain, FakeView, intent

SALE = Sale(hops=(), amounts=(), cost=7)


class Till:
    """A lender that writes down what it was asked and told."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.told: list[str] = []

    async def fund(self, intent: Intent, view: MarketView, **how: Any) -> Funded:
        self.asked.append(intent.intent_id)
        return Funded(
            intent=intent,
            call=Call(to=TARGET, data=b""),
            sale=SALE,
            premium=Raw(0),
            min_profit=None,
            native_price=None,
            words="",
        )

    def took(self, intent_id: str, block: BlockRef, sale: Sale) -> None:
        self.told.append(intent_id)

    def left(self, intent_id: str) -> None:
        self.told.remove(intent_id)


async def test_each_kind_has_its_lender_and_it_hears_of_its_own_sales() -> None:
    liquidating, deleveraging = Till(), Till()
    lenders = Lenders({IntentKind.LIQUIDATE: liquidating, IntentKind.DELEVERAGE: deleveraging})
    head = FakeChain().head
    first = replace(intent(1, FakeChain().head), kind=IntentKind.LIQUIDATE)
    second = replace(intent(2, FakeChain().head), kind=IntentKind.DELEVERAGE)

    for one in (first, second):
        await lenders.fund(one, FakeView(head))
    for one in (second, first):
        lenders.took(one.intent_id, head, SALE)
    lenders.took("never funded", head, SALE)

    assert liquidating.asked == liquidating.told == [first.intent_id]
    assert deleveraging.asked == deleveraging.told == [second.intent_id]
    lenders.left(first.intent_id)
    lenders.left("never funded")
    assert liquidating.told == []
    assert deleveraging.told == [second.intent_id]


async def test_a_kind_without_a_contract_is_refused_in_words() -> None:
    lenders = Lenders({IntentKind.LIQUIDATE: Till()})
    wanted = replace(intent(1, FakeChain().head), kind=IntentKind.DELEVERAGE)

    with pytest.raises(ExecutionError, match="no contract for a deleverage is configured"):
        await lenders.fund(wanted, FakeView(FakeChain().head))


async def test_it_remembers_no_more_than_it_needs() -> None:
    till = Till()
    lenders = Lenders({IntentKind.LIQUIDATE: till})
    head = FakeChain().head
    many = [
        replace(intent(1, FakeChain().head), kind=IntentKind.LIQUIDATE, intent_id=f"{i:016x}")
        for i in range(REMEMBERED + 1)
    ]
    for one in many:
        await lenders.fund(one, FakeView(head))

    for one in (many[0], many[1], many[-1]):
        lenders.took(one.intent_id, head, SALE)

    assert till.told == [many[1].intent_id, many[-1].intent_id]
