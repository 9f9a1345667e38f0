"""Whether the deleverager may take enough of a borrower's collateral: by approval, by permit, not.

For ``keeper check``, ``keeper deleverage``, and the alert before a permit is of no more use.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from keeper.chain.rpc import Rpc
from keeper.errors import KeeperError
from keeper.execution import deleverager
from keeper.execution.permits import allowed_call, instant, nonce_call, uselessness
from keeper.model import Address, Assessed, BlockRef, Leg, Permit, SignedPermit
from keeper.settings import Protect, Settings
from keeper.store.database import Database
from keeper.store.permits import SqlPermits
from keeper.strategies.deleverage import most_sold
from keeper.strategies.text import have, need, symbol
from keeper.units import UINT256_MAX, WAD, Bps, Raw, Wad

SOON_S: Final = 3 * 86_400
"""A permit that runs out within this is told of."""
TARGET: Final = Wad(15 * WAD // 10)
"""Where no [protect] entry says it, as of ``keeper deleverage``."""
COST: Final = Bps(Protect.model_fields["max_cost_bps"].default)
"""How much dearer than the market's prices a sale may be, where no [protect] entry says it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How it stands with one collateral of one account, at one block."""

    leg: Leg
    token: Address
    """The aToken."""
    account: Address
    contract: Address
    """The deleverager."""
    block: BlockRef
    allowed: Raw
    """By approval, or by a permit that was handed in."""
    needs: Raw
    """What its target may take, once it is to be acted upon."""
    permit: SignedPermit | None
    useless: str
    """Why the permit does not do; empty where it does, or there is none."""

    @property
    def approved(self) -> bool:
        """Whether the allowance does without a permit."""
        return self.allowed >= self.leg.balance or self.allowed > self.needs

    @property
    def left_s(self) -> int | None:
        """Seconds until the permit runs out, where it is needed and does."""
        if self.approved or self.permit is None or self.useless:
            return None
        return self.permit.permit.deadline - self.block.timestamp

    @property
    def said(self) -> str:
        """Return what may be sold and by what, in words."""
        supplied, name = have(self.leg.balance, self.leg.asset), symbol(self.leg.asset)
        if self.allowed >= self.leg.balance:
            return f"all of the {name} supplied may be sold"
        part = f"{have(self.allowed, self.leg.asset)} of {supplied} supplied may be sold"
        if self.approved:
            return f"{part}, enough for its target"
        if self.permit is None:
            return part
        if self.useless:
            return f"{part}; {self.useless}"
        of = self.permit.permit
        most, until = limit(of.value, self.leg), instant(of.deadline)
        return f"its permit lets {most} be sold, to be handed in until {until}"

    @property
    def remedy(self) -> str:
        """Return what to do about it; empty where nothing needs to be done."""
        ask = f"`keeper permit {self.account} --collateral {symbol(self.leg.asset)}`"
        if self.left_s is not None:
            return f"it runs out soon: sign another with {ask}" if self.left_s < SOON_S else ""
        if self.approved:
            return ""
        return (
            f"let it approve {self.contract} on the aToken {self.token}, or sign a permit with"
            f" {ask}"
        )


def limit(value: int, leg: Leg) -> str:
    """Return an amount of collateral, or that there is no limit."""
    if value >= UINT256_MAX // 2:
        return f"any amount of {symbol(leg.asset)}"
    return have(Raw(value), leg.asset)


def wanted(entry: Protect | None, assessed: Assessed, leg: Leg) -> Raw:
    """Return what must be allowed of `leg` for the engine's next deleverage to reach its target."""
    below = assessed.health_factor if entry is None else entry.below
    return _sold(entry, assessed, leg, below)


def generous(entry: Protect | None, assessed: Assessed, leg: Leg) -> Raw:
    """Return what does at any time before it can be liquidated: what a permit is for by itself."""
    return _sold(entry, assessed, leg, Wad(WAD))


def _sold(entry: Protect | None, assessed: Assessed, leg: Leg, start: Wad) -> Raw:
    return most_sold(
        assessed,
        leg,
        start=start,
        target=TARGET if entry is None else entry.target,
        cost=COST if entry is None else Bps(entry.max_cost_bps),
        most=None if entry is None else entry.max_per_tx_usd,
    )


async def standing(
    rpc: Rpc,
    *,
    leg: Leg,
    token: Address,
    account: Address,
    contract: Address,
    needs: Raw,
    permits: Sequence[SignedPermit],
    block: BlockRef,
    chain_id: int,
) -> Standing:
    """Read how it stands at `block`.  `permits`: all that are kept of the chain."""
    where = Permit(
        chain_id=chain_id,
        token=token,
        owner=account,
        spender=contract,
        value=0,
        nonce=0,
        deadline=0,
    )
    call = allowed_call(where)
    allowed = Raw(int.from_bytes(await rpc.eth_call(token, call.data, block), "big"))
    permit = kept(permits, where)
    useless = ""
    if permit is not None:
        asking = nonce_call(token, account)
        nonce = int.from_bytes(await rpc.eth_call(token, asking.data, block), "big")
        useless = uselessness(
            permit.permit, asset=leg.asset, nonce=nonce, needs=needs, at=block.timestamp
        ) or await _too_old(rpc, contract, block)
    return Standing(
        leg=leg,
        token=token,
        account=account,
        contract=contract,
        block=block,
        allowed=allowed,
        needs=needs,
        permit=permit,
        useless=useless,
    )


async def _too_old(rpc: Rpc, contract: Address, block: BlockRef) -> str:
    version = int.from_bytes(await rpc.eth_call(contract, deleverager.VERSION, block), "big")
    if version >= deleverager.TAKES_PERMITS:
        return ""
    return f"its permit is of no use to the deleverager, which is of version {version}"


def kept(permits: Sequence[SignedPermit], where: Permit) -> SignedPermit | None:
    """Return the one for the same token, owner and spender; None where there is none."""
    for one in permits:
        of = one.permit
        if (of.token, of.owner, of.spender) == (where.token, where.owner, where.spender):
            return one
    return None


async def permits_of(settings: Settings, chain_id: int) -> tuple[SignedPermit, ...]:
    """Return what is kept of a chain; nothing where the database cannot be looked into."""
    try:
        async with await Database.open(settings.database.url) as database:
            return await SqlPermits(database).signed(chain_id)
    except KeeperError:
        return ()  # said of the database itself


def too_little(value: int, leg: Leg, needs: Raw) -> str:
    """Return the sentence for an amount that does not do."""
    return (
        f"{have(Raw(value), leg.asset)} is too little: reaching the target may take"
        f" {need(needs, leg.asset)}; name more, or leave --amount out"
    )
