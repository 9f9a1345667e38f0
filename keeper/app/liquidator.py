"""What a deployed liquidator lists, what the configuration wants of it, and the calls between.

Its owner alone may change the lists; where that is the key, the calls can be sent from here.
"""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from keeper.app.act import Planned
from keeper.app.aggregators import is_listed, listed
from keeper.app.chain import OpenChain
from keeper.app.one_call import plan_call
from keeper.errors import ConfigError, RpcError
from keeper.execution.liquidator import OWNER, SETTERS, SPEAKS, VERSION, word
from keeper.model import Address, Call, IntentKind

_ADDRESS: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """One address in one role."""

    role: str
    """``caller``, ``market``, ``target`` or ``spender``."""
    address: Address
    listed: bool
    """What the contract says."""
    wanted: bool

    @property
    def words(self) -> str:
        """The call that makes it as it is wanted, as one writes it."""
        return f"{SETTERS[self.role][0]}({self.address}, {str(self.wanted).lower()})"

    def call(self, contract: Address) -> Call:
        """Return that call."""
        _, _, selector = SETTERS[self.role]
        return Call(to=contract, data=selector + word(self.address) + word(self.wanted))


@dataclass(frozen=True, slots=True, kw_only=True)
class Lists:
    """A deployed liquidator."""

    contract: Address
    version: int
    owner: Address
    listings: tuple[Listing, ...]

    @property
    def to_do(self) -> tuple[Listing, ...]:
        """What is not as it is wanted."""
        return tuple(one for one in self.listings if one.listed is not one.wanted)


async def lists_of(
    chain: OpenChain, caller: Address | None, revoke: Sequence[Address] = ()
) -> Lists:
    """Return what the chain's liquidator lists of what it should, at the chain's head.

    `caller`: who should give it orders; None: that is not known here.
    `revoke`: addresses that should be listed in no role.  Raises ConfigError where there is no
    liquidator, or one of another version.
    """
    contract = chain.config.liquidator
    if contract is None:
        raise ConfigError(
            f"{chain.config.name} names no liquidator: deploy one with `keeper deploy-liquidator`."
        )
    if not await chain.rpc.code(contract):
        raise ConfigError(f"{chain.config.name}: there is no contract at {contract}: correct it.")
    try:
        version, owner = (
            int.from_bytes(answer, "big")
            for answer in await asyncio.gather(
                chain.rpc.eth_call(contract, VERSION, chain.head),
                chain.rpc.eth_call(contract, OWNER, chain.head),
            )
        )
    except RpcError as error:
        if error.code is None:
            raise
        raise ConfigError(
            f"{chain.config.name}: the contract at {contract} is no liquidator of ours: correct it."
        ) from error
    if version != SPEAKS:
        raise ConfigError(
            f"The liquidator at {contract} is of version {version} and not {SPEAKS}: deploy a new "
            "one with `keeper deploy-liquidator`."
        )
    wanted = [one for one in _wanted(chain, caller) if one[1] not in revoke]
    asked = [(*one, True) for one in wanted]
    asked += [(role, address, False) for address in dict.fromkeys(revoke) for role in SETTERS]
    answers = await asyncio.gather(
        *(is_listed(chain.rpc, contract, role, address, chain.head) for role, address, _ in asked)
    )
    found = (
        Listing(role=role, address=address, wanted=wish, listed=answer)
        for (role, address, wish), answer in zip(asked, answers, strict=True)
    )
    return Lists(
        contract=contract,
        version=version,
        owner=Address(f"0x{owner:0{2 * _ADDRESS}x}"),
        listings=tuple(one for one in found if one.wanted or one.listed),
    )


def _wanted(chain: OpenChain, caller: Address | None) -> Iterator[tuple[str, Address]]:
    if caller is not None:
        yield "caller", caller
    pools = (
        to
        for market in chain.markets.values()
        for kind, to, _ in market.adapter.actions(market.market)
        if kind is IntentKind.LIQUIDATE
    )
    yield from (("market", pool) for pool in dict.fromkeys(pools))
    targets, spenders = listed(chain.config)
    yield from (("target", target) for target in targets)
    yield from (("spender", spender) for spender in spenders)


async def plan_listing(chain: OpenChain, lists: Lists, one: Listing) -> Planned:
    """Plan the call that makes `one` as it is wanted."""
    return await plan_call(chain, one.call(lists.contract), lists.contract, "liquidator", one.words)
