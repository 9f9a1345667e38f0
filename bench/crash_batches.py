"""A life that carries several liquidations in one transaction.

With borrowed money and through our real liquidator contract, as the product does it; what stands in
is the market behind that contract: see `bench.crash_market`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from bench.crash_market import call_states, decode_states
from keeper.chain.rpc import Rpc
from keeper.execution.exchange import Exchange
from keeper.execution.executor import TxExecutor
from keeper.execution.flash import FlashLoans, FlashRules
from keeper.execution.liquidator import LIQUIDATE, LIQUIDATE_EACH
from keeper.execution.planning import ExecutionSettings
from keeper.execution.policy import Permission, SigningPolicy, Target
from keeper.model import Address, Asset, BlockRef, Funding, Intent, IntentKind
from keeper.units import Base, Bps, Raw, Wei
from tests.execution.fakes import CHAIN, MARKET, TARGET, FakeView
from tests.execution.local import action

POINTS: Final = tuple(
    f"journal.{step}.{when}_commit"
    for step in ("claim", "signed", "sent", "mined", "settle")
    for when in ("before", "after")
)
"""In the database, where all rows of a transaction's intents are written or none."""
FALL_A_LIFE: Final = (5, 6, 8)
"""Accounts that fall below 1 at once."""
MOST: Final = 5
"""That one transaction may carry."""
FACTORY: Final = Address("0x" + "fa" * 20)
"""Of an exchange that nothing is sold at: collateral and debt are one token."""
MAX_FEE_WEI: Final = Wei(16 * 10**8)
MOST_GAS_WEI: Final = Wei(10**16)
"""A transaction's: no transaction of ours may ever cost more."""
MOST_REVERTS: Final = 10_000
"""Whatever others took is a revert where it was all of a transaction: not what is judged here."""
DEADLINE_S: Final = 3_000
"""Chain seconds, which are blocks here: on a busy machine they run ahead of a keeper, and an order
that is always late would never end."""
_TOKEN: Final = Asset(address=TARGET, symbol="COIN", decimals=18)


@dataclass(frozen=True)
class View(FakeView):
    """A market of one token."""

    def price_of(self, asset: Address) -> Base | None:
        """A little more than one, base units."""
        return Base(100_001_234) if asset == TARGET else None


def wiring(
    rpc: Rpc, contract: Address, caps: SigningPolicy, settings: ExecutionSettings
) -> dict[str, Any]:
    """Return what an executor needs for it."""
    exchange = Exchange(factory=FACTORY, quoter=FACTORY)
    rules = FlashRules(contract=contract, max_slippage=Bps(100), min_profit=Base(10**8))
    return {
        "flash": FlashLoans(node=rpc, exchange=exchange, rules=rules, hubs=lambda _view: ()),
        "settings": replace(
            settings,
            max_fee_wei=MAX_FEE_WEI,
            most_reverts=MOST_REVERTS,
            deadline_s=DEADLINE_S,
            floor=rules.min_profit,
        ),
        "policy": replace(
            caps,
            permissions=(Permission(market=MARKET.name, kind=IntentKind.LIQUIDATE),),
            targets=tuple(
                Target(chain_id=CHAIN, to=contract, selector=selector)
                for selector in (LIQUIDATE, LIQUIDATE_EACH)
            ),
            max_gas_wei=MOST_GAS_WEI,
        ),
    }


async def below(rpc: Rpc, accounts: int) -> Sequence[int]:
    """Return the accounts that nobody liquidated yet."""
    asked = {"to": TARGET, "data": "0x" + call_states(accounts).hex()}
    answer = await rpc.call("eth_call", [asked, "latest"])
    states = decode_states(bytes.fromhex(answer[2:]))
    return [n for n, (times, taken) in enumerate(states, start=1) if not times and not taken]


async def submit(to: TxExecutor, free: Sequence[int], head: BlockRef) -> None:
    """Submit liquidations: at every third block the first one alone, the others together."""
    intents = [_intent(number, head) for number in free]
    view = View(block=head)
    alone = int(int(head.hash[-4:], 16) % 3 == 0)
    for intent in intents[:alone]:
        await to.submit(intent, view)
    together = intents[alone:]
    while together:
        await to.submit_together(together[:MOST], view)
        together = together[MOST:]


def _intent(number: int, head: BlockRef) -> Intent:
    return replace(
        action(number, head),
        intent_id=f"at-{head.hash[2:14]}-{number}",
        kind=IntentKind.LIQUIDATE,
        funding=Funding.FLASH,
        asset=_TOKEN,
        collateral=_TOKEN,
        amount=Raw(20_000 * 10**18 + number),
        covers=Raw(20_000 * 10**18 + number),
        seized=Raw(21_000 * 10**18),
    )
