"""From an intent and its simulation to the plan that is journalled.  Pure."""

from dataclasses import dataclass

from keeper.execution.fees import gas_cap
from keeper.execution.progress import ProgressRules
from keeper.execution.simulate import Simulated
from keeper.model import Address, BlockRef, Call, Intent, IntentKind, Plan
from keeper.units import Base, Bps, Wei

GWEI = 10**9


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionSettings:
    """What the operator chose; every default is the careful one."""

    progress: ProgressRules = ProgressRules()  # noqa: RUF009 - frozen
    deadline_s: int = 180
    """Chain seconds after the decision's block until an action is given up."""
    max_fee_wei: Wei = Wei(500 * GWEI)  # noqa: RUF009 - a NewType of int is immutable
    """Per gas, whatever is at stake."""
    min_tip_wei: Wei = Wei(0)  # noqa: RUF009 - a NewType of int is immutable
    protect_share: Bps = Bps(5_000)  # noqa: RUF009 - a NewType of int is immutable
    """Of what a liquidation would cost the owner: spent on gas at the most."""
    liquidate_share: Bps = Bps(8_000)  # noqa: RUF009 - a NewType of int is immutable
    """Of the expected profit."""
    simulate_in_flight: int = 8
    """How many of our own pending transactions a simulation runs first."""
    adopt_nonce: int | None = None
    """The operator vouches for all of the signer's transactions below this nonce."""


def fee_cap(
    intent: Intent,
    gas_limit: int,
    policy_gas_wei: Wei | None,
    native_price: Base | None,
    settings: ExecutionSettings,
) -> Wei:
    """Return the most this intent may ever pay per gas, wei.

    The least of the operator's absolute cap, the policy's cap per transaction (None: rehearsal),
    and a share of what is at stake.  The share is left out of approvals and deployments, which
    stake nothing, and where the native token has no price.
    """
    caps = [settings.max_fee_wei]
    if policy_gas_wei is not None:
        caps.append(Wei(policy_gas_wei // gas_limit))
    if native_price and intent.kind not in (IntentKind.APPROVE, IntentKind.DEPLOY):
        liquidating = intent.kind is IntentKind.LIQUIDATE
        at_stake = intent.expected_profit if liquidating else intent.value_at_risk
        share = settings.liquidate_share if liquidating else settings.protect_share
        caps.append(gas_cap(Base(max(at_stake, 0)), share, native_price, gas_limit))
    return min(caps)


def draft(
    *,
    intent: Intent,
    call: Call,
    simulated: Simulated,
    max_fee: Wei,
    spends: Base,
    block: BlockRef,
    settings: ExecutionSettings,
) -> Plan:
    """Return the plan: what will be signed but for nonce and fees."""
    return Plan(
        intent=intent,
        to=Address(call.to),
        data=call.data,
        gas_limit=simulated.gas_limit,
        max_fee_wei=max_fee,
        deadline=block.timestamp + settings.deadline_s,
        spends=spends,
    )
