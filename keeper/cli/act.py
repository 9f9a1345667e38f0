"""``keeper topup``, ``repay``, ``deleverage``, ``liquidate`` and ``approve``: a plan, its
rehearsal, and with ``--send`` the transaction, followed to its end.
"""

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from keeper.cli.act_words import Done, became, document, ended, lacking, plan_lines, waiting
from keeper.cli.asking import (
    AddressArgument,
    MarketOption,
    account,
    asking,
    caution,
    chains_with,
    health_factor,
    until_done,
)
from keeper.cli.output import (
    emit,
    json_ready,
)
from keeper.errors import ConfigError, ExecutionError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from keeper.app.act import Planned
    from keeper.app.chain import OpenChain
    from keeper.engine.market import WatchedMarket
    from keeper.model import Address, BlockRef, IntentKind, OpenPlan, Submission
    from keeper.settings import Settings
    from keeper.units import Wad

    Planning = Callable[[OpenChain, WatchedMarket[Any, Any]], Awaitable[Planned]]

TARGET = "1.5"

SendOption = Annotated[
    bool, typer.Option("--send", help="Send it; without, it is only planned and simulated.")
]
NoWaitOption = Annotated[bool, typer.Option("--no-wait", help="Do not wait until it is settled.")]
DespiteOption = Annotated[
    bool,
    typer.Option("--despite-pause", help="Send it although people stopped the keeper by /pause."),
]
AssetOption = Annotated[
    str | None,
    typer.Option(help="With this token, by symbol or address; else the largest.", metavar="ASSET"),
]
AmountOption = Annotated[
    str | None,
    typer.Option(help="Exactly so many tokens; else what reaches the target.", metavar="1250.5"),
]
TargetOption = Annotated[
    str | None,
    typer.Option(help=f"The health factor to reach; {TARGET} when left out.", metavar=TARGET),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """What is done with a plan."""

    send: bool
    wait: bool
    despite_pause: bool


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("topup")(topup)
    app.command("repay")(repay)
    app.command("deleverage")(deleverage)
    app.command("liquidate")(liquidate)
    app.command("approve")(approve)


def topup(  # noqa: PLR0917 - a command line
    context: typer.Context,
    address: AddressArgument,
    asset: AssetOption = None,
    amount: AmountOption = None,
    target: TargetOption = None,
    market: MarketOption = None,
    send: SendOption = False,  # noqa: FBT002 - typer's way
    no_wait: NoWaitOption = False,  # noqa: FBT002 - a flag of a command line
    despite_pause: DespiteOption = False,  # noqa: FBT002 - a flag of a command line
) -> None:
    """Supply collateral for an account, from own funds."""
    from keeper.model import IntentKind

    who, goal = account(address), _goal(target, amount)
    planning = _protection(who, IntentKind.TOP_UP, goal, asset, amount)
    how = How(send=send, wait=not no_wait, despite_pause=despite_pause)
    _act(context, market, planning, how)


def repay(  # noqa: PLR0917 - a command line
    context: typer.Context,
    address: AddressArgument,
    asset: AssetOption = None,
    amount: AmountOption = None,
    target: TargetOption = None,
    market: MarketOption = None,
    send: SendOption = False,  # noqa: FBT002 - a flag of a command line
    no_wait: NoWaitOption = False,  # noqa: FBT002 - a flag of a command line
    despite_pause: DespiteOption = False,  # noqa: FBT002 - a flag of a command line
) -> None:
    """Repay debt of an account, from own funds."""
    from keeper.model import IntentKind

    who, goal = account(address), _goal(target, amount)
    planning = _protection(who, IntentKind.REPAY, goal, asset, amount)
    how = How(send=send, wait=not no_wait, despite_pause=despite_pause)
    _act(context, market, planning, how)


def deleverage(  # noqa: PLR0917 - a command line
    context: typer.Context,
    address: AddressArgument,
    asset: Annotated[
        str | None, typer.Option(help="Repay this debt; else whichever sells least.")
    ] = None,
    amount: Annotated[
        str | None,
        typer.Option(help="Repay so much of --asset; else what reaches the target.", metavar="N"),
    ] = None,
    sell: Annotated[
        str | None, typer.Option(help="Sell this collateral; else whichever sells least.")
    ] = None,
    target: TargetOption = None,
    market: MarketOption = None,
    send: SendOption = False,  # noqa: FBT002 - a flag of a command line
    no_wait: NoWaitOption = False,  # noqa: FBT002 - a flag of a command line
    despite_pause: DespiteOption = False,  # noqa: FBT002 - a flag of a command line
) -> None:
    """Repay debt by selling the account's own collateral.

    In one transaction, within the mandate that the account gave on chain; `keeper check` says what
    is missing.
    """
    from keeper.app.deleverage import plan_deleverage

    _, settings = asking(context)
    who, goal = account(address), _goal(target, amount)

    async def planning(chain: "OpenChain", in_market: "WatchedMarket[Any, Any]") -> "Planned":
        return await plan_deleverage(
            settings, chain, in_market, who, target=goal, asset=asset, amount=amount, sell=sell
        )

    how = How(send=send, wait=not no_wait, despite_pause=despite_pause)
    _act(context, market, planning, how)


def liquidate(  # noqa: PLR0917 - a command line
    context: typer.Context,
    address: AddressArgument,
    market: MarketOption = None,
    send: SendOption = False,  # noqa: FBT002 - a flag of a command line
    no_wait: NoWaitOption = False,  # noqa: FBT002 - a flag of a command line
    despite_pause: DespiteOption = False,  # noqa: FBT002 - a flag of a command line
) -> None:
    """Liquidate an account whose health is below 1.

    The most profitable legal pair of collateral and debt that can be paid for.
    """
    from keeper.app.act import plan_liquidation
    from keeper.app.owner import owner_address

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

    how = How(send=send, wait=not no_wait, despite_pause=despite_pause)
    _act(context, market, planning, how)


def approve(  # noqa: PLR0917 - a command line
    context: typer.Context,
    asset: Annotated[str, typer.Argument(help="The token, by symbol or address.")],
    amount: Annotated[
        str | None,
        typer.Argument(help="The most that the Pool may take; without limit when left out."),
    ] = None,
    market: MarketOption = None,
    send: SendOption = False,  # noqa: FBT002 - a flag of a command line
    no_wait: NoWaitOption = False,  # noqa: FBT002 - a flag of a command line
    despite_pause: DespiteOption = False,  # noqa: FBT002 - a flag of a command line
) -> None:
    """Let a market's Pool take a token from the keeper.

    Needed once before anything is paid with it.
    """
    from keeper.app.act import plan_approval

    async def planning(chain: "OpenChain", in_market: "WatchedMarket[Any, Any]") -> "Planned":
        return await plan_approval(chain, in_market, asset, amount)

    how = How(send=send, wait=not no_wait, despite_pause=despite_pause)
    _act(context, market, planning, how)


def _goal(target: str | None, amount: str | None) -> "Wad":
    """Return the health factor to reach; without meaning where an amount is given."""
    if target is not None and amount is not None:
        raise ConfigError(
            "--amount and --target are two answers to how much: leave one of them out"
        )
    return health_factor("--target", target or TARGET)


def _protection(
    who: "Address", kind: "IntentKind", goal: Any, asset: str | None, amount: str | None
) -> "Planning":
    from keeper.app.act import plan_protection

    async def planning(chain: "OpenChain", market: "WatchedMarket[Any, Any]") -> "Planned":
        return await plan_protection(
            chain, market, who, kind, target=goal, asset=asset, amount=amount
        )

    return planning


# --- plan, rehearse, send -----------------------------------------------------------------------


def _act(context: typer.Context, market: str | None, planning: "Planning", how: How) -> None:
    from keeper.model import Abandoned, Declined, Reverted

    invocation, settings = asking(context)
    chains = chains_with(invocation, settings, market)
    chain = chains[0] if len(chains) == 1 else invocation.one_chain(settings)
    say = _nothing if invocation.as_json else _say
    done = until_done(_carry_out(settings, chain, market, planning, say=say, how=how))
    emit(json_ready(document(done)), as_json=invocation.as_json, render=_nothing)
    match done.submission, done.outcome:
        case Declined(reason=reason), _:
            missing = lacking(done.planned, done.inventory)
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
    *,
    say: "Callable[[str], None]",
    how: How,
) -> Done:
    from keeper.app.act import carry_out, inventory_of
    from keeper.app.chain import open_chain
    from keeper.app.owner import owner_address
    from keeper.store.database import Database

    def on_block(block: "BlockRef", plan: "OpenPlan | None", doubt: str) -> None:
        say(waiting(block, plan, config.confirmations, doubt))

    def on_sent(submission: "Submission") -> None:
        for line in became(
            submission, armed=settings.signing.armed(config.chain_id), wait=how.wait
        ):
            say(line)

    async with open_chain(settings, config) as chain:
        if not how.send:
            caution(config.name, chain.unfit)
        where = chain.market(market)
        planned = await planning(chain, where)
        owner = await owner_address(settings, config)
        inventory = None if owner is None else await inventory_of(chain, where, owner)
        for line in plan_lines(chain, planned, inventory):
            say(line)
        if owner is None and not how.send:
            say("Only planned: there is no key to simulate it with; set signing.keystore.")
            return Done(planned=planned, inventory=None, submission=None, outcome=None)
        async with await Database.open(settings.database.url) as database:
            submission, outcome = await carry_out(
                settings, chain, database, planned,
                send=how.send, wait=how.wait, despite_pause=how.despite_pause,
                on_sent=on_sent, on_block=on_block,
            )  # fmt: skip
        if outcome is not None:
            for line in ended(outcome):
                say(line)
    return Done(planned=planned, inventory=inventory, submission=submission, outcome=outcome)


def _say(text: str) -> None:
    sys.stdout.write("".join(c if c.isprintable() else "?" for c in text) + "\n")
    sys.stdout.flush()


def _nothing(_: object) -> None:
    """Print nothing: it was printed as it came, or is in the document."""
