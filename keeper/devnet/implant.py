"""Accounts written straight into a deployed market's storage: many, and of any shape.

Real transactions make two thousand positions a second and only shapes that Aave lets happen now;
this makes a hundred thousand in seconds, and shapes that governance can leave behind.  What is
answered about them is the deployed contracts' own arithmetic over what is written.  Debt and
collateral are logged as mints, so that history finds the borrowers; underlying cash is not made.

Where a contract keeps what is asked of it, by trying: a slot is believed when its getter answers
what a call with that slot overridden should.  So nothing here depends on a version's layout.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from eth_abi.abi import encode
from eth_utils.crypto import keccak

from keeper.devnet.abi import encode_call
from keeper.devnet.anvil import Anvil
from keeper.devnet.deployment import DeployedReserve
from keeper.devnet.network import BASE_FEE_WEI, Devnet
from keeper.errors import RpcError
from keeper.model import Address, Entry, Holdings, Side

LIKELY: Final = range(48, 80)
"""Slots that are tried, past the gaps of upgradeable contracts."""
_PROBE: Final = Address("0x" + "5e" * 20)
_MARK: Final = 3
_PAIRS: Final = 1_000
"""Accounts a transaction."""
_GAS: Final = 40_000_000
_BLOCK_GAS: Final = 400_000_000
_INDEX: Final = 10**27


@dataclass(frozen=True, slots=True, kw_only=True)
class Implant:
    """One account to be written."""

    holdings: Holdings
    idle: tuple[Entry, ...] = field(default=())
    """Supplied and not enabled as collateral; the side is not looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """In which slots one market keeps its accounts."""

    a_tokens: Mapping[int, tuple[int, int]]
    """By reserve id: mapping of balances, total supply."""
    debt_tokens: Mapping[int, tuple[int, int]]
    bitmaps: int
    """Of the Pool: mapping of user configurations."""
    e_modes: int


async def layout(devnet: Devnet) -> Layout:
    """Find where the market keeps its accounts.  Raises RpcError when it is not found."""
    there, artifacts = devnet.deployment, devnet.artifacts
    token, pool = artifacts.get("ATokenInstance"), artifacts.get("IPool")
    balance = encode_call(token, "scaledBalanceOf", _PROBE)
    total = encode_call(token, "scaledTotalSupply")

    async def of(address: Address) -> tuple[int, int]:
        return (
            await found(devnet.anvil, address, balance, _entry_slot),
            await found(devnet.anvil, address, total, lambda place: place),
        )

    return Layout(
        a_tokens={r.reserve: await of(r.a_token) for r in there.reserves},
        debt_tokens={r.reserve: await of(r.variable_debt_token) for r in there.reserves},
        bitmaps=await found(
            devnet.anvil,
            there.pool,
            encode_call(pool, "getUserConfiguration", _PROBE),
            _entry_slot,
        ),
        e_modes=await found(
            devnet.anvil, there.pool, encode_call(pool, "getUserEMode", _PROBE), _entry_slot
        ),
    )


async def found(
    anvil: Anvil,
    contract: Address,
    data: bytes,
    slot: Callable[[int], int],
    places: Sequence[int] = LIKELY,
) -> int:
    """Return the place for which overriding `slot(place)` changes what `data` answers.

    Raises RpcError where it is none of `places`.
    """
    asked = [
        (
            "eth_call",
            [
                {"to": contract, "data": "0x" + data.hex()},
                "latest",
                {contract: {"stateDiff": {f"0x{slot(place):064x}": f"0x{_MARK:064x}"}}},
            ],
        )
        for place in places
    ]
    for place, answer in zip(places, await anvil.batch(asked), strict=True):
        if int(answer, 16) == _MARK:
            return place
    raise RpcError(f"{contract} keeps what is asked of it in none of the slots tried.")


async def implant(devnet: Devnet, wanted: Sequence[Implant]) -> None:
    """Write `wanted`, mine, and leave every contract's code as it was; leaves automine on.

    Existing accounts are overwritten.  Raises RpcError for a transaction that failed.
    """
    there = devnet.deployment
    places = await layout(devnet)
    a_tokens: dict[int, list[int]] = {r.reserve: [] for r in there.reserves}
    debts: dict[int, list[int]] = {r.reserve: [] for r in there.reserves}
    bitmaps: list[int] = []
    e_modes: list[int] = []
    for one in wanted:
        account = int(one.holdings.account, 16)
        for entry in (*one.holdings.entries, *one.idle):
            side = debts if entry.side is Side.DEBT else a_tokens
            side[entry.reserve] += (account, _INDEX << 128 | entry.scaled)
        bitmaps += (account, _bitmap(one.holdings))
        if one.holdings.e_mode:
            e_modes += (account, one.holdings.e_mode)

    send = _Writer(devnet)
    for reserve in there.reserves:
        for token, pairs, (place, total) in _tokens(reserve, a_tokens, debts, places):
            if pairs:
                await _grow_total(devnet.anvil, token, total, pairs)
                await send(token, place, pairs, minted=True)
    await send(there.pool, places.bitmaps, bitmaps, minted=False)
    await send(there.pool, places.e_modes, e_modes, minted=False)
    await send.mine()


def _tokens(
    reserve: DeployedReserve,
    a_tokens: Mapping[int, list[int]],
    debts: Mapping[int, list[int]],
    places: Layout,
) -> tuple[tuple[Address, list[int], tuple[int, int]], ...]:
    number = reserve.reserve
    return (
        (reserve.a_token, a_tokens[number], places.a_tokens[number]),
        (reserve.variable_debt_token, debts[number], places.debt_tokens[number]),
    )


class _Writer:
    """Puts the writing code where it is wanted, sends, and puts the own code back when mined."""

    def __init__(self, devnet: Devnet) -> None:
        self._anvil = devnet.anvil
        self._artifact = devnet.artifacts.get("SlotWriter")
        self._sender = devnet.deployment.account("deployer").address
        self._codes: dict[Address, str] = {}
        self._sent: list[str] = []

    async def __call__(
        self, contract: Address, place: int, pairs: list[int], *, minted: bool
    ) -> None:
        if not self._codes:
            await self._anvil.set_automine(on=False)
            await self._anvil.set_block_gas_limit(_BLOCK_GAS)
        if contract not in self._codes:
            self._codes[contract] = await self._anvil.rpc("eth_getCode", contract, "latest")
            await self._anvil.set_code(contract, bytes.fromhex(self._artifact.deployed_bytecode))
        selector = encode_call(self._artifact, "write", place, minted, [])[:4]
        for start in range(0, len(pairs), 2 * _PAIRS):
            some = pairs[start : start + 2 * _PAIRS]
            data = selector + encode(["uint256", "bool", "uint256[]"], [place, minted, some])
            self._sent.append(await self._anvil.send(self._sender, contract, data, gas=_GAS))

    async def mine(self) -> None:
        before = await self._anvil.rpc("eth_getBlockByNumber", "latest", False)  # noqa: FBT003 - positional in the call's encoding
        while int((await self._anvil.rpc("txpool_status"))["pending"], 16):
            # full blocks raise the base fee until what waits could not pay it
            await self._anvil.set_next_base_fee(BASE_FEE_WEI)
            await self._anvil.mine()
        await self._anvil.set_next_base_fee(BASE_FEE_WEI)
        for contract, code in self._codes.items():
            await self._anvil.set_code(contract, bytes.fromhex(code[2:]))
        await self._anvil.set_block_gas_limit(int(before["gasLimit"], 16))
        await self._anvil.set_automine(on=True)
        receipts = await self._anvil.batch([("eth_getTransactionReceipt", [h]) for h in self._sent])
        for receipt in receipts:
            if receipt is None or receipt["status"] != "0x1":
                raise RpcError("A transaction that writes accounts was not successful.")


async def _grow_total(anvil: Anvil, token: Address, place: int, pairs: Sequence[int]) -> None:
    """Add what is minted to the token's total: words are whole where tokens keep it."""
    there = int(await anvil.rpc("eth_getStorageAt", token, hex(place), "latest"), 16)
    minted = sum(word & ((1 << 120) - 1) for word in pairs[1::2])
    await anvil.set_storage_at(token, place, there + minted)


def _entry_slot(place: int) -> int:
    return int.from_bytes(keccak(encode(["address", "uint256"], [_PROBE, place])), "big")


def _bitmap(holdings: Holdings) -> int:
    return sum(1 << (2 * e.reserve + (e.side is Side.COLLATERAL)) for e in holdings.entries)
