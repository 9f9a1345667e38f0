"""From an intent and its simulation to the plan that is journalled.  Pure."""

from dataclasses import dataclass

from keeper.execution.data_fee import DataFeeKind
from keeper.execution.fees import gas_cap
from keeper.execution.node import Footing
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
    bid_share: Bps = Bps(0)  # noqa: RUF009 - an int that is immutable
    """Of what a liquidation leaves above the floor: offered as priority fee besides the node's."""
    floor: Base | None = None
    """The least a liquidation must leave after gas; None: not judged here."""
    most_gas_wei: Wei | None = None
    """The configured cap per transaction, which a rehearsal keeps to; None: there is none."""
    data_fee: DataFeeKind = DataFeeKind.NONE
    simulate_in_flight: int = 8
    """How many of our own pending transactions a simulation runs first."""
    most_reverts: int = 5
    """Transactions of ours that may revert in a row within an hour; the last of them disarms."""
    reverts_judged_at: int = 0
    """The operator looked at the reverts of what was decided before this chain second."""
    adopt_nonce: int | None = None
    """The operator vouches for all of the signer's transactions below this nonce."""
    adopted_by: str = "adopt_nonce"
    """The setting that `adopt_nonce` comes from."""


def journal_behind(
    address: Address, ground: Footing, watermark: int | None, settings: ExecutionSettings
) -> str:
    """Return that the chain knows transactions of `address` that the journal does not, or nothing.

    `watermark`: the highest nonce that the journal knows; None where it never saw the signer.
    """
    expected = 0 if watermark is None else watermark + 1
    expected = max(expected, settings.adopt_nonce or 0)
    seen = max(ground.nonce, ground.pending_nonce)
    if seen <= expected:
        return ""
    return (
        f"{address} is at nonce {seen}, the journal knows of {expected} transactions:"
        " another program uses the key or the journal is an old one; if all of them were"
        f" yours, set {settings.adopted_by} = {seen} and arm again"
    )


def fee_cap(
    intent: Intent,
    gas_limit: int,
    policy_gas_wei: Wei | None,
    native_price: Base | None,
    settings: ExecutionSettings,
    *,
    data_fee_wei: Wei = Wei(0),  # noqa: B008 - a NewType of int is immutable
) -> Wei:
    """Return the most this intent may ever pay per gas, wei, the data fee taken off first.

    The least of the operator's absolute cap, the cap per transaction (the policy's, for a rehearsal
    the configured one; None: there is none), and a share of what is at stake.  The share is left
    out of approvals and deployments, which stake nothing, and where the native token has no price.
    """
    caps = [settings.max_fee_wei]
    if policy_gas_wei is not None:
        caps.append(Wei(max(policy_gas_wei - data_fee_wei, 0) // gas_limit))
    if native_price and intent.kind not in (IntentKind.APPROVE, IntentKind.DEPLOY):
        liquidating = intent.kind is IntentKind.LIQUIDATE
        at_stake = intent.expected_profit if liquidating else intent.value_at_risk
        share = settings.liquidate_share if liquidating else settings.protect_share
        whole = gas_cap(Base(max(at_stake, 0)), share, native_price, 1)
        caps.append(Wei(max(whole - data_fee_wei, 0) // gas_limit))
    return min(caps)


def bid(spare: Base, share: Bps, native_price: Base | None, gas_limit: int) -> Wei:
    """Return what to offer per gas besides the node's tip: `share` of `spare`, over `gas_limit`.

    `spare`: what a liquidation leaves above the floor after gas at the node's own price.  Rounded
    down, so that the floor holds though all of the gas limit is used.  0 without a price.
    """
    if not native_price or spare <= 0 or not share:
        return Wei(0)
    return gas_cap(spare, share, native_price, gas_limit)


def draft(
    *,
    intent: Intent,
    call: Call,
    simulated: Simulated,
    max_fee: Wei,
    spends: Base,
    block: BlockRef,
    settings: ExecutionSettings,
    data_fee_wei: Wei = Wei(0),  # noqa: B008 - a NewType of int is immutable
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
        data_fee_wei=data_fee_wei,
    )
