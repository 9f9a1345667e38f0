"""The reply to ``/oracles``: feeds, what is doubted, and how far prices are from references."""

from dataclasses import replace

from keeper.alerts.answers import oracles_text
from keeper.model import (
    Asset,
    Cause,
    PriceVerdict,
    Quote,
    Reference,
    Silent,
    Source,
    Stance,
    Suspicion,
)
from keeper.units import Base
from tests.alerts.build import ETH_USD, USDC, WETH, WSTETH, feed_verdict

DOUBT = Suspicion(
    cause=Cause.DISAGREES,
    stance=Stance.HOLD_LIQUIDATIONS,
    reason="USDC: the reference disagrees: 0.9991 by the protocol and 0.874 by kraken, +14.31%.",
)


def price(asset: Asset, ours: int, reference: int | None, *doubts: Suspicion) -> PriceVerdict:
    return PriceVerdict(
        asset=asset,
        source=Source(asset=asset, address=asset.address, path=(), feeds=()),
        price=Base(ours),
        feeds=(feed_verdict(ETH_USD),),
        reason="",
        suspicions=doubts,
        reference=Reference(
            price=None if reference is None else Base(reference),
            quotes=(Quote(source="kraken", price=Base(reference or 1)),),
            silent=(Silent(source="coinbase", reason="gone"),),
            reason="" if reference else "1 sources answered, 2 are needed",
        ),
    )


def test_what_waits_and_the_greatest_differences_stand_under_the_feeds() -> None:
    text = oracles_text(
        iter(
            (
                price(USDC, 99_910_000, 87_400_000, DOUBT),
                price(WETH, 351_237_281_953, 351_500_000_000),
                price(WSTETH, 417_000_000_000, None),
            )
        )
    )

    doubted, apart, without = text.splitlines()[1:]
    assert doubted == (
        "🟠 USDC: USDC: the reference disagrees: 0.9991 by the protocol and 0.874 by kraken, "
        "+14.31%; liquidations wait"
    )
    assert apart == "From the references: USDC +14.31 %, WETH -0.08 %"
    assert without == "1 without a reference at the moment"


def test_without_references_nothing_is_said_of_them() -> None:
    plain = replace(price(WETH, 351_237_281_953, None), reference=None)

    assert len(oracles_text([plain]).splitlines()) == 1


def test_symbols_of_the_chain_are_made_harmless() -> None:
    evil = replace(WETH, symbol="https://evil.example\u202e")

    text = oracles_text([price(evil, 100, 90, DOUBT)])

    assert "https://" not in text
    assert "\u202e" not in text
