"""What ``keeper check`` says of accounts that are to be deleveraged: what they allowed, what not.

The borrower signs two things, with whatever wallet they use: a mandate to the deleverager, and for
each collateral that may be sold an approval of its aToken, or a permit that is kept until then.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

from keeper.app.standing import standing, wanted
from keeper.chain.rpc import Rpc
from keeper.engine.market import Reading, WatchedMarket
from keeper.errors import KeeperError
from keeper.execution import deleverager
from keeper.execution.deleverager import Mandate
from keeper.model import Address, Assessed, Call, IntentKind, Leg, Side, SignedPermit
from keeper.ports import TokenView
from keeper.settings import Protect, Settings
from keeper.strategies.text import health, symbol, usd
from keeper.units import Base, Wad

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
    assessed: Assessed | None

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
    permits: Sequence[SignedPermit] = (),
) -> AsyncIterator[Consent]:
    """Yield what each account allowed, and what not.

    `contract`: the chain's deleverager; `owner`: the key's account, whose mandate is looked for;
    `permits`: what is kept of the chain.
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
        assessed = _assessed(entry, market, reading)
        asked = _Asked(what=what, entry=entry, contract=contract, owner=owner, assessed=assessed)
        try:
            yield await _mandate(asked, rpc, market, reading)
            for leg in () if assessed is None else sellable(entry, assessed):
                yield await _approval(asked, rpc, leg, reading, permits)
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


def _assessed(entry: Protect, market: WatchedMarket[Any, Any], reading: Reading) -> Assessed | None:
    holdings = market.holdings(entry.account)
    assessed = None if holdings is None else reading.protecting.assess(holdings)
    return assessed if isinstance(assessed, Assessed) else None


def sellable(entry: Protect | None, assessed: Assessed) -> tuple[Leg, ...]:
    """Return the collateral that may be sold: what `entry` names, all where it names none."""
    names = set() if entry is None else {name.lower() for name in entry.sell}
    return tuple(
        leg
        for leg in assessed.legs
        if leg.side is Side.COLLATERAL
        and (not names or names & {leg.asset.symbol.lower(), leg.asset.address})
    )


async def _approval(
    asked: _Asked, rpc: Rpc, leg: Leg, reading: Reading, permits: Sequence[SignedPermit]
) -> Consent:
    view, entry = reading.view, asked.entry
    tokens = view.tokens(leg.asset.address) if isinstance(view, TokenView) else None
    if tokens is None:
        missing = f"{symbol(leg.asset)} has no token of the market"
        return asked.missing(missing, "name another under sell")
    found = await standing(
        rpc,
        leg=leg,
        token=tokens[0],
        account=entry.account,
        contract=asked.contract,
        needs=wanted(entry, asked.assessed, leg) if asked.assessed else leg.balance,
        permits=permits,
        block=reading.block,
        chain_id=view.market.chain_id,
    )
    return asked.missing(found.said, found.remedy) if found.remedy else asked.given(found.said)


async def _read(rpc: Rpc, call: Call, reading: Reading) -> bytes:
    return await rpc.eth_call(Address(call.to), call.data, reading.block)
