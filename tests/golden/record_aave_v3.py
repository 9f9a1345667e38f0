"""Records what the deployed contracts answered, for tests that run without a chain.

    python -m tests.golden.record_aave_v3

Written: every call and answer of `discover` and `observe` for 14 accounts of the devnet after a
price shock and two days, with `getUserAccountData` of each.  Answers are data, not code.
"""

import asyncio
import json
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

from keeper.devnet.deploy_v3_0 import deploy_v3_0
from keeper.devnet.network import Devnet, running_devnet
from keeper.devnet.seed import seed
from keeper.devnet.toolchain import ensure
from keeper.model import Address, MarketId, Returned
from keeper.ports import Steps
from keeper.protocols.aave_v3.adapter import AaveV3

T = TypeVar("T")
HERE = Path(__file__).parent
ACCOUNTS = 14


async def main() -> None:
    """Record 3.6 and 3.0.2."""
    async with running_devnet(positions=ACCOUNTS) as devnet:
        await record(devnet, "3.6")
    async with running_devnet(positions=0) as devnet:
        old = await deploy_v3_0(devnet.deployer, devnet.deployment)
        people = await seed(devnet.anvil, devnet.artifacts, old, ACCOUNTS, 7)
        both = Devnet(devnet.anvil, old, ensure())
        await record(both, "3.0.2", [p.address for p in people])


async def record(devnet: Devnet, release: str, accounts: list[Address] | None = None) -> None:
    """Write ``aave_v3_RELEASE.json``."""
    people = accounts or [p.address for p in devnet.borrowers]
    await devnet.anvil.increase_time(172_801)
    for feed, left in (("ETH/USD", "0.8713"), ("BTC/USD", "0.9077"), ("USDC/USD", "1.0003")):
        price = (await devnet.price(feed) * Decimal(left)).quantize(Decimal("1e-8"))
        await devnet.push_price(feed, price)
    block = await devnet.anvil.rpc("eth_getBlockByNumber", "latest", False)
    adapter = AaveV3(
        MarketId(chain_id=31337, name="golden", protocol="aave_v3"),
        devnet.deployment.addresses_provider,
    )
    answers: dict[str, str] = {}
    market = await _drive(devnet, adapter.discover(), answers)
    await _drive(devnet, adapter.observe(market, people, lambda _: None), answers)
    said = await devnet.account_data_of(people)
    # the many e-mode categories that were never set up answer alike: kept once, by selector
    often = Counter((key.split(":")[1][:8], answer) for key, answer in answers.items())
    default = {selector: answer for (selector, answer), n in often.items() if n > 200}
    kept = {k: a for k, a in answers.items() if default.get(k.split(":")[1][:8]) != a}
    document = {
        "release": release,
        "provider": devnet.deployment.addresses_provider,
        "timestamp": int(block["timestamp"], 16),
        "accounts": {
            account: [str(data[0]), str(data[1]), str(data[5])]
            for account, data in zip(people, said, strict=True)
        },
        "default": default,
        "answers": kept,
    }
    (HERE / f"aave_v3_{release}.json").write_text(json.dumps(document, indent=1) + "\n")


async def _drive(devnet: Devnet, steps: Steps[T], answers: dict[str, str]) -> T:
    results: tuple[Any, ...] | None = None
    try:
        while True:
            calls = next(steps) if results is None else steps.send(results)
            results = ()
            for call in calls:
                data = await devnet.anvil.call(call.to, call.data)
                answers[f"{call.to}:{call.data.hex()}"] = data.hex()
                results += (Returned(data),)
    except StopIteration as ended:
        result: T = ended.value
        return result


if __name__ == "__main__":
    asyncio.run(main())
