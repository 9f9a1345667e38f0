"""Accounts below 1 on the real market, and an executor that may take several of them at once."""

import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

from keeper.app.act import carry_out
from keeper.app.chain import OpenChain, open_chain
from keeper.app.deploy import plan_deployment
from keeper.app.hands import liquidation_of
from keeper.app.look import held_by, read_market
from keeper.app.signing import executor_for, signer_for
from keeper.devnet.network import Devnet
from keeper.execution.executor import TxExecutor
from keeper.execution.liquidator import LIQUIDATED, intent_word
from keeper.model import (
    Act,
    Address,
    BlockRef,
    Intent,
    Outcome,
    Submitted,
)
from keeper.ports import LendingView
from keeper.settings import Settings
from keeper.store.actions import SqlActions
from keeper.store.database import Database
from keeper.store.journal import SqlJournal
from keeper.strategies.purse import Purse
from tests.chain.watching import settings_of

FIVE = 5
CONFIRMATIONS = 3


def settings_for(devnet: Devnet, folder: Path, contract: Address | None) -> Settings:
    there = devnet.deployment
    settings = settings_of(
        devnet,
        folder,
        f"""
[liquidate]
enabled = true
min_profit_usd = "1"
max_debt_usd = "2000000"
[signing]
armed_chain_ids = [31337]
private_key = "{there.account("keeper").private_key}"
max_per_tx_usd = "1"
max_per_day_usd = "1"
max_gas_per_tx_eth = "0.5"
max_gas_per_day_eth = "20"
""",
    )
    chain = settings.chains["devnet"].model_copy(
        update={
            "liquidator": contract,
            "uniswap_factory": there.uniswap.factory,
            "uniswap_quoter": there.uniswap.quoter,
        }
    )
    return settings.model_copy(update={"chains": {"devnet": chain}})


def unarmed(settings: Settings) -> Settings:
    signing = settings.signing.model_copy(update={"armed_chain_ids": ()})
    return settings.model_copy(update={"signing": signing})


async def deployed(devnet: Devnet, folder: Path) -> Address:
    """Deploy our liquidator by the keeper's own way, with a journal of its own."""
    settings = settings_for(devnet, folder, None)
    keeper = devnet.deployment.account("keeper").address
    async with (
        await Database.open(settings.database.url) as database,
        open_chain(settings, settings.select()[0]) as chain,
    ):
        made = await plan_deployment(settings, chain, keeper)
        await carry_out(settings, chain, database, made.planned, send=True, wait=False)
        await devnet.anvil.mine(CONFIRMATIONS)
        journal = SqlJournal(database, chain_id=31337)
        signer = await signer_for(settings, chain.config)
        executor = executor_for(
            settings, chain, journal=journal, signer=signer, on_settled=lambda *_: ((), ())
        )
        await executor.settle(await chain.rpc.block("latest"))
    return made.contract


@dataclass
class Bench:
    """A chain on which accounts are below 1, and the executor of the moment."""

    devnet: Devnet
    settings: Settings
    chain: OpenChain
    database: Database
    contract: Address
    outcomes: list[Outcome] = field(default_factory=list)
    executor: TxExecutor = field(init=False)
    snapshot: str = ""

    @property
    def journal(self) -> SqlJournal:
        return SqlJournal(self.database, chain_id=31337)

    async def begin(
        self, settings: Settings | None = None, failpoint: Callable[[str], None] = lambda _: None
    ) -> TxExecutor:
        """Begin a new process over the same journal and chain."""
        signer = await signer_for(self.settings, self.chain.config)
        built = executor_for(
            settings or self.settings,
            self.chain,
            journal=self.journal,
            signer=signer,
            on_settled=lambda *_: ((), ()),
            failpoint=failpoint,
        )
        assert isinstance(built, TxExecutor)
        self.executor = built
        return built

    async def remember(self) -> None:
        """Note the chain as it is now."""
        self.snapshot = await self.devnet.anvil.snapshot()

    async def forget_all(self) -> int:
        """Go back to what was noted; the keeper's nonce there."""
        await self.devnet.anvil.revert(self.snapshot)
        await self.devnet.anvil.drop_all_transactions()
        keeper = self.devnet.deployment.account("keeper").address
        found = await self.devnet.anvil.rpc("eth_getTransactionCount", keeper, "latest")
        return int(found, 16)

    @asynccontextmanager
    async def fresh_journal(self, nonce: int) -> AsyncIterator[TxExecutor]:
        """Go on with an empty journal: what is known to have been sent is vouched for."""
        before, name = self.database, f"fresh-{time.monotonic_ns()}.sqlite3"
        signing = self.settings.signing.model_copy(update={"adopt_nonce": nonce})
        url = self.settings.database.url.replace("keeper.sqlite3", name)
        async with await Database.open(url) as self.database:
            yield await self.begin(self.settings.model_copy(update={"signing": signing}))
        self.database = before

    async def head(self) -> BlockRef:
        return await self.chain.rpc.block("latest")

    async def wanted(self, count: int = FIVE) -> tuple[list[Intent], LendingView]:
        """Decide, at the head, about everybody; the `count` most profitable."""
        head = await self.head()
        market = self.chain.market()
        accounts = [borrower.address for borrower in self.devnet.borrowers]
        market.watch(frozenset(accounts))
        reading = await read_market(self.chain, market, head)
        keeper = self.devnet.deployment.account("keeper").address
        steps = market.adapter.inventory(market.market, keeper, head)
        purse = Purse(await self.chain.reader.run(steps, head))
        strategy = liquidation_of(self.settings, market, keeper)
        intents = []
        for account in accounts:
            holdings = held_by(market, reading, account)
            assessed = reading.view.assess(holdings)
            decision = strategy.decide(reading.view, holdings, assessed, purse)
            if isinstance(decision, Act):
                intents.append(decision.intent)
        intents.sort(key=lambda intent: -intent.expected_profit)
        assert len(intents) >= count
        return intents[:count], reading.view

    async def mine(self, count: int = 1) -> list[Outcome]:
        """Mine blocks, and let the executor look at each."""
        ended: list[Outcome] = []
        for _ in range(count):
            await self.devnet.anvil.mine()
            ended += await self.executor.settle(await self.head())
        self.outcomes += ended
        return ended

    async def ran(self, intents: Sequence[Intent]) -> list[int]:
        """How often each intent's order is done on the canonical chain."""
        asked = {"address": self.contract, "fromBlock": "0x0", "topics": [LIQUIDATED]}
        logs = await self.devnet.anvil.rpc("eth_getLogs", asked)
        words = [log["topics"][1] for log in logs]
        return [words.count("0x" + intent_word(i.intent_id).hex()) for i in intents]

    async def debts(self, intents: Sequence[Intent]) -> list[int]:
        accounts = [intent.position.account for intent in intents]
        return [data[1] for data in await self.devnet.account_data_of(accounts)]

    async def left(self) -> int:
        """Sum of every token that the contract holds or has allowed the Pool to take."""
        total = 0
        for reserve in self.devnet.deployment.reserves:
            for function, rest in (
                ("balanceOf", ()),
                ("allowance", (self.devnet.deployment.pool,)),
            ):
                total += int(
                    await self.devnet.deployer.call(
                        reserve.asset, "TestnetERC20", function, self.contract, *rest
                    )
                )
        return total

    async def states(self) -> dict[str, str]:
        actions = await SqlActions(self.database).last(20)
        return {action.intent.intent_id: action.state for action in actions}


@asynccontextmanager
async def opened(devnet: Devnet, folder: Path) -> AsyncIterator[Bench]:
    contract = await deployed(devnet, folder)
    settings = settings_for(devnet, folder, contract)
    await devnet.fall_of("ETH/USD", Decimal("0.82"))
    await devnet.anvil.set_automine(on=False)
    await devnet.anvil.mine()
    async with (
        await Database.open(settings.database.url) as database,
        open_chain(settings, settings.select()[0]) as chain,
    ):
        made = Bench(devnet, settings, chain, database, contract)
        await made.begin()
        yield made


def sent_of(submissions: Sequence[object]) -> list[Submitted]:
    return [one for one in submissions if isinstance(one, Submitted)]


async def gas_of(bench: Bench, sent: Sequence[Submitted]) -> int:
    """Mine what was sent; the gas of every transaction, each counted once."""
    await bench.devnet.anvil.mine()
    total = 0
    for tx_hash in {one.open_plan.attempts[-1].tx_hash for one in sent}:
        receipt = await bench.devnet.anvil.receipt(tx_hash)
        assert receipt is not None
        assert receipt["status"] == "0x1"
        total += int(receipt["gasUsed"], 16)
    return total


async def gas_alone(bench: Bench, intents: Sequence[Intent], view: LendingView) -> tuple[int, int]:
    """Send each by itself; the gas of all, and how many were sent."""
    sent = sent_of([await bench.executor.submit(intent, view) for intent in intents])
    return await gas_of(bench, sent), len(sent)
