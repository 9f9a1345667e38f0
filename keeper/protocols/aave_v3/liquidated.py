"""What a `LiquidationCall` log says: who took what from whom.

Source: aave-dao/aave-v3-origin, ``IPool.LiquidationCall``; the same event from 3.0 to 3.7.  Its
collateral amount is what the liquidator received: the protocol's fee is not in it.
"""

from collections.abc import Iterator, Sequence

from keeper.model import Address, BlockRef, Hash, Liquidated, Log, PositionId
from keeper.protocols.aave_v3 import topics
from keeper.protocols.aave_v3.codec import WORD
from keeper.protocols.aave_v3.market import Market
from keeper.units import Raw


def liquidations(market: Market, block: BlockRef, logs: Sequence[Log]) -> tuple[Liquidated, ...]:
    """Return the liquidations of this market in `logs`, in their order.

    A log that is not laid out as the event, or names a token the market does not list, is left
    out: it tells nothing that a Pool of Aave's could have said.
    """
    return tuple(_liquidations(market, block, logs))


def _liquidations(market: Market, block: BlockRef, logs: Sequence[Log]) -> Iterator[Liquidated]:
    listed = {r.asset.address: r.asset for r in market.reserves}
    for log in logs:
        if log.address != market.pool or log.topics[:1] != (topics.LIQUIDATION_CALL,):
            continue
        if len(log.topics) != 4 or len(log.data) != 4 * WORD:
            continue
        collateral, debt, account = (_address(topic) for topic in log.topics[1:])
        if collateral not in listed or debt not in listed:
            continue
        covered, seized = (int.from_bytes(log.data[at : at + WORD], "big") for at in (0, WORD))
        yield Liquidated(
            position=PositionId(market=market.id, account=account),
            block=block,
            log_index=log.log_index,
            liquidator=Address("0x" + log.data[2 * WORD + 12 : 3 * WORD].hex()),
            collateral=listed[collateral],
            debt=listed[debt],
            covered=Raw(covered),
            seized=Raw(seized),
        )


def _address(topic: Hash) -> Address:
    return Address("0x" + topic[-40:])
