"""Who looks on is told of everybody; a price in doubt makes nobody look healthy."""

from types import SimpleNamespace
from typing import Any

from keeper.engine.spread import spread_of
from keeper.units import WAD, Wad
from tests.protocols.aave_v3 import builders as b
from tests.risk.test_screen import account, book_of
from tests.risk.test_spread import borrower


def test_who_uses_a_price_in_doubt_is_unknown_and_not_healthy() -> None:
    view = b.view()
    other = b.holdings(b.collateral(b.WBTC, 10**8), b.debt(b.DAI, 10**18), account=account(2))
    sources = [(r.id, r.asset, r.asset.address) for r in b.RESERVES]
    weth = next(asset for reserve, asset, _ in sources if reserve == b.WETH)
    market: Any = SimpleNamespace(
        book=book_of(borrower(1, 1_000), other),
        market=None,
        adapter=SimpleNamespace(sources=lambda _: sources),
    )
    reading: Any = SimpleNamespace(
        view=view,
        block=b.BLOCK,
        unreadable=(),
        prices=(SimpleNamespace(asset=weth, usable=False),),
    )

    found = spread_of(market, reading, (Wad(WAD),))

    assert (found.accounts, found.unknown) == (2, 1)
    assert found.block_number == b.BLOCK.number
    reading.unreadable = ((account(2), "no answer"),)
    assert spread_of(market, reading, (Wad(WAD),)).unknown == 2
