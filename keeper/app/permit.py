"""``keeper permit``: what a borrower is asked to sign for the deleverager, and what they signed.

A permit is asked for with the token's own domain, held against its DOMAIN_SEPARATOR, and taken only
where the account itself signed it and the token, asked at the head, would take it too.
"""

import asyncio
import json
from dataclasses import dataclass
from typing import Any, Final

from keeper.app.act import parse_amount, require_deleverager
from keeper.app.chain import OpenChain
from keeper.app.consent import sellable
from keeper.app.deleverage import entry_for
from keeper.app.hands import asset_named, exchange_of
from keeper.app.look import held_by, read_accounts
from keeper.app.permit_domain import domain_of
from keeper.app.signing import signer_for
from keeper.app.standing import generous, limit, too_little, wanted
from keeper.engine.market import WatchedMarket
from keeper.errors import ConfigError, ExecutionError, RpcError
from keeper.execution import deleverager, permits
from keeper.execution.liquidator import word
from keeper.execution.permits import Domain
from keeper.execution.signer import KeystoreSigner
from keeper.model import Address, Assessed, BlockRef, Leg, Permit, Side, SignedPermit
from keeper.ports import TokenView
from keeper.settings import Protect, Settings
from keeper.store.database import Database
from keeper.store.people import SqlPeople
from keeper.store.permits import SqlPermits
from keeper.strategies.text import symbol
from keeper.units import UINT256_MAX, Raw

BY_KEY: Final = b"\xef\x01\x00"
"""How the code of an account begins that a key still signs for: EIP-7702."""
MOST_BYTES: Final = 64 * 1024
MAX: Final = "max"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Whose permit, for which token, by what the chain says at one block."""

    chain: OpenChain
    market: WatchedMarket[Any, Any]
    account: Address
    contract: Address
    """The deleverager."""
    entry: Protect | None
    assessed: Assessed
    leg: Leg
    domain: Domain
    nonce: int
    block: BlockRef

    @property
    def needs(self) -> Raw:
        """What its next deleverage may take."""
        return wanted(self.entry, self.assessed, self.leg)


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What the account is asked to sign."""

    subject: Subject
    permit: Permit

    @property
    def typed_data(self) -> dict[str, Any]:
        """For a wallet."""
        return permits.typed_data(self.permit, self.subject.domain)

    @property
    def said(self) -> str:
        """What it allows, in words."""
        return limit(self.permit.value, self.subject.leg)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A permit that was taken, and what it is for."""

    offer: Offer
    signed: SignedPermit


# --- asking -----------------------------------------------------------------------------------


async def subject_of(
    settings: Settings,
    chain: OpenChain,
    market: WatchedMarket[Any, Any],
    account: Address,
    collateral: str | None,
) -> Subject:
    """Read everything that a permit needs.  Raises what can be said in one sentence."""
    contract = await deleverager_of(chain)
    code = await chain.rpc.code(account, chain.head)
    if code and not code.startswith(BY_KEY):
        raise ExecutionError(
            f"{account} is a contract: tokens take permits of keys only (EIP-2612 knows no"
            f" EIP-1271), let it approve {contract} on the aToken instead."
        )
    reading = await read_accounts(chain, market, (account,))
    holdings = held_by(market, reading, account)
    assessed = reading.protecting.assess(holdings)
    if not isinstance(assessed, Assessed):
        raise ExecutionError(f"The health of {account} is unknown: {assessed.reason}.")
    entry = entry_for(settings, account, market.id)
    leg = _leg(market, entry, assessed, collateral)
    view = reading.view
    tokens = view.tokens(leg.asset.address) if isinstance(view, TokenView) else None
    if tokens is None:
        raise ExecutionError(f"{symbol(leg.asset)} has no token of the market.")
    domain = await domain_of(chain.rpc, tokens[0], chain.config.chain_id, chain.head)
    call = permits.nonce_call(tokens[0], account)
    nonce = int.from_bytes(await chain.rpc.eth_call(tokens[0], call.data, chain.head), "big")
    return Subject(
        chain=chain,
        market=market,
        account=account,
        contract=contract,
        entry=entry,
        assessed=assessed,
        leg=leg,
        domain=domain,
        nonce=nonce,
        block=chain.head,
    )


async def deleverager_of(chain: OpenChain) -> Address:
    """Return the chain's deleverager, which takes permits.  Raises ConfigError."""
    contract = require_deleverager(chain)
    try:
        version, factory = await asyncio.gather(
            chain.rpc.eth_call(contract, deleverager.VERSION, chain.head),
            chain.rpc.eth_call(contract, deleverager.FACTORY, chain.head),
        )
    except RpcError as error:
        if error.code is None:
            raise
        version = factory = b""  # it reverts: it does not know the question
    expected = word(exchange_of(chain.config).factory)
    if version not in {word(one) for one in deleverager.UNDERSTOOD} or factory != expected:
        raise ConfigError(
            f"There is no deleverager of ours at {contract}, or it knows another exchange: deploy "
            "one with `keeper deploy-deleverager` and name it under the chain."
        )
    if version < word(deleverager.TAKES_PERMITS):
        raise ConfigError(
            f"The deleverager at {contract} is of an older version that takes no permits: deploy "
            "another with `keeper deploy-deleverager`, or let the account approve it."
        )
    return contract


def _leg(
    market: WatchedMarket[Any, Any], entry: Protect | None, assessed: Assessed, name: str | None
) -> Leg:
    account = assessed.position.account
    if name is None:
        legs = sellable(entry, assessed)
        if not legs:
            raise ExecutionError(f"{account} has no collateral that may be sold.")
        return max(legs, key=lambda leg: leg.value)
    asset = asset_named(name, market)
    for leg in assessed.legs:
        if leg.side is Side.COLLATERAL and leg.asset.address == asset.address:
            return leg
    raise ExecutionError(f"{account} has no {symbol(asset)} supplied as collateral.")


async def ask(
    settings: Settings, subject: Subject, *, amount: str | None, valid_for_s: int
) -> Offer:
    """Return what to sign, and remember that it was asked.

    `amount`: tokens, ``max`` for any amount, or None for what does at any time before the account
    can be liquidated.  Raises ConfigError and ExecutionError in one sentence.
    """
    leg = subject.leg
    if amount is None:
        value = int(generous(subject.entry, subject.assessed, leg))
        if not value:
            raise ConfigError(f"{subject.account} has no debt now: say how much with --amount.")
    elif amount.lower() == MAX:
        value = UINT256_MAX
    else:
        value = int(parse_amount(amount, leg.asset))
        if not value:
            raise ConfigError(f"{amount} {symbol(leg.asset)} is nothing: name more than 0, or max.")
        if value > UINT256_MAX:
            raise ConfigError(f"{amount} {symbol(leg.asset)} is more than there can be: say max.")
    if value < subject.needs:
        raise ExecutionError(too_little(value, leg, subject.needs) + ".")
    permit = Permit(
        chain_id=subject.domain.chain_id,
        token=subject.domain.token,
        owner=subject.account,
        spender=subject.contract,
        value=value,
        nonce=subject.nonce,
        deadline=subject.block.timestamp + valid_for_s,
    )
    async with await Database.open(settings.database.url) as database:
        await SqlPermits(database).ask(permit, permits.digest(permit, subject.domain.separator))
    return Offer(subject=subject, permit=permit)


# --- taking -----------------------------------------------------------------------------------


def parse_given(content: str) -> tuple[str, Permit | None]:
    """Return a signature, and what it is for where that stands beside it.

    `content`: the signature alone, or a JSON object with ``signature`` and, where it was printed
    elsewhere, ``typed_data``.  Raises ConfigError.
    """
    text = content.strip().strip('"')
    if not text.startswith("{"):
        return text, None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise ConfigError("The signature's file is neither hexadecimal nor JSON.") from None
    if not isinstance(found.get("signature"), str):
        raise ConfigError('The signature\'s file has no "signature": add what the wallet answered.')
    data = found.get("typed_data")
    return found["signature"].strip(), None if data is None else permits.parse_typed_data(data)


async def take(
    settings: Settings,
    chain: OpenChain,
    market: WatchedMarket[Any, Any],
    account: Address,
    content: str,
) -> Kept:
    """Check what `account` signed, and keep it.  Raises in one sentence; then nothing is kept."""
    text, given = parse_given(content)
    v, r, s = permits.parse_signature(text)
    async with await Database.open(settings.database.url) as database:
        store = SqlPermits(database)
        if given is None:
            asked = await store.asked(chain.config.chain_id, account)
        else:
            _meant(chain, account, given)
            asked = (given,)
        assets = await _assets(chain, market, account)
        signers = []
        for permit in asked:
            if permit.token not in assets and given is None:
                continue  # asked for in another market
            if permit.token not in assets:
                raise ExecutionError(
                    f"The permit is for {permit.token}, no aToken of {market.id.name}."
                )
            domain = await domain_of(chain.rpc, permit.token, permit.chain_id, chain.head)
            hashed = permits.digest(permit, domain.separator)
            signers.append(permits.signer_of(hashed, v, r, s))
            if signers[-1] == account:
                _meant(chain, account, permit)
                of = assets[permit.token]
                subject = await subject_of(settings, chain, market, account, of)
                offer = Offer(subject=subject, permit=permit)
                return await keep(store, offer, SignedPermit(permit=permit, v=v, r=r, s=s))
    if not signers:
        raise ExecutionError(
            f"{account} was asked for nothing: print what to sign with `keeper permit {account}`,"
            " or give a file with typed_data and signature."
        )
    raise ExecutionError(
        f"{signers[0]} signed this, not {account}, or it signed other words than were printed"
        " (another chain, amount or deadline): sign what `keeper permit` prints."
    )


def _meant(chain: OpenChain, account: Address, permit: Permit) -> None:
    """Raise unless a permit is of this account, for this chain and its deleverager."""
    if permit.chain_id != chain.config.chain_id:
        raise ExecutionError(
            f"The permit is for chain {permit.chain_id}, {chain.config.name} is chain"
            f" {chain.config.chain_id}."
        )
    if permit.owner != account:
        raise ExecutionError(f"The permit is of {permit.owner}, not of {account}.")
    if permit.spender != chain.config.deleverager:
        raise ExecutionError(
            f"The permit lets {permit.spender} spend, the deleverager of {chain.config.name} is"
            f" {chain.config.deleverager}: print another with `keeper permit`."
        )


async def _assets(
    chain: OpenChain, market: WatchedMarket[Any, Any], account: Address
) -> dict[Address, Address]:
    """Return the market's assets by their aTokens."""
    view = (await read_accounts(chain, market, (account,))).view
    found = {}
    for _, asset, _ in market.adapter.sources(market.market):
        tokens = view.tokens(asset.address) if isinstance(view, TokenView) else None
        if tokens is not None:
            found[tokens[0]] = asset.address
    return found


async def keep(store: SqlPermits, offer: Offer, signed: SignedPermit) -> Kept:
    """Keep a permit that its account signed, if it is of use and the token takes it."""
    subject = offer.subject
    useless = permits.uselessness(
        offer.permit,
        asset=subject.leg.asset,
        nonce=subject.nonce,
        needs=subject.needs,
        at=subject.block.timestamp,
    )
    if useless:
        raise ExecutionError(
            f"It is of no use, {useless}: print another with `keeper permit {subject.account}`."
        )
    call = permits.permit_call(signed)
    try:
        await subject.chain.rpc.eth_call(subject.domain.token, call.data, subject.block)
    except RpcError as error:
        if error.code is None:
            raise
        raise ExecutionError(f"The aToken {subject.domain.token} refuses it: {error}") from error
    hashed = permits.digest(offer.permit, subject.domain.separator)
    await store.keep(signed, hashed, by="command")
    return Kept(offer=offer, signed=signed)


async def sign(settings: Settings, offer: Offer) -> Kept:
    """Sign it with the keeper's own key, where the account is the key's, and keep it.

    A signature that spends like any other: only armed, not stopped, and for an account that the
    settings let be deleveraged.
    """
    subject, signing = offer.subject, settings.signing
    chain = subject.chain.config
    signer = await signer_for(settings, chain)
    if signer is None or signer.address != subject.account:
        whose = "there is no key" if signer is None else f"the keeper's key is {signer.address}'s"
        raise ConfigError(
            f"Only {subject.account} can sign its permit and {whose}: print it without --sign and "
            "sign it with the account's wallet."
        )
    if not isinstance(signer, KeystoreSigner):
        raise ConfigError(
            "The remote signer is asked for transactions only: print the permit without --sign and "
            "sign it with the account's wallet."
        )
    if not signing.armed(chain.chain_id):
        raise ConfigError(
            f"{chain.name} is not armed, so nothing is signed: set signing.armed_chain_ids, or "
            "print the permit without --sign."
        )
    if await asyncio.to_thread(signing.kill_switch_file.exists):
        raise ConfigError(
            f"{signing.kill_switch_file} is there, so nothing is signed: remove it when it is safe."
        )
    if subject.entry is None:
        raise ConfigError(
            "The key may sign no permit of this account: add it under [protect.NAME] with "
            "deleverage in its strategy."
        )
    async with await Database.open(settings.database.url) as database:
        if reason := await SqlPeople(database).paused():
            raise ExecutionError(f"Nothing was signed: the keeper is {reason}.")
        signed = signer.sign_permit(offer.permit, subject.domain)
        return await keep(SqlPermits(database), offer, signed)


async def forget(settings: Settings, subject: Subject) -> int:
    """Forget what is kept of the account's token; return how many had been signed."""
    async with await Database.open(settings.database.url) as database:
        return await SqlPermits(database).forget(
            subject.domain.chain_id, subject.account, subject.domain.token, by="command"
        )
