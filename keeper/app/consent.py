"""What ``keeper check`` says of accounts that are to be deleveraged: what they allowed, what not.

The borrower signs two things, with whatever wallet they use: a mandate to the deleverager, and an
approval of the aToken of each collateral that may be sold.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from keeper.chain.rpc import Rpc
from keeper.engine.market import Reading, WatchedMarket
from keeper.errors import KeeperError
from keeper.execution import deleverager
from keeper.execution.deleverager import Mandate
from keeper.model import Address, Assessed, Call, IntentKind, Leg, Side
from keeper.ports import TokenView
from keeper.settings import Protect, Settings
from keeper.strategies.text import have, health, symbol, usd
from keeper.units import Base, Raw, Wad

ALLOW = "allow(operator, pool, (until, maxCostBps, below, perTransaction, perDay))"


@dataclass(frozen=True, slots=True, kw_only=True)
class Consent:
    """One line."""

    what: str
    given: str = ""
    missing: str = ""
    remedy: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """Whose consent is looked for, where."""

    what: str
    entry: Protect
    contract: Address
    owner: Address

    def missing(self, missing: str, remedy: str) -> Consent:
        return Consent(what=self.what, missing=missing, remedy=remedy)

    def given(self, given: str) -> Consent:
        return Consent(what=self.what, given=given)


def consenting(settings: Settings, market: str) -> dict[str, Protect]:
    """Return who is to be deleveraged in a market, by label: they must be read for it."""
    return {
        label: entry
        for label, entry in settings.protect.items()
        if "deleverage" in entry.strategy and (not entry.markets or market in entry.markets)
    }


async def consents(
    wanted: dict[str, Protect],
    contract: Address | None,
    owner: Address | None,
    *,
    rpc: Rpc,
    market: WatchedMarket[Any, Any],
    reading: Reading,
) -> AsyncIterator[Consent]:
    """Yield what each account allowed, and what not.

    `contract`: the chain's deleverager; `owner`: the key's account, whose mandate is looked for.
    """
    for label, entry in wanted.items():
        what = f"{market.id.name}: deleveraging {label}"
        if contract is None:
            remedy = "deploy one with `keeper deploy-deleverager`"
            yield Consent(what=what, missing="no deleverager is configured", remedy=remedy)
            continue
        if owner is None:
            missing = "there is no key that could be given a mandate"
            yield Consent(what=what, missing=missing, remedy="set signing.keystore")
            continue
        asked = _Asked(what=what, entry=entry, contract=contract, owner=owner)
        try:
            yield await _mandate(asked, rpc, market, reading)
            for leg in _sellable(entry, market, reading):
                yield await _approval(asked, rpc, leg, reading)
        except KeeperError as error:
            yield asked.missing(str(error), f"is there a deleverager of ours at {contract}?")


async def _mandate(
    asked: _Asked, rpc: Rpc, market: WatchedMarket[Any, Any], reading: Reading
) -> Consent:
    account = asked.entry.account
    if account == asked.owner:
        return asked.given("the key's own account needs no mandate")
    [pool] = {to for k, to, _ in market.adapter.actions(market.market) if k is IntentKind.LIQUIDATE}
    call = deleverager.mandate_call(asked.contract, account, asked.owner, pool)
    given = deleverager.decode_mandate(await _read(rpc, call, reading))
    if given.until < reading.block.timestamp:
        return asked.missing(
            f"{account} gave {asked.owner} no mandate that is in force",
            f"let it send {ALLOW} to {asked.contract}, operator {asked.owner}, pool {pool}",
        )
    return _compared(asked, given)


def _compared(asked: _Asked, given: Mandate) -> Consent:
    entry = asked.entry
    at_once = Base(min(given.per_transaction, given.per_day))
    allowed = (
        f"mandate for a health factor below {health(Wad(given.below))}, at most {usd(at_once)} at"
        f" once and {usd(Base(given.per_day))} a day, {given.max_cost_bps / 100:.2f} % dearer"
    )
    for enough, key in (
        (given.below >= entry.below, "below"),
        (given.max_cost_bps >= entry.max_cost_bps, "max_cost_bps"),
        (at_once >= entry.max_per_tx_usd, "max_per_tx_usd"),
    ):
        if not enough:
            remedy = f"lower protect's {key}, or ask for another mandate"
            return asked.missing(f"{allowed}: less than is configured", remedy)
    return asked.given(allowed)


def _sellable(entry: Protect, market: WatchedMarket[Any, Any], reading: Reading) -> tuple[Leg, ...]:
    holdings = market.holdings(entry.account)
    assessed = None if holdings is None else reading.protecting.assess(holdings)
    if not isinstance(assessed, Assessed):
        return ()
    names = {name.lower() for name in entry.sell}
    return tuple(
        leg
        for leg in assessed.legs
        if leg.side is Side.COLLATERAL
        and (not names or names & {leg.asset.symbol.lower(), leg.asset.address})
    )


async def _approval(asked: _Asked, rpc: Rpc, leg: Leg, reading: Reading) -> Consent:
    view, name = reading.view, symbol(leg.asset)
    tokens = view.tokens(leg.asset.address) if isinstance(view, TokenView) else None
    if tokens is None:
        return asked.missing(f"{name} has no token of the market", "name another under sell")
    call = deleverager.allowance_call(tokens[0], asked.entry.account, asked.contract)
    allowed = Raw(int.from_bytes(await _read(rpc, call, reading), "big"))
    if allowed >= leg.balance:
        return asked.given(f"all of the {name} supplied may be sold")
    return asked.missing(
        f"{have(allowed, leg.asset)} of {have(leg.balance, leg.asset)} supplied may be sold",
        f"let it approve {asked.contract} on the aToken {tokens[0]}",
    )


async def _read(rpc: Rpc, call: Call, reading: Reading) -> bytes:
    return await rpc.eth_call(Address(call.to), call.data, reading.block)
