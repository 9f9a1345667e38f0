"""From a deleverage to an order for the deleverager contract, within what its borrower allowed.

The debt's token is bought from pools that are paid afterwards, with the borrower's collateral.  On
chain it is insisted on that the pools take no more than quoted and the slippage allowed, and that
the position is healthier after it: whoever moves the pools in between cannot make it a loss of more
than the gas of a revert.
"""

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from keeper.errors import ExecutionError, PolicyViolation, RpcError
from keeper.execution import deleverager
from keeper.execution.deleverager import Mandate, Order, encode_order
from keeper.execution.exchange import Exchange, encode_path
from keeper.execution.flash import Funded
from keeper.execution.liquidator import WORD
from keeper.execution.node import Node, parse_bytes, pinned
from keeper.execution.permits import nonce_call, uselessness
from keeper.execution.routes import Routes, Sale
from keeper.model import Address, BlockRef, Call, Hash, Intent, SignedPermit
from keeper.ports import MarketView, TokenView
from keeper.strategies.text import have, health, need, usd
from keeper.units import BPS, WAD, Base, Bps, Raw, Rounding, Wad, Wei, mul_div

LEAST_HEALTH: Final = WAD * 101 // 100
LEAST_STEP: Final = WAD // 200
"""The contract insists on a health factor of at least 1.01, and on 0.005 more than before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleverageRules:
    """What the operator chose."""

    contract: Address
    max_slippage: Bps
    """How much more than quoted the pools may take."""


class Permits(Protocol):
    """Knows what accounts signed."""

    async def of(
        self, chain_id: int, *, token: Address, owner: Address, spender: Address
    ) -> SignedPermit | None:
        """Return the permit that `owner` signed for `token`; None where there is none."""
        ...


class NoPermits:
    """Nobody signed anything."""

    async def of(
        self,
        chain_id: int,  # noqa: ARG002 - the protocol's
        *,
        token: Address,  # noqa: ARG002 - the protocol's
        owner: Address,  # noqa: ARG002 - the protocol's
        spender: Address,  # noqa: ARG002 - the protocol's
    ) -> SignedPermit | None:
        """Return None."""
        return None


class Deleverages:
    """Turns deleverages into orders; remembers the sales that are on their way."""

    def __init__(
        self,
        *,
        node: Node,
        exchange: Exchange,
        rules: DeleverageRules,
        hubs: Callable[[MarketView], Sequence[Address]],
        permits: Permits | None = None,
    ) -> None:
        """`hubs`: tokens of a market over which others are sold; `permits`: what accounts signed,
        for where they did not approve.
        """
        self._node = node
        self._rules = rules
        self._hubs = hubs
        self._exchange = exchange
        self._routes = Routes(node, exchange)
        self._permits = permits or NoPermits()
        self._version = 0
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
        """Find the sale, bound it, pack the order.

        Raises `ExecutionError` with the numbers where the pools take too much, `PolicyViolation`
        where the borrower has not allowed it.
        """
        del price_wei  # a protection's gas is bounded by what is at stake
        block, collateral = view.block, intent.collateral
        if collateral is None:
            raise ExecutionError("It cannot be sold: the intent does not say what.")
        tokens = view.tokens(collateral.address) if isinstance(view, TokenView) else None
        if tokens is None:
            raise ExecutionError(f"{collateral.symbol} is not known as a token of the market.")
        self._sales = {
            name: kept
            for name, kept in self._sales.items()
            if name in in_flight or kept[0] == block.hash
        }
        permit, sale = await asyncio.gather(
            self._allowed(intent, view, pool=pool, token=tokens[0], sender=sender, last=deadline),
            self._routes.best(
                collateral.address,
                intent.asset.address,
                intent.amount,
                hubs=self._hubs(view),
                block=block,
                before=[kept[1] for kept in self._sales.values()],
            ),
        )
        words = (
            f"the exchange takes {need(Raw(sale.cost), collateral)} for"
            f" {need(intent.amount, intent.asset)}"
        ) + ("" if permit is None else "; the account's permit comes along")
        if sale.cost > intent.seized:
            raise ExecutionError(
                f"Too dear: {words}, and {have(intent.seized, collateral)} is the most that it"
                " may take."
            )
        dearer = mul_div(sale.cost, BPS + self._rules.max_slippage, BPS, Rounding.UP)
        order = Order(
            intent_id=intent.intent_id,
            pool=pool,
            account=intent.position.account,
            collateral=collateral.address,
            debt=intent.asset.address,
            repay=intent.amount,
            max_sold=min(intent.seized, dearer),
            min_health=max(LEAST_HEALTH, intent.health_before + LEAST_STEP),
            deadline=deadline,
            path=encode_path(sale.hops),
        )
        return Funded(
            intent=intent,
            call=Call(to=self._rules.contract, data=encode_order(order, permit)),
            sale=sale,
            premium=Raw(0),
            min_profit=None,
            native_price=native_price,
            words=words,
        )

    def took(self, intent_id: str, block: BlockRef, sale: Sale) -> None:
        """Note a sale that is on its way, or would be: later ones find the pools after it."""
        self._sales[intent_id] = (block.hash, sale)

    def left(self, intent_id: str) -> None:
        """Forget a sale that was noted and will not be."""
        self._sales.pop(intent_id, None)

    async def _allowed(
        self,
        intent: Intent,
        view: MarketView,
        *,
        pool: Address,
        token: Address,
        sender: Address,
        last: int,
    ) -> SignedPermit | None:
        """Raise unless the contract is ours and the borrower lets `sender` do this.

        Return the permit that must come along for it, good until the second `last`; None where the
        borrower approved it.
        """
        contract, account, block = self._rules.contract, intent.position.account, view.block
        await self._ours(block)
        allowance, mandate = await asyncio.gather(
            self._ask(deleverager.allowance_call(token, account, contract), block),
            self._ask(deleverager.mandate_call(contract, account, sender, pool), block),
        )
        allowed = Raw(int.from_bytes(allowance, "big"))
        permit = None
        if allowed <= intent.seized:
            permit = await self._permit(intent, block, token=token, allowed=allowed, last=last)
        if sender != account:
            _judge(deleverager.decode_mandate(mandate), intent, view, sender)
        return permit

    async def _ours(self, block: BlockRef) -> None:
        """Raise unless the contract is one whose orders we write."""
        if self._version:
            return
        contract = self._rules.contract
        version, factory = await asyncio.gather(
            self._ask(Call(to=contract, data=deleverager.VERSION), block),
            self._ask(Call(to=contract, data=deleverager.FACTORY), block),
        )
        known = [number for number in deleverager.UNDERSTOOD if version == _word(number)]
        if not known or factory != _word(int(self._exchange.factory, 16)):
            raise PolicyViolation(
                f"There is no deleverager of ours at {contract}, or it knows another exchange:"
                " deploy one with `keeper deploy-deleverager` and name it in the configuration."
            )
        [self._version] = known

    async def _permit(
        self, intent: Intent, block: BlockRef, *, token: Address, allowed: Raw, last: int
    ) -> SignedPermit:
        """Return the permit that makes up for an allowance of only `allowed`; raise without."""
        contract, account = self._rules.contract, intent.position.account
        assert intent.collateral is not None
        short = (
            f"{account} lets the deleverager take {have(allowed, intent.collateral)} and it needs"
            f" {need(intent.seized, intent.collateral)}"
        )
        found = await self._permits.of(
            intent.position.market.chain_id, token=token, owner=account, spender=contract
        )
        if found is None:
            raise PolicyViolation(f"{short}: see `keeper check`.")
        if self._version < deleverager.TAKES_PERMITS:
            raise PolicyViolation(
                f"{short}: its permit is of no use to the deleverager at {contract}, which is of"
                " an older version; deploy another, or let it approve."
            )
        nonce = int.from_bytes(await self._ask(nonce_call(token, account), block), "big")
        useless = uselessness(
            found.permit,
            asset=intent.collateral,
            nonce=nonce,
            needs=intent.seized + 1,
            at=block.timestamp,
            last=last,
        )
        if useless:
            raise PolicyViolation(f"{short}; {useless}: see `keeper check`.")
        return found

    async def _ask(self, call: Call, block: BlockRef) -> bytes:
        message = {"to": call.to, "data": "0x" + call.data.hex()}
        try:
            answer = await self._node.call("eth_call", [message, pinned(block)])
        except RpcError as error:
            if error.code is None:
                raise
            return b""  # it reverts: it does not know the question
        return parse_bytes(answer, f"a read of {call.to}")


def _word(value: int) -> bytes:
    return value.to_bytes(WORD, "big")


def _judge(given: Mandate, intent: Intent, view: MarketView, sender: Address) -> None:
    """Raise unless the mandate is for this, as far as that is known before it is tried."""
    account = intent.position.account
    if given.until < view.block.timestamp:
        raise PolicyViolation(
            f"{account} gave {sender} no mandate that is in force: see `keeper check`."
        )
    if intent.health_before >= given.below:
        raise PolicyViolation(
            f"{account}'s mandate is for a health factor below {health(Wad(given.below))}."
        )
    worth = mul_div(
        intent.amount,
        view.price_of(intent.asset.address) or 0,
        10**intent.asset.decimals,
        Rounding.UP,
    )
    if worth > min(given.per_transaction, given.per_day):
        most = Base(min(given.per_transaction, given.per_day))
        raise PolicyViolation(
            f"{account}'s mandate is for {usd(most)} in one transaction, this is"
            f" {usd(Base(worth))}."
        )
