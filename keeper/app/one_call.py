"""A transaction of ours that is none of a market's, by the same executor, journal and caps."""

from dataclasses import dataclass

from keeper.app.act import Planned
from keeper.app.chain import OpenChain
from keeper.app.look import read_accounts
from keeper.execution.policy import Permission, Target
from keeper.model import (
    Address,
    Assessment,
    Asset,
    BlockRef,
    Call,
    Holdings,
    Intent,
    IntentKind,
    Leg,
    Liquidation,
    MarketId,
    PositionId,
)
from keeper.ports import MarketView
from keeper.strategies.intents import intent_id
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

    def repay_to_reach(self, holdings: Holdings, leg: Leg, target: Wad) -> Raw | None:
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


async def plan_call(
    chain: OpenChain, call: Call, contract: Address, symbol: str, words: str = ""
) -> Planned:
    """Plan `call`, which makes or changes `contract`; the policy is widened by it and no more.

    `symbol` names the contract, `words` the call, both for people.
    """
    first = next(iter(chain.markets.values()))
    reading = await read_accounts(chain, first, ())
    position = PositionId(market=first.id, account=contract)
    intent = Intent(
        intent_id=intent_id(IntentKind.DEPLOY, position, chain.head),
        kind=IntentKind.DEPLOY,
        position=position,
        block=chain.head,
        asset=Asset(address=contract, symbol=symbol, decimals=0),
        amount=Raw(1),
        value_at_risk=Base(0),
        health_before=Wad(0),
        reason=f"{words}, asked for by command" if words else "asked for by command",
    )
    # a deployment's proxy takes no selector: what a policy sees as one is the salt's beginning
    target = Target(chain_id=chain.config.chain_id, to=call.to, selector=call.data[:4])
    return Planned(
        intent=intent,
        view=OneCall(of=reading.view, call=call),
        before=None,
        needs=((Permission(market=first.id.name, kind=IntentKind.DEPLOY), target),),
    )
