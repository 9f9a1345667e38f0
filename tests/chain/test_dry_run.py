"""A keeper without a key rehearses; one with a key then does the same, and they agree."""

from decimal import Decimal
from pathlib import Path

import pytest

from keeper.devnet.network import Devnet
from keeper.model import Confirmed, PositionId, Rehearsed, Submitted
from keeper.store.actions import SqlActions
from keeper.store.database import Database
from tests.chain.test_misses import LIQUIDATES, armed
from tests.chain.watching import approve_everything, settings_of, watching

pytestmark = pytest.mark.chain


async def test_what_a_rehearsal_said_is_what_happens_when_it_is_armed(
    devnet: Devnet, tmp_path: Path
) -> None:
    keeper = devnet.deployment.account("keeper").address
    dry = settings_of(
        devnet, tmp_path, f'{LIQUIDATES}\n[signing]\nrehearse_as = "{keeper}"\n', name="dry"
    )
    real = settings_of(devnet, tmp_path, armed(devnet), name="real")
    await approve_everything(devnet, real)
    await devnet.anvil.mine()
    async with watching(devnet, dry) as here:
        nonce = await devnet.anvil.rpc("eth_getTransactionCount", keeper, "latest")
        await devnet.fall_of("ETH/USD", Decimal("0.82"))
        said = {
            s.intent.position: s
            for s in (await here.tick()).submissions
            if isinstance(s, Rehearsed)
        }
        assert await devnet.anvil.rpc("eth_getTransactionCount", keeper, "latest") == nonce
    async with watching(devnet, real) as here:
        for _ in range(5):
            await here.tick()
        sent = [s for done in here.passes for s in done.submissions if isinstance(s, Submitted)]
        done: dict[PositionId, Confirmed] = {
            o.plan.intent.position: o
            for one in here.passes
            for o in one.outcomes
            if isinstance(o, Confirmed)
        }

    assert len(said) >= 5
    first: dict[PositionId, Submitted] = {}
    for one in sent:
        first.setdefault(one.intent.position, one)
    assert set(first) == set(said)
    for position, dry_one in said.items():
        assert dry_one.cost is not None
        assert dry_one.cost.value is not None
        used = done[position].receipt.gas_used
        # many of them in one block find its reserves accrued already: a little cheaper
        assert abs(used - dry_one.cost.gas_used) <= used // 10
        # a few blocks of interest lie between the two
        real_one = first[position].intent
        assert abs(real_one.expected_profit - dry_one.intent.expected_profit) <= 10**6
        before, after = dry_one.health_after, first[position].health_after
        assert before is not None
        assert after is not None
        assert abs(before - after) <= before // 10**4
    async with await Database.open(dry.database.url) as database:
        would = await SqlActions(database).would_have()
    assert would.liquidations == len(said)
    assert would.unpriced == 0
    gas = sum(s.cost.value or 0 for s in said.values() if s.cost is not None)
    assert would.earned == sum(s.intent.expected_profit for s in said.values()) - gas
