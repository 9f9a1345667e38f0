"""``keeper liquidator``: what the deployed contract lists, and the calls that are left to make."""

import asyncio
from typing import TYPE_CHECKING, Annotated, Final

import typer

from keeper.cli.act import DespiteOption
from keeper.cli.asking import account, asking
from keeper.cli.output import checksummed, emit
from keeper.errors import ConfigError, ExecutionError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from keeper.app.chain import OpenChain
    from keeper.app.liquidator import Listing, Lists
    from keeper.model import Address
    from keeper.settings import Chain, Settings

MEANING: Final = {
    "caller": "may give orders",
    "market": "may be liquidated in",
    "target": "may be called for sales",
    "spender": "may be approved for them",
}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("liquidator")(liquidator)


def liquidator(
    context: typer.Context,
    revoke: Annotated[
        list[str] | None,
        typer.Option(
            help="List this address in no role any more: a router that was broken into, a key "
            "that is given up.  May be given several times.",
            metavar="ADDRESS",
        ),
    ] = None,
    send: Annotated[  # noqa: FBT002 - a flag of a command line
        bool, typer.Option("--send", help="Make the calls that are left, where the key owns it.")
    ] = False,
    despite_pause: DespiteOption = False,  # noqa: FBT002 - a flag of a command line
) -> None:
    """Show whom the liquidator lists, and what is left.

    What is left to be listed for this file.
    Only its owner may change that: for each call that is left there is what the owner's wallet has
    to send.  Where the key is the owner, --send makes them, one after the other.  Without a key
    all is shown but whether the key may give orders.
    """
    invocation, settings = asking(context)
    chain = invocation.one_chain(settings)
    unwanted = tuple(account(text) for text in revoke or ())
    before, after, key = asyncio.run(
        _carried_out(settings, chain, unwanted, send=send, despite_pause=despite_pause)
    )
    emit(
        _document(after, key, made=len(before.to_do) - len(after.to_do)),
        as_json=invocation.as_json,
        render=lambda out: out.print(_lines(chain, after, key), markup=False),
    )


async def _carried_out(
    settings: "Settings",
    config: "Chain",
    revoke: "Sequence[Address]",
    *,
    send: bool,
    despite_pause: bool,
) -> "tuple[Lists, Lists, Address | None]":
    """Return what was listed, what is listed now, and the key's account."""
    from keeper.app.chain import open_chain
    from keeper.app.liquidator import lists_of
    from keeper.app.signing import liquidating_signer_for, signer_for

    signer = await liquidating_signer_for(settings, config) or await signer_for(settings, config)
    if send and signer is None:
        raise ConfigError(
            "There is no key to send with: set signing.keystore and signing.passphrase_file; "
            "without --send the calls are shown."
        )
    key = None if signer is None else signer.address
    async with open_chain(settings, config) as chain:
        before = now = await lists_of(chain, key, revoke)
    if not send:
        return before, before, key
    if now.owner != key:
        raise ExecutionError(
            f"The owner of {now.contract} is {now.owner} and not the key {key}: make the calls "
            "with the owner's wallet; without --send they are shown."
        )
    for one in before.to_do:
        async with open_chain(settings, config) as chain:
            await _send(settings, chain, now, one, despite_pause=despite_pause)
        async with open_chain(settings, config) as chain:  # as the chain says, at its next head
            now = await lists_of(chain, key, revoke)
        if one in now.to_do:
            raise ExecutionError(f"{one.words} was mined and is not listed so: look at {key}.")
    return before, now, key


async def _send(
    settings: "Settings", chain: "OpenChain", lists: "Lists", one: "Listing", *, despite_pause: bool
) -> None:
    from keeper.app.act import carry_out
    from keeper.app.liquidator import plan_listing
    from keeper.model import Confirmed, Declined
    from keeper.store.database import Database

    planned = await plan_listing(chain, lists, one)
    async with await Database.open(settings.database.url) as database:
        submission, outcome = await carry_out(
            settings, chain, database, planned, send=True, despite_pause=despite_pause
        )
    if isinstance(submission, Declined):
        raise ExecutionError(f"{one.words} was not sent: {submission.reason}")
    if not isinstance(outcome, Confirmed):
        reason = getattr(outcome, "reason", "its transaction was reverted.")
        raise ExecutionError(f"{one.words}: {reason}")
    typer.echo(f"{one.words}: tx {outcome.receipt.tx_hash}", err=True)


def _document(lists: "Lists", key: "Address | None", *, made: int) -> dict[str, object]:
    return {
        "contract": lists.contract,
        "version": lists.version,
        "owner": lists.owner,
        "key": key,
        "key_is_owner": lists.owner == key,
        "calls_made": made,
        "listings": [
            {"role": o.role, "address": o.address, "listed": o.listed, "wanted": o.wanted}
            for o in lists.listings
        ],
        "to_do": [
            {"call": o.words, "to": call.to, "data": "0x" + call.data.hex()}
            for o in lists.to_do
            for call in (o.call(lists.contract),)
        ],
    }


def _lines(chain: "Chain", lists: "Lists", key: "Address | None") -> str:
    owns = "the key" if lists.owner == key else "another account than the key"
    if key is None:
        owns = "no key is named here: who gives the orders is not looked up"
    lines = [
        f"liquidator on {chain.name}, version {lists.version}",
        f"  address   {checksummed(lists.contract)}",
        f"  owner     {checksummed(lists.owner)}  {owns}",
    ]
    for one in lists.listings:
        state = "listed" if one.listed else "not listed"
        lines.append(
            f"  {one.role:9} {checksummed(one.address)}  {state}: {MEANING[one.role]}"
            + ("" if one.wanted else ", to be taken out")
        )
    if not lists.to_do:
        return "\n".join([*lines, "Nothing is left to do."])
    by = "--send makes them" if lists.owner == key else "its owner's wallet makes them"
    lines.append(f"Calls that are left, {by}:")
    for one in lists.to_do:
        call = one.call(lists.contract)
        lines += [f"  {one.words}", f"    to      {checksummed(call.to)}"]
        lines.append(f"    data    0x{call.data.hex()}")
    return "\n".join(lines)
