"""What top-ups and repayments share: limits, the choice of an asset, and what is at stake.

Partial protection: a wallet that cannot reach the target still acts if what it has is enough to
lift the health factor to `Bounds.floor` and by at least `Bounds.step`.  Less than that would
spend gas and money without taking the position out of danger, block after block: it is refused
with both numbers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from keeper.errors import ConfigError
from keeper.model import (
    Act,
    Address,
    Assessed,
    Assessment,
    Hold,
    Intent,
    IntentKind,
    Leg,
    Refuse,
    Side,
    Unassessable,
)
from keeper.ports import Wallet
from keeper.strategies.intents import intent_id
from keeper.strategies.means import SPENDABLE, missing
from keeper.strategies.text import have, health, need, symbol
from keeper.units import BPS, WAD, Base, Raw, Rounding, Wad, mul_div

REASONS_SHOWN: Final = 3
VERBS: Final = {IntentKind.TOP_UP: "supply", IntentKind.REPAY: "repay"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Between which health factors a protection works, and what it may spend at once.

    Raises ConfigError unless ``1 < floor <= target``, ``1 < below < target`` and ``step > 0``.
    """

    below: Wad
    """It acts on a health factor strictly below this."""
    target: Wad
    """What it wants to reach."""
    floor: Wad = Wad(WAD * 102 // 100)  # noqa: RUF009 - a NewType of int is immutable
    """The least that a partial protection must reach."""
    step: Wad = Wad(WAD // 100)  # noqa: RUF009 - a NewType of int is immutable
    """The least that a partial protection must add."""
    assets: tuple[Address, ...] = ()
    """Which tokens, in order of preference; empty: any, the one it has most of (by value)."""
    max_amounts: Mapping[Address, Raw] = field(default_factory=dict)
    """The most of a token in one action."""
    max_value: Base | None = None
    """The most in one action, base units at the market's price; None: no such cap."""

    def __post_init__(self) -> None:
        """Refuse bounds that contradict one another."""
        if not WAD < self.below < self.target:
            raise ConfigError(
                f"a protection acts below {health(self.below)} to reach {health(self.target)}: "
                "the first must be above 1 and the second above the first"
            )
        if not WAD < self.floor <= self.target or self.step <= 0:
            raise ConfigError(
                f"a partial protection reaches {health(self.floor)} and adds {health(self.step)}: "
                f"the first must be above 1 and at most {health(self.target)}, the second above 0"
            )

    def enough(self, health_factor: Wad) -> Wad:
        """Return the health factor that a partial protection of `health_factor` must reach."""
        return min(max(self.floor, Wad(health_factor + self.step)), self.target)


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """One way to protect: amounts of one leg's asset, raw; None where no amount will do."""

    leg: Leg
    for_target: Raw | None
    for_enough: Raw | None
    most: Raw | None = None
    """Never more than this is of use; None: no bound."""


def in_danger(
    assessment: Assessment, accounts: tuple[Address, ...], bounds: Bounds, does: str
) -> Assessed | Hold | Refuse:
    """Return the health of a protected account that is in danger, else why nothing is to be done.

    `does`: what the strategy does, after "not an account that it".
    """
    position = assessment.position
    if position.account not in accounts:
        return Hold(position=position, reason=f"not an account that it {does}")
    if isinstance(assessment, Unassessable):
        return Refuse(position=position, reason=assessment.reason)
    if assessment.health_factor >= bounds.below:
        now = health(assessment.health_factor)
        reason = f"health factor {now} is not below {health(bounds.below)}"
        return Hold(position=position, reason=reason)
    return assessment


def nothing_allowed(assessed: Assessed, bounds: Bounds, why: str) -> Refuse:
    """Refuse where the account is in danger and no asset of it may be used."""
    start = f"health factor {health(assessed.health_factor)} is below {health(bounds.below)}"
    return Refuse(position=assessed.position, reason=f"{start}: {why}")


def candidates(assessed: Assessed, side: Side, bounds: Bounds, wallet: Wallet) -> tuple[Leg, ...]:
    """Return the legs that may be used, best first."""
    legs = tuple(leg for leg in assessed.legs if leg.side is side)
    if bounds.assets:
        order = {asset: i for i, asset in enumerate(bounds.assets)}
        allowed = (leg for leg in legs if leg.asset.address in order)
        return tuple(sorted(allowed, key=lambda leg: order[leg.asset.address]))
    return tuple(
        sorted(legs, key=lambda leg: (-_value(leg, _limit(leg, bounds, wallet)[0]), leg.reserve))
    )


def protect(
    kind: IntentKind, assessed: Assessed, offers: Sequence[Offer], bounds: Bounds, wallet: Wallet
) -> Act | Refuse:
    """Return the first offer that reaches the target, else the first partial one, else Refuse."""
    verb = VERBS[kind]
    limits = [_limit(offer.leg, bounds, wallet) for offer in offers]
    start = f"health factor {health(assessed.health_factor)} is below {health(bounds.below)}"
    for offer, (limit, _) in zip(offers, limits, strict=True):
        if offer.for_target is not None and offer.for_target <= limit:
            amount = _with_slack(offer, offer.for_target, limit)
            does = f"{verb} {need(amount, offer.leg.asset)}"
            reason = f"{start}: {does} to reach {health(bounds.target)}"
            return _act(kind, assessed, offer.leg, amount, reason)
    for offer, (limit, _) in zip(offers, limits, strict=True):
        if offer.for_enough is not None and offer.for_enough <= limit:
            amount = _partial(offer, offer.for_enough, limit)
            does = f"{verb} {have(amount, offer.leg.asset)}"
            reason = f"{start}: {does}, all it may, towards {health(bounds.target)}"
            return replace(_act(kind, assessed, offer.leg, amount, reason), partial=True)
    reasons = [_short(o, *limit, wallet) for o, limit in zip(offers, limits, strict=True)]
    if len(reasons) > REASONS_SHOWN:
        reasons[REASONS_SHOWN:] = [f"{len(reasons) - REASONS_SHOWN} more assets neither"]
    return Refuse(position=assessed.position, reason=f"{start}: {'; '.join(reasons)}")


def loss_if_liquidated(assessed: Assessed) -> Base:
    """Return what liquidators could take from the owner, base units, rounded up.

    The highest bonus among the collaterals on all the debt (or all the collateral, if that is
    less): an upper bound, since a close factor may spare half.
    """
    bonus = max((leg.liquidation_bonus for leg in assessed.legs), default=BPS)
    seizable = min(assessed.debt, assessed.collateral)
    return Base(mul_div(seizable, max(0, bonus - BPS), BPS, Rounding.UP))


def _limit(leg: Leg, bounds: Bounds, wallet: Wallet) -> tuple[Raw, str]:
    """The most that may be spent of the leg's asset, and the word for what bounds it."""
    asset = leg.asset
    limit, bound_by = wallet.spendable(asset.address), SPENDABLE
    caps = [bounds.max_amounts.get(asset.address)]
    if bounds.max_value is not None:
        unit = 10**asset.decimals
        caps.append(Raw(bounds.max_value * unit // leg.price if leg.price > 0 else 0))
    for cap in caps:
        if cap is not None and cap < limit:
            limit, bound_by = cap, "allowed at once"
    return limit, bound_by


def _with_slack(offer: Offer, amount: Raw, limit: Raw) -> Raw:
    """A whole debt grows until inclusion: what pays it off is asked for with slack."""
    whole = offer.leg.side is Side.DEBT and amount >= offer.leg.balance
    return Raw(min(limit, offer.most)) if whole and offer.most is not None else amount


def _partial(offer: Offer, enough: Raw, limit: Raw) -> Raw:
    """All that may be spent; where the target is out of anyone's reach, no more than is of use."""
    if offer.for_target is not None:
        return limit
    return enough if offer.most is None else min(limit, offer.most)


def _short(offer: Offer, limit: Raw, bound_by: str, wallet: Wallet) -> str:
    wanted = offer.for_enough if offer.for_target is None else offer.for_target
    if wanted is None:
        return f"no amount of {symbol(offer.leg.asset)} will do now"
    asset, least = offer.leg.asset, offer.for_enough
    return missing(wanted, asset, limit, bound_by, wallet, least=least)


def _value(leg: Leg, amount: Raw) -> int:
    return int(amount * leg.price // 10**leg.asset.decimals)


def _act(kind: IntentKind, assessed: Assessed, leg: Leg, amount: Raw, reason: str) -> Act:
    return Act(
        intent=Intent(
            intent_id=intent_id(kind, assessed.position, assessed.block),
            kind=kind,
            position=assessed.position,
            block=assessed.block,
            asset=leg.asset,
            amount=amount,
            value_at_risk=loss_if_liquidated(assessed),
            health_before=assessed.health_factor,
            reason=reason,
        )
    )
