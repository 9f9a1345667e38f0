"""What differential tests share: the contract's answers by plain calls, ours by our reads.

The contract's come by plain calls and `eth_simulateV1`, decoded by eth_abi; nothing is shared but
the chain.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from eth_abi.abi import decode
from eth_utils.crypto import keccak

from keeper.devnet.abi import encode_call
from keeper.devnet.anvil import Anvil
from keeper.devnet.network import Devnet
from keeper.errors import RpcError
from keeper.model import (
    Address,
    Assessed,
    BlockRef,
    Call,
    CallResult,
    Failed,
    Hash,
    Holdings,
    Intent,
    IntentKind,
    MarketId,
    PositionId,
    Returned,
)
from keeper.ports import Steps
from keeper.protocols.aave_v3.adapter import AaveV3
from keeper.protocols.aave_v3.market import Market, Observed
from keeper.protocols.aave_v3.view import View
from keeper.units import UINT256_MAX, Base, Wad

T = TypeVar("T")
MUST_NOT_LEAVE_DUST = "0x" + keccak(text="MustNotLeaveDust()")[:4].hex()
LIQUIDATION_CALL = (
    "0x"
    + keccak(text="LiquidationCall(address,address,address,uint256,uint256,address,bool)").hex()
)


# --- reading ----------------------------------------------------------------------------------


async def block_of(anvil: Anvil, tag: str = "latest") -> BlockRef:
    said = await anvil.rpc("eth_getBlockByNumber", tag, False)
    return BlockRef(
        number=int(said["number"], 16),
        hash=Hash(said["hash"]),
        parent_hash=Hash(said["parentHash"]),
        timestamp=int(said["timestamp"], 16),
    )


async def run(anvil: Anvil, steps: Steps[T], block: BlockRef) -> T:
    """Drive `steps` by plain calls at `block`."""
    try:
        batch = next(steps)
        while True:
            batch = steps.send(await answers(anvil, batch, block))
    except StopIteration as ended:
        result: T = ended.value
        return result


async def answers(anvil: Anvil, calls: Sequence[Call], block: BlockRef) -> tuple[CallResult, ...]:
    asked = [
        ("eth_call", [{"to": c.to, "data": "0x" + c.data.hex()}, hex(block.number)]) for c in calls
    ]
    try:
        return tuple(Returned(bytes.fromhex(said[2:])) for said in await anvil.batch(asked))
    except RpcError:
        return tuple([await _answer(anvil, c, block) for c in calls])


async def _answer(anvil: Anvil, call: Call, block: BlockRef) -> CallResult:
    try:
        return Returned(await anvil.call(call.to, call.data, hex(block.number)))
    except RpcError as error:
        return Failed(str(error))


@dataclass(frozen=True)
class Seen:
    """The whole devnet as the adapter reads it."""

    adapter: AaveV3
    market: Market
    observed: Observed
    block: BlockRef

    @property
    def holdings(self) -> dict[Address, Holdings]:
        return {h.account: h for h in self.observed.holdings}

    def view(self, timestamp: int | None = None) -> View:
        """At the block, or at a later instant with nothing else changed."""
        block = self.block
        if timestamp is not None:
            block = BlockRef(
                number=block.number + 1,
                hash=block.hash,
                parent_hash=block.hash,
                timestamp=timestamp,
            )
        return self.adapter.view(self.market, self.observed, block, {})


async def see(devnet: Devnet) -> Seen:
    adapter = AaveV3(
        MarketId(chain_id=31337, name="devnet", protocol="aave_v3"),
        devnet.deployment.addresses_provider,
    )
    block = await block_of(devnet.anvil)
    market = await run(devnet.anvil, adapter.discover(), block)
    everyone = tuple(b.address for b in devnet.borrowers)
    observed = await run(devnet.anvil, adapter.observe(market, everyone, lambda _: None), block)
    assert not observed.unreadable
    return Seen(adapter, market, observed, block)


async def assert_equal_to_the_pool(devnet: Devnet, seen: Seen) -> int:
    """Compare every account; return how many have debt."""
    everyone = list(seen.holdings)
    theirs = await devnet.account_data_of(everyone, hex(seen.block.number))
    view, debtors = seen.view(), 0
    for account, data in zip(everyone, theirs, strict=True):
        ours = view.assess(seen.holdings[account])
        assert isinstance(ours, Assessed), ours
        assert (ours.collateral, ours.debt, ours.health_factor) == (data[0], data[1], data[5])
        debtors += data[1] > 0
    return debtors


# --- simulating -------------------------------------------------------------------------------


async def simulate(
    devnet: Devnet, timestamp: int, *calls: tuple[str, str, bytes]
) -> list[dict[str, Any]]:
    """Run (sender, target, calldata) in one block at `timestamp` on top of the latest."""
    said = await devnet.anvil.rpc(
        "eth_simulateV1",
        {
            "blockStateCalls": [
                {
                    "blockOverrides": {"time": hex(timestamp)},
                    "calls": [
                        {"from": s, "to": to, "data": "0x" + data.hex(), "gas": hex(5_000_000)}
                        for s, to, data in calls
                    ],
                }
            ]
        },
        "latest",
    )
    results: list[dict[str, Any]] = said[0]["calls"]
    return results


def intent(kind: IntentKind, account: Address, seen: Seen, **more: Any) -> Intent:
    return Intent(
        intent_id="i-1",
        kind=kind,
        position=PositionId(market=seen.market.id, account=account),
        block=seen.block,
        value_at_risk=Base(0),
        health_before=Wad(0),
        reason="",
        **more,
    )


async def approve_everything(devnet: Devnet) -> Address:
    keeper = devnet.deployment.account("keeper").address
    for reserve in devnet.deployment.reserves:
        await devnet.as_account(
            keeper, reserve.asset, "TestnetERC20", "approve", devnet.deployment.pool, UINT256_MAX
        )
    return keeper


async def health_after(
    devnet: Devnet, keeper: Address, at: int, account: Address, call: tuple[Address, bytes]
) -> int:
    asked = encode_call(devnet.artifacts.get("IPool"), "getUserAccountData", account)
    done, read = await simulate(
        devnet, at, (keeper, *call), (keeper, devnet.deployment.pool, asked)
    )
    assert done["status"] == "0x1", done
    health: int = decode(["uint256"] * 6, bytes.fromhex(read["returnData"][2:]))[5]
    return health


def liquidated(result: dict[str, Any]) -> tuple[int, int]:
    """Return (debt covered, collateral to the liquidator) of the event."""
    assert result["status"] == "0x1", result
    (log,) = [x for x in result["logs"] if x["topics"][0] == LIQUIDATION_CALL]
    covered, seized, *_ = decode(
        ["uint256", "uint256", "address", "bool"], bytes.fromhex(log["data"][2:])
    )
    return covered, seized
