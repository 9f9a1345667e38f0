"""``keeper actions``: what was done, tried, rehearsed and declined, the newest first."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from keeper.cli.asking import asking, until_done
from keeper.cli.output import (
    amount,
    checksummed,
    coin,
    emit,
    escape,
    health,
    json_ready,
    short,
    table,
    token,
    usd,
)
from keeper.units import ENDLESS

if TYPE_CHECKING:
    from rich.console import Console

    from keeper.store.actions import Action, WouldHave

COLUMNS = ("time", "intent", "action", "position", "health", "state", "gas", "tx", "reason")
WIDE = 180
"""Columns from which an action fits into one line; else it has three."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("actions")(actions)


def actions(
    context: typer.Context,
    limit: Annotated[int, typer.Option(help="How many, the newest first.", min=1, max=10_000)] = 20,
) -> None:
    """What was done, tried, rehearsed and declined.

    `keeper explain INTENT` tells one of them in full.
    """
    from keeper.store.actions import SqlActions
    from keeper.store.database import Database

    invocation, settings = asking(context)

    async def look() -> "tuple[tuple[Action, ...], WouldHave]":
        async with await Database.open(settings.database.url) as database:
            rows = SqlActions(database)
            return await rows.last(limit), await rows.would_have()

    found, would_have = until_done(look())

    def render(out: "Console") -> None:
        if not found:
            out.print("Nothing was done, tried or declined yet.")
            return
        for line in _would_have(would_have):
            out.print(escape(line))
        if out.width < WIDE:
            for action in found:
                for line in _lines(action):
                    out.print(escape(line))
            return
        made = table(*COLUMNS, right=("gas",))
        for action in found:
            made.add_row(*(escape(cell) for cell in _cells(action)))
        out.print(made)

    document_ = {
        "actions": [document(action) for action in found],
        "would_have": {
            "liquidations": would_have.liquidations,
            "earned_base": str(would_have.earned),
            "protections": would_have.protections,
            "saved_base": str(would_have.saved),
            "paid_to_protect_base": str(would_have.paid_to_protect),
            "unpriced": would_have.unpriced,
        },
    }
    emit(json_ready(document_), as_json=invocation.as_json, render=render)


def _would_have(sum_: "WouldHave") -> list[str]:
    """Return what sending would have brought, a line for each sort; nothing without rehearsals."""
    lines = []
    if sum_.liquidations:
        lines.append(
            f"{sum_.liquidations} rehearsed liquidations would have earned {usd(sum_.earned)} USD "
            "after gas, had they been sent"
        )
    if sum_.protections:
        lines.append(
            f"{sum_.protections} rehearsed protections would have saved up to {usd(sum_.saved)} "
            f"USD for {usd(sum_.paid_to_protect)} USD of gas, had they been sent"
        )
    if sum_.unpriced:
        lines.append(f"the gas of {sum_.unpriced} of them is not known and counted as nothing")
    return lines


def _outcome(action: "Action") -> str:
    """Return what a rehearsal would have brought, or nothing."""
    from keeper.units import Base

    if action.state != "rehearsed" or action.cost is None:
        return ""
    intent, cost = action.intent, action.cost
    gas = "gas of unknown worth" if cost.value is None else f"{usd(cost.value)} USD of gas"
    match str(intent.kind):
        case "liquidate":
            net = Base(intent.expected_profit - (cost.value or 0))
            return f"sent, it would have earned {usd(net)} USD after {gas}"
        case "top_up" | "repay":
            return f"sent, it would have saved up to {usd(intent.value_at_risk)} USD for {gas}"
        case _:
            return f"sent, it would have cost {gas}"


def instant(seconds: int) -> str:
    """Return ``2026-11-21 01:02:03Z``."""
    from datetime import UTC, datetime

    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}Z"


def spends(action: "Action") -> str:
    """Return what the intent spends, such as ``repay 2,938.10 USDC``."""
    intent = action.intent
    verb = {"top_up": "supply", "repay": "repay", "liquidate": "liquidate with"}.get(
        str(intent.kind), str(intent.kind)
    )
    if intent.amount >= ENDLESS:
        return f"{verb} {intent.asset.symbol} without limit"
    return f"{verb} {token(intent.amount, intent.asset.decimals, intent.asset.symbol)}"


def _change(action: "Action") -> str:
    if str(action.intent.kind) == "approve":
        return "-"
    after = action.observed_health
    simulated = "" if after is not None else " simulated"
    after = action.simulated_health if after is None else after
    if after is None:
        return health(action.intent.health_before)
    return f"{health(action.intent.health_before)} → {health(after)}{simulated}"


def _gas(action: "Action") -> str:
    if action.gas_wei is None:
        return "-"
    return coin(action.gas_wei, action.intent.position.market.chain_id)


def _cells(action: "Action") -> tuple[str, ...]:
    intent = action.intent
    return (
        instant(intent.block.timestamp),
        intent.intent_id,
        spends(action),
        f"{intent.position.market.name} {short(checksummed(intent.position.account))}",
        _change(action),
        action.state,
        _gas(action),
        "-" if action.tx_hash is None else short(action.tx_hash),
        "; ".join(part for part in (action.reason, _outcome(action)) if part),
    )


def _lines(action: "Action") -> tuple[str, str, str]:
    """Return the same where there is less room."""
    time, intent, deed, position, change, state, gas, tx, reason = _cells(action)
    more = "  ".join(
        f"{name}{cell}"
        for name, cell in (("health ", change), ("gas ", gas), ("tx ", tx))
        if cell != "-"
    )
    return (
        f"{time}  {intent}  {deed}, {state}",
        f"    {position}  {more}".rstrip(),
        f"    {reason}",
    )


def told(action: "Action") -> list[str]:
    """Return one action in full, a line for each fact."""
    intent = action.intent
    lines = [
        f"intent {intent.intent_id}: {spends(action)}, {action.state}",
        f"  position        {intent.position.market.name} {checksummed(intent.position.account)}",
        f"  decided         {instant(intent.block.timestamp)}, block {intent.block.number:,}",
        f"  reason          {action.reason}",
        f"  health          {_change(action)}",
        f"  value at risk   {usd(intent.value_at_risk)}",
    ]
    if intent.collateral is not None:
        lines.append(
            f"  seizes          {intent.collateral.symbol}, expected profit "
            f"{usd(intent.expected_profit)} before gas"
        )
    if action.cost is not None and (would := _outcome(action)):
        lines.append(f"  rehearsed       {would}, {action.cost.gas_used:,} gas")
    if action.nonce is not None:
        lines.append(f"  nonce           {action.nonce}")
    for number, attempt in enumerate(action.attempts, 1):
        lines.append(
            f"  attempt {number}       {attempt.tx_hash}, at most "
            f"{_gwei(attempt.fees.max_fee_wei)} gwei a gas, tip "
            f"{_gwei(attempt.fees.priority_fee_wei)}"
        )
    if action.receipt is not None:
        end = "succeeded" if action.receipt.succeeded else "reverted"
        lines.append(
            f"  mined           block {action.receipt.block_number:,}, {end}, "
            f"{action.receipt.gas_used:,} gas, {_gas(action)} paid for it"
        )
    return lines


def _gwei(wei: int) -> str:
    return amount(wei, 9, 3)


def document(action: "Action") -> dict[str, Any]:
    """Return one action for ``--json``."""
    intent, receipt = action.intent, action.receipt
    return {
        "intent": intent.intent_id,
        "kind": str(intent.kind),
        "state": action.state,
        "chain_id": intent.position.market.chain_id,
        "market": intent.position.market.name,
        "address": intent.position.account,
        "decided_at": intent.block.timestamp,
        "block": intent.block.number,
        "asset": intent.asset.address,
        "symbol": intent.asset.symbol,
        "amount_raw": str(intent.amount),
        "collateral": None if intent.collateral is None else intent.collateral.address,
        "value_at_risk_base": str(intent.value_at_risk),
        "expected_profit_base": str(intent.expected_profit),
        "health_before_wad": str(intent.health_before),
        "health_simulated_wad": _wad(action.simulated_health),
        "health_after_wad": _wad(action.observed_health),
        "nonce": action.nonce,
        "attempts": [attempt.tx_hash for attempt in action.attempts],
        "tx": action.tx_hash,
        "mined_block": None if receipt is None else receipt.block_number,
        "gas_used": None if receipt is None else receipt.gas_used,
        "rehearsed_gas_used": None if action.cost is None else action.cost.gas_used,
        "rehearsed_cost_wei": None if action.cost is None else str(action.cost.wei),
        "rehearsed_cost_base": (
            None if action.cost is None or action.cost.value is None else str(action.cost.value)
        ),
        "gas_wei": None if action.gas_wei is None else str(action.gas_wei),
        "reason": action.reason,
    }


def _wad(value: int | None) -> str | None:
    return None if value is None else str(value)
