"""``keeper topup``, ``repay``, ``liquidate`` and ``approve``: a plan, its rehearsal, and with
``--send`` the transaction, followed to its end.
"""

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from keeper.cli.actions import ENDLESS, instant
from keeper.cli.asking import (
    AddressArgument,
    MarketOption,
    account,
    asking,
    chains_with,
    health_factor,
    until_done,
)
from keeper.cli.output import (
    amount,
    block_line,
    checksummed,
    emit,
    health,
    json_ready,
    token,
    usd,
)
from keeper.errors import ConfigError, ExecutionError
from keeper.units import Raw

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from keeper.app.act import Planned
    from keeper.app.chain import OpenChain
    from keeper.engine.market import WatchedMarket
    from keeper.model import Address, BlockRef, IntentKind, Inventory, OpenPlan, Outcome, Submission
    from keeper.settings import Settings

    Planning = Callable[[OpenChain, WatchedMarket[Any, Any]], Awaitable[Planned]]

SendOption = Annotated[
    bool, typer.Option("--send", help="Send it; without, it is only planned and simulated.")
]
NoWaitOption = Annotated[bool, typer.Option("--no-wait", help="Do not wait until it is settled.")]
AssetOption = Annotated[
    str | None,
    typer.Option(help="With this token, by symbol or address; else the largest.", metavar="ASSET"),
]
AmountOption = Annotated[
    str | None,
    typer.Option(help="Exactly so many tokens; else what reaches the target.", metavar="1250.5"),
]
TargetOption = Annotated[str, typer.Option(help="The health factor to reach.", metavar="1.5")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("topup")(topup)
    app.command("repay")(repay)
    app.command("liquidate")(liquidate)
    app.command("approve")(approve)


def topup(  # noqa: PLR0917 - a command line
    context: typer.Context,
    address: AddressArgument,
    asset: AssetOption = None,
    amount: AmountOption = None,
    target: TargetOption = "1.5",
    market: MarketOption = None,
    send: SendOption = False,  # noqa: FBT002 - typer's way
    no_wait: NoWaitOption = False,  # noqa: FBT002
) -> None:
    """Supply collateral for an account, from own funds."""
    from keeper.model import IntentKind  # noqa: PLC0415 - slow to import

    who, goal = account(address), health_factor("--target", target)
    planning = _protection(who, IntentKind.TOP_UP, goal, asset, amount)
    _act(context, market, planning, send=send, wait=not no_wait)


def repay(  # noqa: PLR0917
    context: typer.Context,
    address: AddressArgument,
    asset: AssetOption = None,
    amount: AmountOption = None,
    target: TargetOption = "1.5",
    market: MarketOption = None,
    send: SendOption = False,  # noqa: FBT002
    no_wait: NoWaitOption = False,  # noqa: FBT002
) -> None:
    """Repay debt of an account, from own funds."""
    from keeper.model import IntentKind  # noqa: PLC0415

    who, goal = account(address), health_factor("--target", target)
    planning = _protection(who, IntentKind.REPAY, goal, asset, amount)
    _act(context, market, planning, send=send, wait=not no_wait)


def liquidate(
    context: typer.Context,
    address: AddressArgument,
    market: MarketOption = None,
    send: SendOption = False,  # noqa: FBT002
    no_wait: NoWaitOption = False,  # noqa: FBT002
) -> None:
    """Liquidate an account whose health is below 1.

    The most profitable legal pair of collateral and debt that can be paid for.
    """
    from keeper.app.act import plan_liquidation  # noqa: PLC0415
    from keeper.app.owner import owner_address  # noqa: PLC0415

    _, settings = asking(context)
    who = account(address)

    async def planning(chain: "OpenChain", in_market: "WatchedMarket[Any, Any]") -> "Planned":
        owner = await owner_address(settings, chain.config)
        if owner is None:
            raise ConfigError(
                "there is no key to liquidate with: set signing.keystore and "
                "signing.passphrase_file"
            )
        return await plan_liquidation(settings, chain, in_market, who, owner)

    _act(context, market, planning, send=send, wait=not no_wait)


def approve(  # noqa: PLR0917
    context: typer.Context,
    asset: Annotated[str, typer.Argument(help="The token, by symbol or address.")],
    amount: Annotated[
        str | None,
        typer.Argument(help="The most that the Pool may take; without limit when left out."),
    ] = None,
    market: MarketOption = None,
    send: SendOption = False,  # noqa: FBT002
    no_wait: NoWaitOption = False,  # noqa: FBT002
) -> None:
    """Let a market's Pool take a token from the keeper.

    Needed once before anything is paid with it.
    """
    from keeper.app.act import plan_approval  # noqa: PLC0415

    async def planning(chain: "OpenChain", in_market: "WatchedMarket[Any, Any]") -> "Planned":
        return await plan_approval(chain, in_market, asset, amount)

    _act(context, market, planning, send=send, wait=not no_wait)


def _protection(
    who: "Address", kind: "IntentKind", goal: Any, asset: str | None, amount: str | None
) -> "Planning":
    from keeper.app.act import plan_protection  # noqa: PLC0415

    async def planning(chain: "OpenChain", market: "WatchedMarket[Any, Any]") -> "Planned":
        return await plan_protection(
            chain, market, who, kind, target=goal, asset=asset, amount=amount
        )

    return planning


# --- plan, rehearse, send -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Done:
    planned: "Planned"
    inventory: "Inventory | None"
    submission: "Submission | None"
    """None without a key: only planned."""
    outcome: "Outcome | None"


def _act(
    context: typer.Context, market: str | None, planning: "Planning", *, send: bool, wait: bool
) -> None:
    from keeper.model import Abandoned, Declined, Reverted  # noqa: PLC0415

    invocation, settings = asking(context)
    chains = chains_with(invocation, settings, market)
    chain = chains[0] if len(chains) == 1 else invocation.one_chain(settings)
    say = _nothing if invocation.as_json else _say
    done = until_done(_carry_out(settings, chain, market, planning, say, send=send, wait=wait))
    emit(json_ready(_document(done)), as_json=invocation.as_json, render=_nothing)
    match done.submission, done.outcome:
        case Declined(reason=reason), _:
            missing = _missing(done.planned, done.inventory)
            why = f"it needs {missing} ({reason.rstrip('.')})" if missing else reason
            raise ExecutionError(f"not sent, nothing was spent: {why}")
        case _, Reverted(receipt=receipt):
            raise ExecutionError(
                f"the transaction reverted in block {receipt.block_number:,}: its gas was spent"
            )
        case _, Abandoned(reason=reason):
            raise ExecutionError(f"given up: {reason}")


async def _carry_out(
    settings: "Settings",
    config: Any,
    market: str | None,
    planning: "Planning",
    say: "Callable[[str], None]",
    *,
    send: bool,
    wait: bool,
) -> _Done:
    from keeper.app.act import carry_out, inventory_of  # noqa: PLC0415
    from keeper.app.chain import open_chain  # noqa: PLC0415
    from keeper.app.owner import owner_address  # noqa: PLC0415
    from keeper.store.database import Database  # noqa: PLC0415

    def on_block(block: "BlockRef", plan: "OpenPlan | None") -> None:
        say(_waiting(block, plan, config.confirmations))

    def on_sent(submission: "Submission") -> None:
        for line in _became(submission, armed=settings.signing.armed(config.chain_id), wait=wait):
            say(line)

    async with open_chain(settings, config) as chain:
        where = chain.market(market)
        planned = await planning(chain, where)
        owner = await owner_address(settings, config)
        inventory = None if owner is None else await inventory_of(chain, where, owner)
        for line in _plan(chain, planned, inventory):
            say(line)
        if owner is None and not send:
            say("Only planned: there is no key to simulate it with; set signing.keystore.")
            return _Done(planned=planned, inventory=None, submission=None, outcome=None)
        async with await Database.open(settings.database.url) as database:
            submission, outcome = await carry_out(
                settings, chain, database, planned,
                send=send, wait=wait, on_sent=on_sent, on_block=on_block,
            )  # fmt: skip
        if outcome is not None:
            for line in _ended(outcome):
                say(line)
    return _Done(planned=planned, inventory=inventory, submission=submission, outcome=outcome)


def _say(text: str) -> None:
    sys.stdout.write("".join(c if c.isprintable() else "?" for c in text) + "\n")
    sys.stdout.flush()


def _nothing(_: object) -> None:
    """Print nothing: it was printed as it came, or is in the document."""


# --- words ------------------------------------------------------------------------------------


def _plan(chain: "OpenChain", planned: "Planned", inventory: "Inventory | None") -> "list[str]":
    import time  # noqa: PLC0415

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
    if inventory is not None:
        held = inventory.balances.get(asset.address, 0)
        allowed = inventory.allowances.get(asset.address, 0)
        may = "without limit" if allowed >= ENDLESS else _tokens(allowed, asset)
        lines.append(f"  the keeper has  {_tokens(held, asset)}, the Pool may take {may}")
        lines.append(f"  acting as       {checksummed(inventory.owner)}")
        if missing := _missing(planned, inventory):
            lines.append(f"  missing         {missing}")
    lines.append(f"  intent          {intent.intent_id}")
    return lines


def _missing(planned: "Planned", inventory: "Inventory | None") -> str:
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
        case "liquidate":
            seized = intent.collateral.symbol if intent.collateral else "?"
            return f"Liquidate {who}: repay up to {what}, seize {seized}"
        case _:
            limit = f"{intent.asset.symbol} without limit" if intent.amount >= ENDLESS else what
            return f"Approve: the Pool of {intent.position.market.name} may take {limit}"


def _became(submission: "Submission", *, armed: bool, wait: bool) -> "list[str]":
    from keeper.model import Rehearsed, Submitted  # noqa: PLC0415

    lines = []
    if isinstance(submission, Rehearsed):
        plan = submission.plan
        lines.append(f"  transaction     to {checksummed(plan.to)}, 0x{plan.data[:4].hex()}...")
        lines.append(
            f"  gas             {plan.gas_limit:,} at most, at {amount(plan.max_fee_wei, 9, 3)} "
            f"gwei at most: {amount(plan.gas_limit * plan.max_fee_wei, 18, 6)}"
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


def _waiting(block: "BlockRef", plan: "OpenPlan | None", confirmations: int) -> str:
    if plan is None or plan.receipt is None:
        attempts = 1 if plan is None else len(plan.attempts)
        more = f", attempt {attempts}" if attempts > 1 else ""
        return f"  block {block.number:,}: not mined yet{more}"
    depth = max(0, block.number - plan.receipt.block_number)
    return (
        f"  block {block.number:,}: mined in {plan.receipt.block_number:,}, "
        f"{depth} of {confirmations} blocks on top"
    )


def _ended(outcome: "Outcome") -> "list[str]":
    from keeper.model import Confirmed  # noqa: PLC0415

    if not isinstance(outcome, Confirmed):
        return []
    receipt = outcome.receipt
    paid = amount(receipt.gas_used * receipt.effective_gas_price_wei, 18, 6)
    used = f"{receipt.gas_used:,} gas, {paid} paid for it"
    return [f"Confirmed in block {receipt.block_number:,}: {used}."]


def _document(done: _Done) -> dict[str, Any]:
    from keeper.model import Declined, Rehearsed, Submitted  # noqa: PLC0415

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
        "tx": tx,
        "mined_block": None if receipt is None else receipt.block_number,
        "gas_used": None if receipt is None else receipt.gas_used,
    }
