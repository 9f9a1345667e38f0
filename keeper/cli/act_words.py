"""What ``topup``, ``repay``, ``deleverage``, ``liquidate`` and ``approve`` say: lines for people,
one document for programs.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from keeper.cli.actions import instant
from keeper.cli.output import (
    amount,
    block_line,
    checksummed,
    coin,
    health,
    token,
    usd,
)
from keeper.units import ENDLESS, Raw

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from keeper.app.act import Planned
    from keeper.app.chain import OpenChain
    from keeper.engine.market import WatchedMarket
    from keeper.model import BlockRef, Inventory, OpenPlan, Outcome, Submission

    Planning = Callable[[OpenChain, WatchedMarket[Any, Any]], Awaitable[Planned]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What a command came to: planned, rehearsed or sent, and how it ended."""

    planned: "Planned"
    inventory: "Inventory | None"
    submission: "Submission | None"
    """None without a key: only planned."""
    outcome: "Outcome | None"


def plan_lines(
    chain: "OpenChain", planned: "Planned", inventory: "Inventory | None"
) -> "list[str]":
    import time

    intent, view = planned.intent, planned.view
    asset = intent.asset
    age_s = max(0, int(time.time()) - intent.block.timestamp)
    head = block_line(chain.config.name, intent.block.number, age_s)
    lines = [f"{head}, {view.market.name}", _title(planned)]
    if planned.before is not None:
        before = planned.before
        lines.append(
            f"  health now      {health(before.health_factor)}, collateral "
            f"{usd(before.collateral)}, debt {usd(before.debt)}"
        )
    price = view.price_of(asset.address)
    if price is not None and intent.amount < ENDLESS:
        value = intent.amount * price // 10**asset.decimals
        lines.append(
            f"  worth           {usd(value)}: {intent.amount} raw x price {price} / "
            f"10^{asset.decimals}"
        )
    if str(intent.kind) == "liquidate":
        lines.append(f"  why             {intent.reason}")
        lines.append(
            f"  profit          {usd(intent.expected_profit)} at oracle prices, before gas"
        )
    lines += [f"  {line}" for line in planned.arithmetic]
    if inventory is not None and str(intent.kind) == "deleverage":
        lines.append(f"  acting as       {checksummed(inventory.owner)}, by the account's mandate")
    elif inventory is not None:
        held = inventory.balances.get(asset.address, 0)
        allowed = inventory.allowances.get(asset.address, 0)
        may = "without limit" if allowed >= ENDLESS else _tokens(allowed, asset)
        lines.append(f"  the keeper has  {_tokens(held, asset)}, the Pool may take {may}")
        lines.append(f"  acting as       {checksummed(inventory.owner)}")
        if missing := lacking(planned, inventory):
            lines.append(f"  missing         {missing}")
    lines.append(f"  intent          {intent.intent_id}")
    return lines


def lacking(planned: "Planned", inventory: "Inventory | None") -> str:
    """Return what must be there before it can be paid, and how it gets there; or nothing."""
    intent = planned.intent
    if inventory is None or str(intent.kind) == "approve" or str(intent.funding) == "flash":
        return ""
    asset = intent.asset
    held = inventory.balances.get(asset.address, 0)
    if held < intent.amount:
        more = _tokens(intent.amount - held, asset)
        return f"{more} more, sent to {checksummed(inventory.owner)}"
    if inventory.allowances.get(asset.address, 0) < intent.amount:
        return f"the allowance, by `keeper approve {asset.symbol} --send`"
    return ""


def _tokens(raw: int, asset: Any) -> str:
    return token(Raw(raw), asset.decimals, asset.symbol)


def _title(planned: "Planned") -> str:
    intent = planned.intent
    who = checksummed(intent.position.account)
    what = _tokens(intent.amount, intent.asset)
    match str(intent.kind):
        case "top_up":
            return f"Top up {who}: supply {what}"
        case "repay":
            return f"Repay for {who}: {what}"
        case "deleverage":
            sold = intent.collateral.symbol if intent.collateral else "?"
            return f"Deleverage {who}: repay {what}, sell its {sold}"
        case "liquidate":
            seized = intent.collateral.symbol if intent.collateral else "?"
            return f"Liquidate {who}: repay up to {what}, seize {seized}"
        case _:
            limit = f"{intent.asset.symbol} without limit" if intent.amount >= ENDLESS else what
            return f"Approve: the Pool of {intent.position.market.name} may take {limit}"


def became(submission: "Submission", *, armed: bool, wait: bool) -> "list[str]":
    from keeper.model import Rehearsed, Submitted

    lines = []
    if isinstance(submission, Rehearsed):
        plan = submission.plan
        chain_id = plan.intent.position.market.chain_id
        if funded := _funded(submission):
            lines.append(f"  borrowed        {funded}")
        lines.append(f"  transaction     to {checksummed(plan.to)}, 0x{plan.data[:4].hex()}...")
        lines.append(
            f"  gas             {plan.gas_limit:,} at most, at {amount(plan.max_fee_wei, 9, 3)} "
            f"gwei at most: {coin(plan.gas_limit * plan.max_fee_wei, chain_id)}"
        )
        if (cost := submission.cost) is not None:
            worth = "" if cost.value is None else f", {usd(cost.value)} USD"
            lines.append(
                f"  expected        {cost.gas_used:,} gas, {coin(cost.wei, chain_id)}{worth}"
            )
    after = getattr(submission, "health_after", None)
    if after is not None:
        lines.append(f"  health after    {health(after)}, simulated at the same block")
    match submission:
        case Rehearsed():
            how = "add --send to send it" if armed else "the chain is not armed"
            lines.append(f"Rehearsed, nothing was sent: {how}.")
        case Submitted(open_plan=open_plan):
            lines.append(f"Sent {open_plan.attempts[-1].tx_hash}, nonce {open_plan.nonce}.")
            if not wait:
                lines.append(
                    f"`keeper run` follows it; `keeper explain {submission.intent.intent_id}` says "
                    "how far it is."
                )
    return lines


def _funded(submission: "Submission | None") -> str:
    """Return how what was borrowed is sold for, and what other ways would have left."""
    intent = None if submission is None else submission.intent
    return "" if intent is None else intent.reason.partition("; with borrowed money: ")[2]


def waiting(block: "BlockRef", plan: "OpenPlan | None", confirmations: int, doubt: str = "") -> str:
    if doubt:
        return f"  block {block.number:,}: waiting until enough nodes agree on it ({doubt})"
    if plan is None or plan.receipt is None:
        attempts = 1 if plan is None else len(plan.attempts)
        more = f", attempt {attempts}" if attempts > 1 else ""
        return f"  block {block.number:,}: not mined yet{more}"
    depth = max(0, block.number - plan.receipt.block_number)
    return (
        f"  block {block.number:,}: mined in {plan.receipt.block_number:,}, "
        f"{depth} of {confirmations} blocks on top"
    )


def ended(outcome: "Outcome") -> "list[str]":
    from keeper.model import Confirmed

    if not isinstance(outcome, Confirmed):
        return []
    receipt = outcome.receipt
    chain_id = outcome.plan.intent.position.market.chain_id
    paid = coin(receipt.gas_used * receipt.effective_gas_price_wei, chain_id)
    used = f"{receipt.gas_used:,} gas, {paid} paid for it"
    return [f"Confirmed in block {receipt.block_number:,}: {used}."]


def document(done: Done) -> dict[str, Any]:
    from keeper.model import Declined, Rehearsed, Submitted

    intent = done.planned.intent
    submission, outcome = done.submission, done.outcome
    after = getattr(submission, "health_after", None)
    receipt = getattr(outcome, "receipt", None)
    plan = None
    if isinstance(submission, Rehearsed):
        plan = submission.plan
    elif isinstance(submission, Submitted):
        plan = submission.open_plan.plan
    tx = None
    if receipt is not None:
        tx = receipt.tx_hash
    elif isinstance(submission, Submitted):
        tx = submission.open_plan.attempts[-1].tx_hash
    ended = outcome if outcome is not None else submission
    return {
        "intent": intent.intent_id,
        "kind": str(intent.kind),
        "market": intent.position.market.name,
        "chain_id": intent.position.market.chain_id,
        "address": intent.position.account,
        "block": intent.block.number,
        "hash": intent.block.hash,
        "decided_at": instant(intent.block.timestamp),
        "asset": intent.asset.address,
        "symbol": intent.asset.symbol,
        "amount_raw": str(intent.amount),
        "collateral": None if intent.collateral is None else intent.collateral.address,
        "expected_profit_base": str(intent.expected_profit),
        "health_before_wad": str(intent.health_before),
        "health_after_wad": None if after is None else str(after),
        "to": None if plan is None else plan.to,
        "data": None if plan is None else "0x" + plan.data.hex(),
        "gas_limit": None if plan is None else plan.gas_limit,
        "max_fee_wei": None if plan is None else str(plan.max_fee_wei),
        "state": "planned" if ended is None else type(ended).__name__.lower(),
        "reason": submission.reason if isinstance(submission, Declined) else intent.reason,
        "borrowed": _funded(submission) or None,
        "tx": tx,
        "mined_block": None if receipt is None else receipt.block_number,
        "gas_used": None if receipt is None else receipt.gas_used,
    }
