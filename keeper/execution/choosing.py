"""Which of several ways to fund one liquidation is taken: the one that leaves most.  Pure.

What counts is what the contract answered when the whole transaction was simulated at the pinned
hash, less the gas that took, and never more than what was offered: a simulation shows that an offer
comes to pass, and the contract insists on the offer.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from keeper.errors import BadAnswer, KeeperError, Unprofitable
from keeper.execution.data_fee import DataFee
from keeper.execution.flash import Funded, gas_cost
from keeper.execution.liquidator import decode_profit
from keeper.execution.rivals import Refused
from keeper.execution.simulate import Simulated
from keeper.model import Call
from keeper.strategies.text import usd
from keeper.units import Base, Wei


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """A call that was simulated, and would succeed."""

    call: Call
    simulated: Simulated
    fee: DataFee
    funded: Funded | None = None

    @property
    def profit(self) -> Base:
        """What it leaves before gas, as the contract said; as it was quoted where it did not."""
        assert self.funded is not None
        try:
            return self.simulated_profit
        except BadAnswer:  # a node that does not hand over what a call answered
            return self.funded.intent.expected_profit

    @property
    def simulated_profit(self) -> Base:
        """The same; never more than what was offered leaves.  Raises `BadAnswer` without answer.

        Whoever is called can tell a simulation from the chain and be generous in the one: what
        counts is what the contract insists on in the other.
        """
        funded = self.funded
        assert funded is not None
        if funded.worth is None:
            return funded.intent.expected_profit
        left = funded.worth.of(*decode_profit(self.simulated.output))
        return left if funded.most is None else min(left, funded.most)

    def left(self, price_wei: Wei) -> Base:
        """What it leaves after gas."""
        assert self.funded is not None
        gas = gas_cost(self.simulated.gas_used, price_wei, self.funded.native_price, self.fee.wei)
        return Base(self.profit - gas)


Way = Tried | Refused


def proved(tried: Tried, price_wei: Wei) -> Way:
    """Return a rival's sale with the profit that was simulated, or why it is none.

    A node that does not say what the call answered confirms nothing.
    """
    funded = tried.funded
    assert funded is not None
    assert funded.worth is not None
    try:
        profit = tried.simulated_profit
        words = f"{funded.words}, profit {usd(profit)} before gas"
        intent = replace(
            funded.intent,
            expected_profit=profit,
            reason=f"{funded.intent.reason}{words[len(funded.words) :]}",
        )
        sure = replace(funded, intent=intent, words=words)
        sure.judge(tried.simulated.gas_used, price_wei, tried.fee.wei)
    except (BadAnswer, Unprofitable) as error:
        return Refused(source=funded.source, reason=str(error))
    return replace(tried, funded=sure)


def choose(first: Tried | KeeperError, others: Sequence[Way], price_wei: Wei) -> Tried:
    """Return the way that leaves most after gas, with the others' figures in its reason.

    `first`: over Uniswap v3's pools, or why not; it is taken where another leaves the same.
    Raises its error where there is no other.
    """
    known = [way for way in others if isinstance(way, Tried)]
    ways = [first, *known] if isinstance(first, Tried) else known
    if not ways:
        assert isinstance(first, KeeperError)
        if not others:
            raise first
        raise type(first)(f"{first} {'; '.join(map(_refusal, others))}.") from first
    best = max(ways, key=lambda way: way.left(price_wei))
    said = [
        _figure(way, price_wei) if isinstance(way, Tried) else _refusal(way)
        for way in (first, *others)
        if way is not best and not isinstance(way, KeeperError)
    ]
    if isinstance(first, KeeperError):
        said.insert(0, f"Uniswap v3: {str(first).rstrip('.')}")
    funded = best.funded
    assert funded is not None
    if not said:
        return best
    reason = f"{funded.intent.reason}; by {funded.source}, others: {'; '.join(said)}"
    return replace(best, funded=replace(funded, intent=replace(funded.intent, reason=reason)))


def _figure(tried: Tried, price_wei: Wei) -> str:
    assert tried.funded is not None
    return f"{tried.funded.source} leaves {usd(tried.left(price_wei))} after gas"


def _refusal(way: Way) -> str:
    assert isinstance(way, Refused)
    reason = way.reason.rstrip(".")
    return reason if reason.startswith(way.source) else f"{way.source}: {reason}"
