"""A market of plain arithmetic: what strategies ask of a view, and nothing else.

It stands in for `keeper.protocols` here only because strategies must not know any protocol.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from keeper.model import (
    Act,
    Address,
    Assessed,
    Assessment,
    Asset,
    BlockRef,
    Decision,
    Entry,
    Hash,
    Hold,
    Holdings,
    Intent,
    Inventory,
    Leg,
    Liquidation,
    MarketId,
    PositionId,
    Refuse,
    Side,
    Unassessable,
)
from keeper.strategies.purse import Purse
from keeper.units import UINT256_MAX, WAD, Base, Bps, Raw, Wad

MARKET = MarketId(chain_id=31337, name="aave-v3-devnet", protocol="aave_v3")
ALICE = Address("0x" + "a1" * 20)
BOB = Address("0x" + "b0" * 20)
KEEPER = Address("0x" + "4e" * 20)
BLOCK = BlockRef(
    number=117,
    hash=Hash("0x" + "c7" * 32),
    parent_hash=Hash("0x" + "c6" * 32),
    timestamp=1_763_680_121,
)

WETH = Asset(address=Address("0x" + "e0" * 20), symbol="WETH", decimals=18)
WBTC = Asset(address=Address("0x" + "e1" * 20), symbol="WBTC", decimals=8)
USDC = Asset(address=Address("0x" + "d0" * 20), symbol="USDC", decimals=6)
DAI = Asset(address=Address("0x" + "d1" * 20), symbol="DAI", decimals=18)
ASSETS = (WETH, WBTC, USDC, DAI)


@dataclass(kw_only=True)
class FakeMarket:
    """Prices in base units, thresholds in bps; balances are the scaled ones."""

    prices: tuple[int, ...] = (2_500_00000000, 61_000_00000000, 1_00000000, 1_00000000)
    thresholds: tuple[int, ...] = (8_000, 7_500, 7_800, 0)
    bonus: int = 10_500
    legal: tuple[Liquidation, ...] = ()
    smallest: int = 0
    """Liquidations of less debt than this are not legal."""
    market: MarketId = MARKET
    block: BlockRef = BLOCK
    asked: list[int] = field(default_factory=list)

    def _leg(self, entry: Entry) -> Leg:
        asset, price = ASSETS[entry.reserve], self.prices[entry.reserve]
        collateral = entry.side is Side.COLLATERAL
        return Leg(
            side=entry.side,
            reserve=entry.reserve,
            asset=asset,
            balance=Raw(entry.scaled),
            value=Base(entry.scaled * price // 10**asset.decimals),
            price=Base(price),
            liquidation_threshold=Bps(self.thresholds[entry.reserve] if collateral else 0),
            liquidation_bonus=Bps(self.bonus if collateral else 0),
        )

    def assess(self, holdings: Holdings) -> Assessed:
        legs = tuple(self._leg(e) for e in holdings.entries)
        debt = sum(leg.value for leg in legs if leg.side is Side.DEBT)
        weighted = sum(leg.value * leg.liquidation_threshold for leg in legs)
        return Assessed(
            position=PositionId(market=self.market, account=holdings.account),
            block=self.block,
            health_factor=Wad(weighted * WAD // 10_000 // debt if debt else UINT256_MAX),
            collateral=Base(sum(leg.value for leg in legs if leg.side is Side.COLLATERAL)),
            debt=Base(debt),
            legs=legs,
        )

    def _after(self, holdings: Holdings, leg: Leg, change: int) -> Wad:
        entries = tuple(
            Entry(reserve=e.reserve, side=e.side, scaled=e.scaled + change)
            if (e.reserve, e.side) == (leg.reserve, leg.side)
            else e
            for e in holdings.entries
        )
        changed = Holdings(account=holdings.account, e_mode=0, entries=entries)
        return self.assess(changed).health_factor

    def price_of(self, asset: Address) -> Base | None:
        return {a.address: Base(p) for a, p in zip(ASSETS, self.prices, strict=True)}.get(asset)

    def supply_to_reach(self, holdings: Holdings, leg: Leg, target: Wad) -> Raw | None:
        high = 10**30
        if self._after(holdings, leg, high) < target:
            return None
        return Raw(_least(high, lambda x: self._after(holdings, leg, x) >= target))

    def repay_to_reach(self, holdings: Holdings, leg: Leg, target: Wad) -> Raw | None:
        if self._after(holdings, leg, -leg.balance) < target:
            return leg.balance
        return Raw(_least(leg.balance, lambda x: self._after(holdings, leg, -x) >= target))

    def liquidations(self, holdings: Holdings) -> tuple[Liquidation, ...]:
        return self.legal

    def liquidation_at_most(
        self, holdings: Holdings, of: Liquidation, debt_to_cover: Raw
    ) -> Liquidation | None:
        self.asked.append(debt_to_cover)
        if debt_to_cover < self.smallest:
            return None
        return liquidation(
            of.collateral,
            of.debt,
            debt_to_cover,
            profit=of.profit * debt_to_cover // of.debt_to_cover,
        )

    def encode(self, intent: Intent) -> tuple[Address, bytes]:
        raise NotImplementedError


def _least(high: int, holds: "object") -> int:
    low = 0
    while low < high:
        middle = (low + high) // 2
        if holds(middle):  # type: ignore[operator]
            high = middle
        else:
            low = middle + 1
    return low


def liquidation(
    collateral: Leg, debt: Leg, debt_to_cover: int, *, profit: int, slack: int = 0
) -> Liquidation:
    return Liquidation(
        collateral=collateral,
        debt=debt,
        debt_to_cover=Raw(debt_to_cover),
        amount=Raw(debt_to_cover + slack),
        seized=Raw(debt_to_cover * 10**12 * 105 // 100 // 2_500),
        profit=Base(profit),
    )


def holdings(*entries: tuple[Asset, Side, int], account: Address = ALICE) -> Holdings:
    return Holdings(
        account=account,
        e_mode=0,
        entries=tuple(
            Entry(reserve=ASSETS.index(asset), side=side, scaled=amount)
            for asset, side, amount in entries
        ),
    )


def purse(amounts: Mapping[Asset, int], allowances: Mapping[Asset, int] | None = None) -> Purse:
    balances = {asset.address: Raw(amount) for asset, amount in amounts.items()}
    granted = amounts if allowances is None else allowances
    return Purse(
        Inventory(
            owner=KEEPER,
            block=BLOCK,
            balances=balances,
            allowances={asset.address: Raw(amount) for asset, amount in granted.items()},
        )
    )


def unassessable(reason: str, account: Address = ALICE) -> Unassessable:
    position = PositionId(market=MARKET, account=account)
    return Unassessable(position=position, block=BLOCK, reason=reason)


def wad(text: str) -> Wad:
    whole, _, part = text.partition(".")
    return Wad(int(whole) * WAD + int(part.ljust(18, "0")))


def acted(decision: Decision) -> Intent:
    assert isinstance(decision, Act), decision
    return decision.intent


def refused(decision: Decision) -> str:
    assert isinstance(decision, Refuse), decision
    return decision.reason


def held(decision: Decision) -> str:
    assert isinstance(decision, Hold), decision
    return decision.reason


def leg_of(assessment: Assessment, asset: Asset) -> Leg:
    assert isinstance(assessment, Assessed)
    return next(leg for leg in assessment.legs if leg.asset == asset)
