"""``keeper deploy-liquidator`` and ``deploy-deleverager``: put our contracts on a chain."""

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from keeper.cli.act import DespiteOption, How
from keeper.cli.context import of

if TYPE_CHECKING:
    from keeper.app.deploy import Deployment
    from keeper.model import Outcome, Submission
    from keeper.settings import Chain, Settings


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="deploy-liquidator")(deploy_liquidator)
    app.command(name="deploy-deleverager")(deploy_deleverager)


def deploy_liquidator(
    context: typer.Context,
    send: Annotated[  # noqa: FBT002 - a flag of a command line
        bool, typer.Option("--send", help="Send it and wait until it is settled.")
    ] = False,
    no_wait: Annotated[  # noqa: FBT002 - a flag of a command line
        bool, typer.Option("--no-wait", help="Do not wait after sending.")
    ] = False,
    despite_pause: DespiteOption = False,  # noqa: FBT002 - a flag of a command line
) -> None:
    """Deploy the contract that liquidates on credit.

    It borrows, liquidates, sells and pays back at once.
    Its owner, who gets the profits, is liquidate.profit_to or the key's own account; its only
    caller is the key.  Without --send it is planned and rehearsed.
    """
    how = How(send=send, wait=not no_wait, despite_pause=despite_pause)
    _command(context, "liquidator", how)


def deploy_deleverager(
    context: typer.Context,
    send: Annotated[  # noqa: FBT002 - a flag of the command line
        bool, typer.Option("--send", help="Send it and wait until it is settled.")
    ] = False,
    no_wait: Annotated[  # noqa: FBT002 - a flag of the command line
        bool, typer.Option("--no-wait", help="Do not wait after sending.")
    ] = False,
    despite_pause: DespiteOption = False,  # noqa: FBT002 - a flag of a command line
) -> None:
    """Deploy the contract that sells by mandate.

    By it a borrower lets the key repay a debt with the borrower's own collateral, within bounds
    that the borrower sets.
    It has no owner and serves everybody on the chain.  Without --send it is planned and rehearsed.
    """
    how = How(send=send, wait=not no_wait, despite_pause=despite_pause)
    _command(context, "deleverager", how)


def _command(context: typer.Context, name: str, how: How) -> None:
    from keeper.cli.output import emit
    from keeper.errors import ExecutionError
    from keeper.model import Confirmed, Declined, Submitted

    invocation = of(context)
    settings = invocation.settings()
    chain = invocation.one_chain(settings)
    deployment, submission, outcome = asyncio.run(_deploy(settings, chain, name, how))
    if isinstance(submission, Declined):
        raise ExecutionError(f"Not deployed: {submission.reason}")
    if outcome is not None and not isinstance(outcome, Confirmed):
        reason = getattr(outcome, "reason", "its transaction was reverted.")
        raise ExecutionError(f"Not deployed: {reason}")
    plan = submission.open_plan.plan if isinstance(submission, Submitted) else submission.plan
    lines = _lines(chain, deployment, outcome, gas_limit=plan.gas_limit, sent=how.send)
    emit(
        _document(deployment, submission, outcome, gas_limit=plan.gas_limit),
        as_json=invocation.as_json,
        render=lambda out: out.print(lines, markup=False),
    )


async def _deploy(
    settings: "Settings", chain: "Chain", name: str, how: How
) -> "tuple[Deployment, Submission, Outcome | None]":
    from keeper.app.act import carry_out
    from keeper.app.chain import open_chain
    from keeper.app.deploy import plan_deleverager, plan_deployment
    from keeper.app.signing import (
        liquidating_signer_for,
        signer_for,
    )
    from keeper.errors import ConfigError
    from keeper.store.database import Database

    signer = await liquidating_signer_for(settings, chain) or await signer_for(settings, chain)
    if signer is None:
        raise ConfigError(
            "There is no key to deploy it with and to take orders of: set signing.keystore and "
            "signing.passphrase_file."
        )
    async with open_chain(settings, chain) as opened:
        deployment = (
            await plan_deployment(settings, opened, signer.address)
            if name == "liquidator"
            else await plan_deleverager(opened)
        )
        async with await Database.open(settings.database.url) as database:
            submission, outcome = await carry_out(
                settings, opened, database, deployment.planned,
                send=how.send, wait=how.wait, despite_pause=how.despite_pause,
            )  # fmt: skip
    return deployment, submission, outcome


def _document(
    deployment: "Deployment",
    submission: "Submission",
    outcome: "Outcome | None",
    *,
    gas_limit: int,
) -> dict[str, object]:
    receipt = getattr(outcome, "receipt", None)
    return {
        "contract": deployment.contract,
        "version": deployment.version,
        "code_hash": deployment.code_hash,
        "owner": deployment.owner,
        "caller": deployment.caller,
        "pools": list(deployment.pools),
        "targets": list(deployment.targets),
        "spenders": list(deployment.spenders),
        "uniswap_factory": deployment.factory,
        "gas_limit": gas_limit,
        "state": type(submission if outcome is None else outcome).__name__.lower(),
        "tx": None if receipt is None else receipt.tx_hash,
        "gas": None if receipt is None else receipt.gas_used,
    }


def _lines(
    chain: "Chain",
    deployment: "Deployment",
    outcome: "Outcome | None",
    *,
    gas_limit: int,
    sent: bool,
) -> str:
    from keeper.cli.output import checksummed

    lines = [
        f"{deployment.name} on {chain.name}, version {deployment.version}",
        f"  address   {checksummed(deployment.contract)}",
        f"  code      keccak256 {deployment.code_hash}, as shipped; `./run lens` makes the same",
    ]
    if deployment.owner is not None and deployment.caller is not None:
        lines += [
            f"  owner     {checksummed(deployment.owner)}  gets every profit, for good",
            f"  caller    {checksummed(deployment.caller)}  the key",
        ]
    else:
        lines.append("  owner     nobody: borrowers give mandates, and it keeps nothing")
    lines += [
        *(f"  market    {checksummed(pool)}" for pool in deployment.pools),
        *(f"  target    {checksummed(to)}  may be called for sales" for to in deployment.targets),
        *(f"  spender   {checksummed(to)}  may be approved for them" for to in deployment.spenders),
        f"  exchange  {checksummed(deployment.factory)}",
    ]
    receipt = getattr(outcome, "receipt", None)
    if receipt is not None:
        lines.append(f"  deployed  tx {receipt.tx_hash}, gas {receipt.gas_used:,}")
    elif sent:
        lines.append(f"  sent      gas at most {gas_limit:,}; see `keeper actions`")
    else:
        lines.append(f"  rehearsed it would succeed with gas of at most {gas_limit:,}; --send it")
    lines.append(f'  then set  [chains.{chain.name}] {deployment.name} = "{deployment.contract}"')
    return "\n".join(lines)
