"""An executor over a real node: its settings, its target contract, its policy.

The contract counts how often each action ran, and answers a health that rises with the count.
"""

from dataclasses import replace
from typing import Any, Final

from keeper.chain.rpc import Rpc
from keeper.execution.executor import TxExecutor
from keeper.execution.planning import ExecutionSettings
from keeper.execution.pricing import Pricing
from keeper.execution.progress import ProgressRules
from keeper.execution.sending import no_failpoint
from keeper.model import BlockRef, Intent, IntentKind, PositionId, Submission
from keeper.ports import Journal
from keeper.units import Base, Wad
from tests.execution.fakes import (
    CHAIN,
    SIGNER,
    TARGET,
    FakeView,
    health_call,
    intent,
    on_settled,
    policy,
)

COUNTER: Final = (
    "36601814601257"  # calldata of 24 bytes is the health read: jump
    "60043580546001019055 00"  # storage[action] += 1
    "5b60043560601c546706f05b59d3b2000002670de0b6b3a7640000015f5260205ff3"  # 1 + count / 2
).replace(" ", "")
LOCAL = ExecutionSettings(progress=ProgressRules(confirmations=3, bump_after=2, looks=2))
PRICING = Pricing(
    spends=lambda _intent, _view: Base(293_810_420_100),
    native=lambda _view: Base(200_000_000_017),
    health_call=health_call,
    health=lambda data: Wad(int.from_bytes(data, "big")),
)


def executor(rpc: Rpc, journal: Journal, **wiring: Any) -> TxExecutor:
    """Return an armed executor."""
    given: dict[str, Any] = {
        "node": rpc,
        "journal": journal,
        "signer": SIGNER,
        "policy": policy(),
        "chain_id": CHAIN,
        "pricing": PRICING,
        "on_settled": on_settled,
        "settings": LOCAL,
        "failpoint": no_failpoint,
    }
    built = TxExecutor(**given | wiring)
    built.arm(CHAIN)
    return built


async def submit(to: TxExecutor, number: int, head: BlockRef) -> Submission:
    """Submit action `number` at `head`."""
    return await to.submit(action(number, head), FakeView(block=head))


def action(number: int, head: BlockRef) -> Intent:
    """Return an intent whose position is the account that the contract counts."""
    wanted = intent(number, head, IntentKind.REPAY)
    return replace(
        wanted, position=PositionId(market=wanted.position.market, account=_account(number))
    )


def _account(number: int) -> Any:
    return f"0x{number:040x}"


async def count(rpc: Rpc, number: int) -> int:
    """Return how often action `number` ran."""
    return int(await rpc.call("eth_getStorageAt", [TARGET, hex(number), "latest"]), 16)
