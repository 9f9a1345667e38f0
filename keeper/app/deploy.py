"""Putting our contracts on a chain: planned, rehearsed, and only when told sent.

By the same executor, journal and caps as everything else.  The contract's address follows from its
arguments, so that it is known before anything is sent, and a second deployment of the same is
refused instead of made.
"""

import contextlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

from eth_utils.crypto import keccak

from keeper.app.act import Planned
from keeper.app.aggregators import listed
from keeper.app.chain import OpenChain
from keeper.app.hands import exchange_of
from keeper.app.one_call import plan_call
from keeper.errors import ConfigError, ExecutionError, RpcError
from keeper.execution import deleverager, liquidator
from keeper.execution.node import pinned
from keeper.model import Address, IntentKind
from keeper.settings import Settings

BALANCE_OF: Final = bytes.fromhex("70a08231")
"""balanceOf(address)"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """What would be deployed."""

    planned: Planned
    name: str
    """``liquidator`` or ``deleverager``: the key of the chain that names it."""
    version: int
    code_hash: str
    """keccak256 of the creation code as shipped, arguments left out."""
    contract: Address
    factory: Address
    owner: Address | None = None
    caller: Address | None = None
    pools: tuple[Address, ...] = ()
    targets: tuple[Address, ...] = ()
    """Whom it may call for sales, of aggregators."""
    spenders: tuple[Address, ...] = ()


async def plan_deployment(settings: Settings, chain: OpenChain, caller: Address) -> Deployment:
    """Plan the contract that takes orders of `caller` for every market of the chain.

    Raises ConfigError when there is no exchange and ExecutionError when it is there already.
    """
    exchange = exchange_of(chain.config)
    owner = settings.liquidate.profit_to or caller
    pools = tuple(
        dict.fromkeys(
            to
            for market in chain.markets.values()
            for kind, to, _ in market.adapter.actions(market.market)
            if kind is IntentKind.LIQUIDATE
        )
    )
    targets, spenders = listed(chain.config)
    await _listable(chain, dict.fromkeys((*targets, *spenders)), pools)
    call, contract = liquidator.deployment(
        owner, exchange.factory, (caller,), pools, targets=targets, spenders=spenders
    )
    await _possible(chain, contract, exchange.factory, f"The liquidator of {owner}", "liquidator")
    return Deployment(
        planned=await plan_call(chain, call, contract, "liquidator"),
        name="liquidator",
        version=liquidator.SPEAKS,
        code_hash="0x" + keccak(liquidator.creation_code()).hex(),
        contract=contract,
        owner=owner,
        caller=caller,
        factory=exchange.factory,
        pools=pools,
        targets=targets,
        spenders=spenders,
    )


async def plan_deleverager(chain: OpenChain) -> Deployment:
    """Plan the contract by which borrowers let somebody sell for them; it has no owner.

    Raises ConfigError when there is no exchange and ExecutionError when it is there already.
    """
    factory = exchange_of(chain.config).factory
    call, contract = deleverager.deployment(factory)
    await _possible(chain, contract, factory, "The deleverager", "deleverager")
    return Deployment(
        planned=await plan_call(chain, call, contract, "deleverager"),
        name="deleverager",
        version=deleverager.SPEAKS,
        code_hash="0x" + keccak(deleverager.creation_code()).hex(),
        contract=contract,
        factory=factory,
    )


async def _listable(
    chain: OpenChain, addresses: Iterable[Address], pools: Collection[Address]
) -> None:
    """Raise ConfigError for what the contract will not list, in words: the deployment has none."""
    for address in addresses:
        call = {"to": address, "data": "0x" + (BALANCE_OF + bytes(32)).hex()}
        why = ""
        if not await chain.rpc.code(address):
            why = "there is no contract"
        elif address in pools:
            why = "it is a market"
        else:
            with contextlib.suppress(RpcError):  # it reverts: so it is no token
                said = await chain.rpc.call("eth_call", [call, pinned(chain.head)])
                why = "it is a token" if isinstance(said, str) and len(said) >= 2 + 64 else ""
        if why:
            raise ConfigError(
                f"{chain.config.name}: the liquidator does not list {address}, {why}: correct "
                "targets and spenders of the chain's aggregators."
            )


async def _possible(
    chain: OpenChain, contract: Address, factory: Address, what: str, key: str
) -> None:
    if not await chain.rpc.code(liquidator.PROXY):
        raise ConfigError(
            f"{chain.config.name} does not have the deterministic deployment proxy at "
            f"{liquidator.PROXY}: deploy that first."
        )
    if await chain.rpc.code(contract):
        raise ExecutionError(f"{what} is at {contract} already: set {key} of the chain.")
    if not await chain.rpc.code(factory):
        raise ConfigError(f"{chain.config.name} has no contract at {factory}: set uniswap_factory.")
