"""What a market that is read before and after governance acted is said to differ in."""

from dataclasses import replace

from keeper.engine.changes import Comparison, last_read
from keeper.model import Asset
from keeper.protocols.aave_v3.adapter import AaveV3
from keeper.units import Base
from tests.protocols.aave_v3 import builders as b


def test_another_asset_under_a_dropped_ones_id_is_no_change_of_its_price() -> None:
    market = b.market()
    asset = Asset(address=b.number(0xFE5), symbol="NEW", decimals=18)
    relisted = replace(
        market,
        reserves=tuple(
            replace(r, asset=asset, a_token=b.number(0xA70)) if r.id == b.DAI else r
            for r in market.reserves
        ),
    )
    prices = list(b.observed(market).prices)
    prices[b.DAI] = Base(31_415_926_535)
    after = (relisted, b.observed(relisted, prices=dict(enumerate(prices))))
    holdings = b.holdings(b.collateral(b.WETH, 10**18), b.debt(b.USDC, 10**9))
    comparison = Comparison(
        AaveV3(market_id=b.MARKET, provider=market.provider), (b.ALICE,), lambda _: holdings
    )

    found = comparison.would(last_read(b.BLOCK, (market, b.observed(market)), ()), b.BLOCK, after)

    assert found is not None
    assert [str(change) for change in found.changes] == [
        "DAI: listed yes -> no",
        "NEW: listed no -> yes",
    ]
    assert found.effects == ()
