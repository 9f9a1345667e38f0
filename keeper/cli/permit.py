"""``keeper permit``: what an account signs so that its collateral may be sold, and what it signed.

Standard output is what a wallet's ``eth_signTypedData_v4`` takes and nothing else; what is said of
it goes to standard error.
"""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from keeper.cli.asking import (
    AddressArgument,
    MarketOption,
    account,
    asking,
    caution,
    chains_with,
    until_done,
)
from keeper.cli.output import checksummed, emit, health
from keeper.errors import ConfigError

if TYPE_CHECKING:
    from keeper.app.permit import Kept, Offer, Subject
    from keeper.model import Address
    from keeper.settings import Settings

LONGEST_S = 366 * 86_400


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("permit")(permit)


def permit(  # noqa: PLR0917 - a command line
    context: typer.Context,
    address: AddressArgument,
    collateral: Annotated[
        str | None,
        typer.Option(help="For this collateral; else the most valuable that may be sold."),
    ] = None,
    amount: Annotated[
        str | None,
        typer.Option(
            help="So many tokens at the most, or max for any amount; else what does at any time "
            "before the account can be liquidated.",
            metavar="N|max",
        ),
    ] = None,
    valid_for: Annotated[
        str, typer.Option("--valid-for", help="Until when it may be used.", metavar="30d")
    ] = "30d",
    signature: Annotated[
        str | None,
        typer.Option(
            help="What the wallet answered, a file with it, or - for standard input: checked and "
            "kept.",
            metavar="0x|FILE|-",
        ),
    ] = None,
    sign: Annotated[  # noqa: FBT002 - a flag of a command line
        bool, typer.Option("--sign", help="Sign it with the keeper's key: its own account's only.")
    ] = False,
    forget: Annotated[  # noqa: FBT002 - a flag of a command line
        bool, typer.Option("--forget", help="Forget what was kept of the account's collateral.")
    ] = False,
    market: MarketOption = None,
) -> None:
    """Print or keep an account's permit to the deleverager.

    With it the deleverager may sell the account's collateral.
    The signed permit goes to the aToken in the same transaction as the sale.  Without --signature
    or --sign nothing is allowed by anybody.
    """
    invocation, settings = asking(context)
    who = account(address)
    lasts_s = _seconds(valid_for)
    if sum((signature is not None, sign, forget)) > 1:
        raise ConfigError("--signature, --sign and --forget are three things: name one.")
    given = None if signature is None else _content(signature)
    if given is not None and (amount is not None or collateral is not None):
        raise ConfigError(
            "--signature is of what was printed: leave --amount and --collateral out."
        )
    chains = chains_with(invocation, settings, market)
    chain = chains[0] if len(chains) == 1 else invocation.one_chain(settings)
    how = {"collateral": collateral, "amount": amount, "valid_for_s": lasts_s}
    work = _done(settings, chain, market, who, given=given, sign=sign, forget=forget, how=how)
    said = until_done(work)
    if isinstance(said, dict):
        emit(said, as_json=invocation.as_json, render=lambda _: _say(said["said"]))
        return
    document, lines, data = said
    for line in () if invocation.as_json else lines:
        sys.stderr.write("".join(c if c.isprintable() else "?" for c in line) + "\n")
    emit(document, as_json=invocation.as_json, render=lambda _: _print(data))


async def _done(
    settings: "Settings",
    config: Any,
    market: str | None,
    who: "Address",
    *,
    given: str | None,
    sign: bool,
    forget: bool,
    how: dict[str, Any],
) -> Any:
    from keeper.app import permit as of
    from keeper.app.chain import open_chain

    async with open_chain(settings, config) as chain:
        caution(config.name, chain.unfit)
        where = chain.market(market)
        if given is not None:
            return _kept(await of.take(settings, chain, where, who, given))
        subject = await of.subject_of(settings, chain, where, who, how["collateral"])
        if forget:
            return _forgotten(subject, await of.forget(settings, subject))
        offer = await of.ask(
            settings, subject, amount=how["amount"], valid_for_s=how["valid_for_s"]
        )
        if sign:
            return _kept(await of.sign(settings, offer))
        return _document(offer), _lines(offer), offer.typed_data


def _lines(offer: "Offer") -> list[str]:
    from keeper.execution.permits import instant
    from keeper.strategies.text import need, symbol

    subject, of = offer.subject, offer.permit
    lines = [
        (
            f"{subject.chain.config.name}, {subject.market.id.name}: {checksummed(of.owner)} lets"
            f" the deleverager {checksummed(of.spender)}"
        ),
        f"  take            {offer.said}, by the aToken {checksummed(of.token)}",
        (
            f"  until           {instant(of.deadline)} it may be handed in, once, as number"
            f" {of.nonce} of its permits; what is not taken then stays allowed until it is"
            " approved to 0"
        ),
        (
            f"  it may need     {need(subject.needs, subject.leg.asset)} now, at a health factor of"
            f" {health(subject.assessed.health_factor)}"
        ),
        (
            "  what is risked  within that, what the account's mandate lets its operator do; nobody"
            " else can use it, and nothing is sold for more than the mandate's cost"
        ),
        (
            "  to take it back let it sign another for the same number with an amount of 0, and"
            " hand that to the aToken; or withdraw the mandate"
        ),
        f"Sign this with eth_signTypedData_v4, then: keeper permit {of.owner} --signature 0x...",
    ]
    if subject.entry is None:
        lines.append(
            f"  note: no [protect] entry deleverages this account, so nothing uses its"
            f" {symbol(subject.leg.asset)}"
        )
    return lines


def _document(offer: "Offer") -> dict[str, Any]:
    subject, of = offer.subject, offer.permit
    return {
        "chain_id": of.chain_id,
        "market": subject.market.id.name,
        "address": of.owner,
        "collateral": subject.leg.asset.address,
        "symbol": subject.leg.asset.symbol,
        "token": of.token,
        "spender": of.spender,
        "value_raw": str(of.value),
        "needs_raw": str(subject.needs),
        "nonce": str(of.nonce),
        "deadline": str(of.deadline),
        "block": subject.block.number,
        "hash": subject.block.hash,
        "typed_data": offer.typed_data,
    }


def _kept(done: "Kept") -> dict[str, Any]:
    from keeper.execution.permits import instant

    offer, of = done.offer, done.signed.permit
    said = (
        f"Kept: {checksummed(of.owner)} lets the deleverager take {offer.said}, until"
        f" {instant(of.deadline)}; it goes along with the sale that needs it."
    )
    return {**_document(offer), "state": "kept", "said": said}


def _forgotten(subject: "Subject", count: int) -> dict[str, Any]:
    from keeper.strategies.text import symbol

    name = symbol(subject.leg.asset)
    said = (
        f"Forgotten: {checksummed(subject.account)}'s permit for {name}. Whoever else has the"
        " signature can hand it to the aToken until it runs out."
        if count
        else f"There was no permit of {checksummed(subject.account)} for {name}."
    )
    return {"state": "forgotten", "forgotten": count, "address": subject.account, "said": said}


def _content(word: str) -> str:
    """Return a signature's text from the command line, standard input or a file."""
    from keeper.app.permit import MOST_BYTES

    if word.lower().startswith("0x"):
        return word
    if word == "-":
        found = sys.stdin.read(MOST_BYTES + 1)
    else:
        try:
            with Path(word).open(encoding="utf-8") as file:
                found = file.read(MOST_BYTES + 1)
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or "it is not text"
            raise ConfigError(
                f"--signature must be 0x..., a file or -: {word!r} cannot be read: {why}"
            ) from None
    if len(found) > MOST_BYTES:
        raise ConfigError(f"--signature: more than {MOST_BYTES:,} characters are no signature.")
    return found


def _seconds(text: str) -> int:
    from keeper.notify.words import BadWord, parse_duration

    try:
        return parse_duration(text.strip(), most_s=LONGEST_S)
    except BadWord as error:
        raise ConfigError(f"--valid-for: {error}") from None


def _print(data: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(data, indent=2) + "\n")


def _say(text: str) -> None:
    sys.stdout.write("".join(c if c.isprintable() else "?" for c in text) + "\n")
