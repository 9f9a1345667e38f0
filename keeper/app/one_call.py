"""A transaction of ours that is none of a market's, by the same executor, journal and caps."""

from dataclasses import dataclass

from keeper.model import (
    Address,
    Assessment,
    BlockRef,
    Call,
    Holdings,
    Intent,
    Leg,
    Liquidation,
    MarketId,
)
from keeper.ports import MarketView
from keeper.units import Base, Raw, Wad


@dataclass(frozen=True, slots=True, kw_only=True)
class OneCall:
    """A market's view whose one transaction is `call`: nothing that the market itself knows."""

    of: MarketView
    call: Call

    @property
    def market(self) -> MarketId:
        """The market whose prices say what gas costs."""
        return self.of.market

    @property
    def block(self) -> BlockRef:
        """As the view's."""
        return self.of.block

    def assess(self, holdings: Holdings) -> Assessment:
        """As the view's."""
        return self.of.assess(holdings)

    def price_of(self, asset: Address) -> Base | None:
        """As the view's."""
        return self.of.price_of(asset)

    def supply_to_reach(self, holdings: Holdings, leg: Leg, target: Wad) -> Raw | None:
        """As the view's."""
        return self.of.supply_to_reach(holdings, leg, target)

    def repay_to_reach(self, holdings: Holdings, leg: Leg, target: Wad) -> Raw:
        """As the view's."""
        return self.of.repay_to_reach(holdings, leg, target)

    def liquidations(self, holdings: Holdings) -> tuple[Liquidation, ...]:
        """As the view's."""
        return self.of.liquidations(holdings)

    def liquidation_at_most(
        self, holdings: Holdings, of: Liquidation, debt_to_cover: Raw
    ) -> Liquidation | None:
        """As the view's."""
        return self.of.liquidation_at_most(holdings, of, debt_to_cover)

    def encode(self, intent: Intent) -> tuple[Address, bytes]:
        """Return the call, whatever the intent says."""
        del intent
        return self.call.to, self.call.data
