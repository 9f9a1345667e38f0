"""The verdict as a table."""

from rich import box
from rich.console import Console
from rich.table import Table

from keeper.devnet.demo.verdict import Deed, Verdict, wad_text
from keeper.model import IntentKind

SHOWN_REFUSALS = 8


def render(console: Console, verdict: Verdict) -> None:
    """Print what was done, what was refused, the figures, and the verdict last."""
    console.print()
    console.print("== Verdict ".ljust(100, "="))
    if verdict.deeds:
        console.print(_deeds(verdict.deeds))
    if verdict.refused:
        console.print()
        console.print("Refused, with the reason:")
        for account, reason in list(verdict.refused.items())[:SHOWN_REFUSALS]:
            console.print(f"  {account[:8]}..{account[-4:]}  {reason}", markup=False)
        more = len(verdict.refused) - SHOWN_REFUSALS
        if more > 0:
            console.print(f"  .. and {more} more")
    console.print()
    for name, value in _figures(verdict):
        console.print(f"  {name:<34}{value}", markup=False)
    console.print()
    for fault in verdict.faults:
        console.print(f"  FAULT  {fault}", markup=False)
    console.print("PASSED" if verdict.ok else f"FAILED: {len(verdict.faults)} faults")


def _deeds(deeds: tuple[Deed, ...]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name in ("action", "position", "block", "tx"):
        table.add_column(name, no_wrap=True)
    for name in ("gas", "profit USD", "before", "after"):
        table.add_column(name, justify="right", no_wrap=True)
    for deed in deeds:
        table.add_row(
            str(deed.kind).replace("_", "-"),
            f"{deed.position[:8]}..{deed.position[-4:]}",
            f"{deed.block:,}",
            f"{deed.tx[:10]}..",
            f"{deed.gas:,}",
            "-" if deed.profit_usd is None else f"{deed.profit_usd:,.2f}",
            _short(deed.health_before),
            _short(deed.health_after),
        )
    return table


def _gas(verdict: Verdict) -> str:
    gas = sorted(deed.gas for deed in verdict.deeds if deed.kind is IntentKind.LIQUIDATE)
    if not gas:
        return "-"
    how = "with own tokens" if verdict.liquidator is None else "by flash swap, sale included"
    return f"p50 {gas[len(gas) // 2]:,}, least {gas[0]:,}, most {gas[-1]:,}, {how}"


def _short(health: int) -> str:
    """Three places, floored."""
    text = wad_text(health)
    return text if text == "no debt" else text[: text.index(".") + 4]


def _figures(verdict: Verdict) -> tuple[tuple[str, str], ...]:
    different = len(verdict.different)
    profit = sum(deed.profit_usd or 0.0 for deed in verdict.deeds)
    return (
        ("positions watched", f"{verdict.positions:,}"),
        (
            "health factors against the Pool",
            f"{verdict.compared:,} compared, {different:,} different",
        ),
        (
            "alerts",
            "{fired} fired, {delivered} messages delivered, {resolved} resolved".format(
                **verdict.alerts
            ),
        ),
        ("actions", f"{len(verdict.deeds)}, profit after gas {profit:,.2f} USD"),
        ("gas of a liquidation", _gas(verdict)),
        ("refused with a reason", f"{len(verdict.refused)}"),
        ("missed", f"{len(verdict.missed)}"),
        ("reorganisations seen", ", ".join(f"{d} deep" for d in verdict.reorg_depths) or "none"),
        ("requests per block to observe", f"{verdict.rpc_calls_per_block}"),
        ("head to decision, ms", _ms(verdict.decision_ms)),
        ("head to first broadcast, ms", _ms(verdict.broadcast_ms)),
        ("danger on chain to Telegram, ms", _ms(verdict.told_ms)),
        ("seconds in all", f"{verdict.seconds:.1f}"),
    )


def _ms(figures: object) -> str:
    assert isinstance(figures, dict)
    return ", ".join(f"{name} {value}" for name, value in figures.items()) or "no sample"
