"""An executor over the fakes, and how to let blocks pass."""

from dataclasses import dataclass, field
from typing import Any

from keeper.execution.executor import TxExecutor
from keeper.execution.planning import ExecutionSettings
from keeper.execution.pricing import Pricing
from keeper.execution.progress import ProgressRules
from keeper.execution.sending import no_failpoint
from keeper.model import Outcome, Submission
from keeper.units import Base, Wad
from tests.execution.fakes import (
    CHAIN,
    SIGNER,
    FakeChain,
    FakeView,
    MemoryJournal,
    health_call,
    intent,
    on_settled,
    policy,
)

RULES = ProgressRules(confirmations=3, bump_after=2, looks=2)
SETTINGS = ExecutionSettings(progress=RULES, deadline_s=180)
PRICING = Pricing(
    spends=lambda _intent, _view: Base(293_810_420_100),
    native=lambda _view: Base(200_000_000_017),
    health_call=health_call,
    health=lambda data: Wad(int.from_bytes(data, "big")),
)


@dataclass
class Rig:
    """One chain, one journal, and the executor of the moment."""

    chain: FakeChain = field(default_factory=FakeChain)
    journal: MemoryJournal = field(default_factory=MemoryJournal)
    wiring: dict[str, Any] = field(default_factory=dict)
    executor: TxExecutor = field(init=False)

    def __post_init__(self) -> None:
        self.restart()

    def restart(self, **wiring: Any) -> TxExecutor:
        """Begin a new process over the same journal and chain, armed."""
        self.executor = self.build(**wiring)
        self.executor.arm(CHAIN)
        return self.executor

    def build(self, **wiring: Any) -> TxExecutor:
        given: dict[str, Any] = {
            "node": self.chain,
            "journal": self.journal,
            "signer": SIGNER,
            "policy": policy(),
            "chain_id": CHAIN,
            "pricing": PRICING,
            "on_settled": on_settled,
            "settings": SETTINGS,
            "failpoint": no_failpoint,
        }
        return TxExecutor(**given | self.wiring | wiring)

    async def submit(self, number: int = 1) -> Submission:
        """Submit intent `number` at the head."""
        head = self.chain.head
        return await self.executor.submit(intent(number, head), FakeView(block=head))

    async def block(self, *, include: bool = True) -> tuple[Outcome, ...]:
        """Mine a block and let the executor look at it."""
        return await self.executor.settle(self.chain.mine(include=include))

    async def blocks(self, count: int) -> list[Outcome]:
        """Mine `count` blocks and collect the outcomes."""
        return [outcome for _ in range(count) for outcome in await self.block()]
