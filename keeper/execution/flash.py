"""From a liquidation to an order for the liquidator contract, with what it leaves.

The debt's token is bought from pools that are paid afterwards, with what is seized: the profit is
in the collateral's token, what is seized less what the pools take.  On chain at least the greater
is insisted on of what is left at the worst slippage allowed, and of what the gas costs: whoever
moves the pools in between cannot make it a loss of more than the gas of a revert.
"""

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Final

from keeper.errors import ExecutionError, PolicyViolation, RpcError, Unprofitable
from keeper.execution import liquidator
from keeper.execution.exchange import Exchange, Hop, encode_path
from keeper.execution.liquidator import Order, encode_order, encode_over
from keeper.execution.node import Node, parse_bytes, pinned
from keeper.execution.over import Need
from keeper.execution.rivals import Asked, Refused, Rivals
from keeper.execution.routes import Routes, Sale
from keeper.execution.worth import Worth
from keeper.model import Address, Asset, BlockRef, Call, Hash, Intent, IntentKind, Sought
from keeper.ports import MarketView, TokenView
from keeper.strategies.text import have, need, usd
from keeper.units import BPS, Base, Bps, Raw, Rounding, Wei, mul_div

FLASHLOAN_PREMIUM_TOTAL: Final = bytes.fromhex("074b2e43")
"""Of the Pool, basis points."""
GAS_GUESS: Final = 500_000
"""Of one liquidation, before it was simulated."""
WEI_PER_NATIVE: Final = 10**18
WORD: Final = 32
NOTHING: Final = Wei(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class FlashRules:
    """What the operator chose."""

    contract: Address
    max_slippage: Bps
    """How much more than quoted the pools may take."""
    min_profit: Base
    """After gas."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Funded:
    """What somebody else pays for, until it pays itself."""

    intent: Intent
    """Its profit is that of the sale, before gas."""
    call: Call
    sale: Sale
    premium: Raw
    min_profit: Base | None
    """After gas; None where nobody looks for a profit."""
    native_price: Base | None
    words: str
    order: Order | None = None
    """What the call packs; None where it cannot go with others."""
    source: str = "Uniswap v3"
    """Who knew the sale."""
    worth: Worth | None = None
    """What the contract's answer to the call is worth; None where it says nothing of the kind."""
    most: Base | None = None
    """What it leaves at the price offered, which the contract insists on less the slippage allowed:
    a simulation that leaves more is not believed beyond it.  None: nobody offered anything."""
    until: int | None = None
    """Chain seconds after which the sale is no longer offered; None: as long as the order is."""

    def judge(self, gas_used: int, price_wei: Wei, data_fee_wei: Wei = NOTHING) -> None:
        """Raise `Unprofitable`, with the numbers, unless enough is left after gas."""
        if self.min_profit is None:
            return
        gas = gas_cost(gas_used, price_wei, self.native_price, data_fee_wei)
        left = Base(self.intent.expected_profit - gas)
        if left < self.min_profit:
            raise Unprofitable(
                f"Not worth it: {self.words}, gas about {usd(gas)}: {usd(left)} is below the floor"
                f" of {usd(self.min_profit)}."
            )


class FlashLoans:
    """Turns liquidations into orders; remembers the sales that are on their way."""

    def __init__(
        self,
        *,
        node: Node,
        exchange: Exchange,
        rules: FlashRules,
        hubs: Callable[[MarketView], Sequence[Address]],
        rivals: Rivals | None = None,
    ) -> None:
        """`hubs`: tokens of a market over which others are sold.  `rivals`: who else is asked."""
        self.contract = rules.contract
        self._node = node
        self._rules = rules
        self._hubs = hubs
        self._routes = Routes(node, exchange)
        self._rivals = rivals
        self._exchange = exchange
        self._checked: set[tuple[Address, Address]] = set()
        self._premiums: dict[Address, tuple[Hash, int]] = {}
        self._sales: dict[str, tuple[Hash, Sale]] = {}

    async def fund(
        self,
        intent: Intent,
        view: MarketView,
        *,
        pool: Address,
        sender: Address,
        in_flight: Collection[str],
        price_wei: Wei,
        native_price: Base | None,
        deadline: int,
    ) -> Funded:
        """Find the sale, size the minimum, pack the order.

        `in_flight`: intents that are not mined yet.  Raises `ExecutionError` with the numbers when
        nothing would be left, `PolicyViolation` when the contract does not take our orders.
        """
        block, collateral = view.block, intent.collateral
        if collateral is None or intent.covers <= 0:
            raise ExecutionError("It cannot be sold: the intent does not say what is seized.")
        price = self._price(view, collateral)
        self._sales = {
            name: kept
            for name, kept in self._sales.items()
            if name in in_flight or kept[0] == block.hash
        }
        _, sale = await asyncio.gather(
            self.check(pool, sender, block),
            self._routes.best(
                collateral.address,
                intent.asset.address,
                intent.amount,
                hubs=self._hubs(view),
                block=block,
                before=[kept[1] for kept in self._sales.values()],
            ),
        )
        premium = 0
        if not sale.hops:
            premium_bps = await self._premium(pool, block)
            premium = mul_div(intent.amount, premium_bps, BPS, Rounding.UP)
        # Room to grow into is quoted too, and not borrowed unless it is needed by then.
        debt_token = _debt_token(intent, view)
        paid = sale.cost if sale.hops else intent.covers + premium
        if sale.hops and debt_token is not None:
            paid = mul_div(sale.cost, intent.covers, intent.amount, Rounding.UP)
        unit = 10**collateral.decimals
        gas = gas_cost(GAS_GUESS, price_wei, native_price)
        dearer = mul_div(sale.cost, self._rules.max_slippage, BPS, Rounding.UP) if sale.hops else 0
        minimum = max(intent.seized - paid - dearer, mul_div(gas, unit, price, Rounding.UP))
        profit = Base((intent.seized - paid) * price // unit)
        words = (
            f"{have(intent.seized, collateral)} is seized,"
            f" {need(Raw(paid), collateral)} pays for {need(Raw(intent.covers), intent.asset)}"
            f"{_way(sale)}"
        )
        order = Order(
            intent_id=intent.intent_id,
            pool=pool,
            account=intent.position.account,
            collateral=collateral.address,
            debt=intent.asset.address,
            debt_token=debt_token,
            amount=intent.amount,
            min_profit=minimum,
            deadline=deadline,
            path=encode_path(sale.hops),
        )
        funded = Funded(
            intent=replace(
                intent,
                expected_profit=profit,
                reason=f"{intent.reason}; with borrowed money: {words}, profit {usd(profit)} before"
                " gas",
            ),
            call=Call(to=self.contract, data=encode_order(order)),
            sale=sale,
            premium=Raw(premium),
            min_profit=self._rules.min_profit,
            native_price=native_price,
            words=words,
            order=order,
            worth=self._worth(intent, view),
        )
        funded.judge(GAS_GUESS, price_wei)
        return funded

    def has_rivals(self, kind: IntentKind) -> bool:
        """Tell whether anybody besides Uniswap v3's pools is asked."""
        return kind is IntentKind.LIQUIDATE and self._rivals is not None

    def may_answer(self, kind: IntentKind, block: BlockRef) -> bool:
        """Whether whoever is asked from now on can still be waited for at `block`."""
        return self._rivals is not None and self.has_rivals(kind) and self._rivals.may_answer(block)

    def ask_again(self, block: BlockRef) -> None:
        """Let those be waited for once more who are asked at `block` from now on."""
        if self._rivals is not None:
            self._rivals.ask_again(block)

    def mined(self, kind: IntentKind, source: str, *, succeeded: bool) -> None:
        """Note what became of a sale that `source` offered."""
        if self._rivals is not None and self.has_rivals(kind):
            self._rivals.mined(source, succeeded=succeeded)

    async def rivals(
        self,
        intent: Intent,
        view: MarketView,
        *,
        first: Funded | None,
        pool: Address,
        sender: Address,
        price_wei: Wei,
        native_price: Base | None,
        deadline: int,
    ) -> tuple[Funded | Refused, ...]:
        """Return the same liquidation with its collateral sold as others offer; none is believed.

        `first`: as `fund` found it over Uniswap v3's pools, or None where that is nothing.
        """
        if self._rivals is None or intent.collateral in (None, intent.asset):
            return ()
        if first is not None and self._rivals.asked is Asked.OTHERWISE:
            return ()
        _, premium_bps = await asyncio.gather(
            self.check(pool, sender, view.block), self._premium(pool, view.block)
        )
        need = Need(
            intent=intent,
            premium_bps=premium_bps,
            slippage=self._rules.max_slippage,
            worth=self._worth(intent, view),
            by_pools=None if first is None else first.sale.cost,
        )
        sought = Sought(
            chain_id=view.market.chain_id,
            sell=need.worth.collateral.address,
            buy=intent.asset.address,
            amount=need.to_sell,
            block=view.block,
            caller=self.contract,
            origin=sender,
            max_slippage=self._rules.max_slippage,
        )
        gas = gas_cost(GAS_GUESS, price_wei, native_price)
        found: list[Funded | Refused] = []
        for offer in await self._rivals.offers(sought):
            if isinstance(offer, Refused):
                found.append(offer)
                continue
            order = Order(
                intent_id=intent.intent_id,
                pool=pool,
                account=intent.position.account,
                collateral=sought.sell,
                debt=sought.buy,
                debt_token=_debt_token(intent, view),
                amount=intent.amount,
                min_profit=need.least_left,
                deadline=min(deadline, offer.valid_until),
                path=b"",
            )
            try:
                swap = need.swap(offer, gas)
            except ExecutionError as error:
                found.append(Refused(source=offer.source, reason=str(error)))
                continue
            words = need.words(offer)
            found.append(
                Funded(
                    intent=replace(intent, reason=f"{intent.reason}; with borrowed money: {words}"),
                    call=Call(to=self.contract, data=encode_over(order, swap)),
                    sale=Sale(hops=(), amounts=(), cost=swap.sold),
                    premium=Raw(need.owed - intent.covers),
                    min_profit=self._rules.min_profit,
                    native_price=native_price,
                    words=words,
                    source=offer.source,
                    worth=need.worth,
                    most=need.most(offer),
                    until=order.deadline,
                )
            )
        return tuple(found)

    def _worth(self, intent: Intent, view: MarketView) -> Worth:
        assert intent.collateral is not None
        return Worth(
            collateral=intent.collateral,
            collateral_price=self._price(view, intent.collateral),
            debt=intent.asset,
            debt_price=self._price(view, intent.asset),
        )

    def took(self, intent_id: str, block: BlockRef, sale: Sale) -> None:
        """Note a sale that is on its way, or would be: later ones find the pools after it."""
        self._sales[intent_id] = (block.hash, sale)

    def left(self, intent_id: str) -> None:
        """Forget a sale that was noted and will not be."""
        self._sales.pop(intent_id, None)

    @staticmethod
    def _price(view: MarketView, asset: Asset) -> Base:
        price = view.price_of(asset.address)
        if not price:
            raise ExecutionError(f"{asset.symbol} has no price, so no profit can be told.")
        return price

    async def _premium(self, pool: Address, block: BlockRef) -> int:
        known = self._premiums.get(pool)
        if known is None or known[0] != block.hash:
            answer = await self._read(Call(to=pool, data=FLASHLOAN_PREMIUM_TOTAL), block)
            if len(answer) != WORD:
                raise ExecutionError(f"{pool} lends nothing by flash loans.")
            known = self._premiums[pool] = (block.hash, int.from_bytes(answer, "big"))
        return known[1]

    async def check(self, pool: Address, sender: Address, block: BlockRef) -> None:
        """Raise `PolicyViolation` unless the contract takes orders of `sender` for `pool`; once."""
        if (pool, sender) in self._checked:
            return
        mapping = [(liquidator.CALLERS, sender), (liquidator.POOLS, pool)]
        caller, market, factory, version = await asyncio.gather(
            *(self._ask(selector + _argument(address), block) for selector, address in mapping),
            self._ask(liquidator.FACTORY, block),
            self._ask(liquidator.VERSION, block),
        )
        if factory != int(self._exchange.factory, 16):
            raise PolicyViolation(
                f"There is no liquidator of ours at {self.contract}, or it knows another exchange:"
                " deploy one with `keeper deploy-liquidator` and name it in the configuration."
            )
        if version != liquidator.SPEAKS:
            raise PolicyViolation(
                f"The liquidator at {self.contract} is of an older version: deploy a new one with"
                " `keeper deploy-liquidator` and name it in the configuration."
            )
        for allowed, what in ((caller, f"the caller {sender}"), (market, f"the market {pool}")):
            if not allowed:
                raise PolicyViolation(
                    f"The liquidator {self.contract} does not allow {what}: let its owner add it,"
                    " `keeper liquidator` shows the call."
                )
        self._checked.add((pool, sender))

    async def _ask(self, data: bytes, block: BlockRef) -> int | None:
        try:
            answer = await self._read(Call(to=self.contract, data=data), block)
        except RpcError as error:
            if error.code is None:
                raise
            return None  # it reverts: it does not know the question
        return int.from_bytes(answer, "big") if len(answer) == WORD else None

    async def _read(self, call: Call, block: BlockRef) -> bytes:
        message = {"to": call.to, "data": "0x" + call.data.hex()}
        answer = await self._node.call("eth_call", [message, pinned(block)])
        return parse_bytes(answer, f"a read of {call.to}")


def gas_cost(
    gas: int, price_wei: Wei, native_price: Base | None, data_fee_wei: Wei = NOTHING
) -> Base:
    """Return what `gas` and a rollup's data fee cost in base units, rounded up; 0 where the native
    token has no price.
    """
    wei = gas * price_wei + data_fee_wei
    return Base(mul_div(wei, native_price or 0, WEI_PER_NATIVE, Rounding.UP))


def _debt_token(intent: Intent, view: MarketView) -> Address | None:
    """The token that says what is owed by then, for a loan that has room to grow into."""
    if intent.amount <= intent.covers or not isinstance(view, TokenView):
        return None
    tokens = view.tokens(intent.asset.address)
    return None if tokens is None else tokens[1]


def _argument(address: Address) -> bytes:
    return int(address, 16).to_bytes(WORD, "big")


def _way(sale: Sale) -> str:
    """Return `` (2 pools, 0.05 %, 0.30 %)``; nothing where nothing is sold."""
    if not sale.hops:
        return ""
    fees = ", ".join(_percent(hop) for hop in sale.hops)
    return f" ({'one pool' if len(sale.hops) == 1 else f'{len(sale.hops)} pools'}, {fees})"


def _percent(hop: Hop) -> str:
    return f"{hop.fee / 10_000:.2f} %"
