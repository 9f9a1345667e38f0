"""Kept permits that are of no more use, or soon: looked at beside the blocks, now and then."""

from collections.abc import Sequence

from keeper.alerts.numbers import duration_text
from keeper.alerts.passes import Fault
from keeper.alerts.speech import saying
from keeper.app.chain import OpenChain
from keeper.app.consent import consenting
from keeper.app.standing import SOON_S, Standing, standing, wanted
from keeper.engine.engine import Engine
from keeper.model import AlertLevel, Assessed, Leg, Side, SignedPermit
from keeper.ports import TokenView
from keeper.settings import Protect, Settings
from keeper.strategies.text import symbol


async def look(
    settings: Settings,
    chain: OpenChain,
    engine: Engine,
    permits: Sequence[SignedPermit],
    before: Sequence[Standing],
) -> tuple[Standing, ...]:
    """Return how it stands with each permit of an account that is to be deleveraged.

    `before`: what was returned the last time.  A position that cannot be assessed now stands as it
    did: what is not known ends no alert.  Raises ObservationError.
    """
    contract = chain.config.deleverager
    found = []
    for one in permits:
        of = one.permit
        if of.spender != contract:
            continue
        for market in chain.markets.values():
            entries = consenting(settings, market.id.name).values()
            entry = next((each for each in entries if each.account == of.owner), None)
            if entry is None:
                continue
            held = _held(engine, market.id.name, entry, one)
            if held is None:  # not known now
                found += [old for old in before if (old.token, old.account) == (of.token, of.owner)]
                continue
            assessed, leg = held
            if leg is None:
                continue
            found.append(
                await standing(
                    chain.rpc,
                    leg=leg,
                    token=of.token,
                    account=of.owner,
                    contract=contract,
                    needs=wanted(entry, assessed, leg),
                    permits=(one,),
                    block=assessed.block,
                    chain_id=of.chain_id,
                )
            )
    return tuple(found)


def _held(
    engine: Engine, name: str, entry: Protect, signed: SignedPermit
) -> tuple[Assessed, Leg | None] | None:
    """Return the account, and its collateral that a permit is for, at the last block taken.

    None where that is not known; no collateral where it has none of it.
    """
    reading = engine.readings.get(name)
    market = next(each for each in engine.markets if each.id.name == name)
    holdings = market.holdings(entry.account)
    if reading is None or holdings is None or not isinstance(reading.view, TokenView):
        return None
    assessed = reading.protecting.assess(holdings)
    if not isinstance(assessed, Assessed):
        return None
    for leg in assessed.legs:
        tokens = reading.view.tokens(leg.asset.address)
        if leg.side is Side.COLLATERAL and tokens and tokens[0] == signed.permit.token:
            return assessed, leg
    return assessed, None


def permit_faults(standings: Sequence[Standing]) -> tuple[Fault, ...]:
    """Return what people are alerted to: `Standing.remedy` says the same in ``keeper check``."""
    found = []
    for one in standings:
        name, left_s = symbol(one.leg.asset), one.left_s
        if not one.needs:
            continue  # there is no debt
        if one.useless and not one.approved:
            sentence = saying(
                "{account} cannot be deleveraged by selling {asset}: {reason}; sign another with "
                "keeper permit",
                account=one.account,
                asset=name,
                reason=one.useless,
            )
        elif left_s is not None and left_s < SOON_S:
            sentence = saying(
                "the permit of {account} for {asset} runs out in {time}: sign another with keeper "
                "permit",
                account=one.account,
                asset=name,
                time=duration_text(left_s),
            )
        else:
            continue
        part = f"permit {one.account[:6]}..{one.account[-4:]} {name}"
        found.append(Fault(part=part, sentence=sentence, level=AlertLevel.WARNING))
    return tuple(found)
