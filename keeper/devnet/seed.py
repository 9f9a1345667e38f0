"""Makes borrowers by real transactions: a whale supplies on their behalf, they borrow themselves.

The same number and seed make the same crowd.  Health factors are drawn between what the
collateral's LTV allows (about 1.03) and 3, more of them near the bottom, so that ETH falling by
5, 10 and 25 % each moves a group.  Transactions go in JSON-RPC batches with explicit nonces.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from eth_utils.crypto import keccak

from keeper.devnet import market
from keeper.devnet.abi import encode_call
from keeper.devnet.anvil import Anvil, address_of
from keeper.devnet.artifacts import Artifacts
from keeper.devnet.deployment import Borrower, Deployment
from keeper.errors import RpcError
from keeper.model import Address

VARIABLE: Final = 2
"""Aave's interest rate mode."""

LADDER: Final = tuple(
    Decimal(rung) for rung in ("1.0337", "1.0419", "1.0683", "1.0911", "1.1723", "1.2489", "1.3127")
)
"""Health factors of a few who hold Ether alone, so that the smallest crowd has each group."""

_ETHER: Final = 10**18
_GAS: Final = 1_500_000
_BLOCK: Final = 300
"""Transactions a block while seeding."""
_MARGIN: Final = Decimal("1.0015")
"""How far above the borrow limit's health factor the lowest target stays."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """One position to be made."""

    account: Address
    kind: str
    supplies: tuple[tuple[str, int], ...]
    """Symbol and raw amount, all enabled as collateral."""
    borrows: tuple[tuple[str, int], ...]
    e_mode: int = 0


async def seed(
    anvil: Anvil, artifacts: Artifacts, deployment: Deployment, positions: int, number: int
) -> tuple[Borrower, ...]:
    """Make `positions` positions, alice and bob among them; needs automining, leaves it on.

    Raises `RpcError` naming the first position whose transaction failed.
    """
    wishes = crowd(deployment, positions, number)
    pool = artifacts.get("IPool")
    assets = {reserve.symbol: reserve.asset for reserve in deployment.reserves}
    whale = deployment.account("whale").address

    def calls_of(wish: Wish) -> list[bytes]:
        calls = [
            encode_call(pool, "setUserUseReserveAsCollateral", assets[symbol], True)  # noqa: FBT003 - positional in the call's encoding
            for symbol, _ in wish.supplies
        ]
        if wish.e_mode:
            calls.append(encode_call(pool, "setUserEMode", wish.e_mode))
        calls += [
            encode_call(pool, "borrow", assets[symbol], amount, VARIABLE, 0, wish.account)
            for symbol, amount in wish.borrows
        ]
        return calls

    await anvil.batch([("anvil_setBalance", [w.account, hex(100 * _ETHER)]) for w in wishes])
    await anvil.set_automine(on=False)
    try:
        asked = [whale, *(wish.account for wish in wishes)]
        counted = await anvil.batch([("eth_getTransactionCount", [a, "latest"]) for a in asked])
        first, *nonces = (int(count, 16) for count in counted)
        supplies = [
            encode_call(pool, "supply", assets[symbol], amount, wish.account, 0)
            for wish in wishes
            for symbol, amount in wish.supplies
        ]
        await _send_all(
            anvil,
            [
                _transaction(whale, deployment.pool, data, first + i)
                for i, data in enumerate(supplies)
            ],
        )
        await _send_all(
            anvil,
            [
                _transaction(wish.account, deployment.pool, data, nonce)
                for wish, begins in zip(wishes, nonces, strict=True)
                for nonce, data in enumerate(calls_of(wish), begins)
            ],
        )
    finally:
        await anvil.set_automine(on=True)
    return tuple(Borrower(address=wish.account, kind=wish.kind) for wish in wishes)


def crowd(deployment: Deployment, positions: int, number: int) -> tuple[Wish, ...]:
    """What is to be made: alice, bob, one without debt, then by share of kind."""
    # Not for secrets: the same crowd each time is the point.
    chance = random.Random(number)  # noqa: S311 - seeded on purpose, no secret
    alice = deployment.account("alice").address
    bob = deployment.account("bob").address
    wishes = [
        _wish(alice, "alice", {"WETH": 61_337}, {"USDC": 1}, Decimal("1.2531")),
        _wish(bob, "bob", {"WBTC": 44_021, "WETH": 38_113}, {"DAI": 1}, Decimal("1.2467")),
        _wish(_address(number, 0), "no_debt", {"WETH": 5_193, "USDC": 811}, {}, Decimal(0)),
    ][: max(positions, 0)]
    for rung, target in enumerate(LADDER[: max(positions - len(wishes), 0)], len(wishes)):
        debt = ("USDC", "DAI")[rung % 2]
        usd = int(10 ** chance.uniform(3.6, 5.9))
        wishes.append(_wish(_address(number, rung), "mixed", {"WETH": usd}, {debt: 1}, target))
    for index in range(len(wishes), positions):
        kind = chance.choices(("mixed", "e_mode", "isolated", "dust"), (72, 13, 8, 7))[0]
        wishes.append(_random(chance, kind, _address(number, index)))
    return tuple(wishes)


def _random(chance: random.Random, kind: str, account: Address) -> Wish:
    target = _target(chance)
    usd = int(10 ** chance.uniform(3.2, 5.9))
    match kind:
        case "e_mode":
            return _wish(account, kind, {"wstETH": usd}, {"WETH": 1}, target, e_mode=market.E_MODE)
        case "isolated":
            debt = chance.choice(("USDC", "DAI"))
            return _wish(account, kind, {"XIS": min(usd, 200_000)}, {debt: 1}, target)
        case "dust":
            debt = chance.choice(("USDC", "DAI"))
            return _wish(account, kind, {"WETH": chance.randint(2, 9)}, {debt: 1}, target)
        case _:
            return _mixed(chance, account, usd, target)


def _mixed(chance: random.Random, account: Address, usd: int, target: Decimal) -> Wish:
    """One to three collaterals, mostly of Ether; one or two debts, never of the same reserve."""
    weights = {"WETH": 6, "wstETH": 3, "WBTC": 4, "USDC": 1, "DAI": 1}
    symbols: list[str] = []
    for _ in range(chance.choices((1, 2, 3), (5, 4, 2))[0]):
        symbol = chance.choices(list(weights), list(weights.values()))[0]
        if symbol not in symbols:
            symbols.append(symbol)
    collateral = {symbol: max(1, int(usd * chance.uniform(0.3, 1.0))) for symbol in symbols}
    candidates = {"USDC": 8, "DAI": 5, "WETH": 2, "WBTC": 1}
    for symbol in symbols:
        candidates.pop(symbol, None)
    debts: dict[str, int] = {}
    for _ in range(chance.choices((1, 2), (3, 1))[0]):
        symbol = chance.choices(list(candidates), list(candidates.values()))[0]
        debts[symbol] = chance.randint(1, 3)
    return _wish(account, "mixed", collateral, debts, target)


def _target(chance: random.Random) -> Decimal:
    """A health factor between 1.03 and 3: 30 % below 1.10, 30 % below 1.35, the rest above."""
    low, high = chance.choices(((1.03, 1.10), (1.10, 1.35), (1.35, 3.0)), (3, 3, 4))[0]
    return Decimal(repr(chance.uniform(low, high)))


def _wish(
    account: Address,
    kind: str,
    collateral_usd: dict[str, int],
    debt_shares: dict[str, int],
    target: Decimal,
    *,
    e_mode: int = 0,
) -> Wish:
    """Size the debts so that the health factor comes to `target`, or as low as may be borrowed."""
    limit = Decimal(0)
    threshold = Decimal(0)
    for symbol, usd in collateral_usd.items():
        ltv_bps, threshold_bps = market.E_MODE_BPS[:2] if e_mode else _risk(symbol)
        limit += Decimal(usd) * ltv_bps / 10_000
        threshold += Decimal(usd) * threshold_bps / 10_000
    borrows: list[tuple[str, int]] = []
    if debt_shares:
        debt = threshold / max(target, threshold / limit * _MARGIN)
        total = sum(debt_shares.values())
        borrows = [
            (symbol, market.raw(symbol, debt * share / total))
            for symbol, share in debt_shares.items()
        ]
    return Wish(
        account=account,
        kind=kind,
        supplies=tuple((symbol, market.raw(symbol, usd)) for symbol, usd in collateral_usd.items()),
        borrows=tuple(borrows),
        e_mode=e_mode,
    )


def _risk(symbol: str) -> tuple[int, int]:
    spec = market.reserve(symbol)
    return spec.ltv_bps, spec.liquidation_threshold_bps


def _address(number: int, index: int) -> Address:
    return address_of("0x" + keccak(text=f"keeper devnet borrower {number} {index}")[12:].hex())


def _transaction(sender: str, to: str, data: bytes, nonce: int) -> dict[str, Any]:
    return {
        "from": sender,
        "to": to,
        "data": "0x" + data.hex(),
        "nonce": hex(nonce),
        "gas": hex(_GAS),
    }


async def _send_all(anvil: Anvil, transactions: Sequence[dict[str, Any]]) -> None:
    """Send and mine all; the gas price is left to the node.  Every receipt is looked at."""
    hashes: list[str] = []
    for start in range(0, len(transactions), _BLOCK):
        some = transactions[start : start + _BLOCK]
        hashes += await anvil.batch([("eth_sendTransaction", [one]) for one in some])
        await anvil.mine_pool()
    receipts = await anvil.batch([("eth_getTransactionReceipt", [one]) for one in hashes])
    for transaction, receipt in zip(transactions, receipts, strict=True):
        if receipt is None or receipt["status"] != "0x1":
            raise RpcError(
                f"The position of {transaction['from']} could not be made: "
                f"its transaction {transaction['nonce']} was not successful."
            )
