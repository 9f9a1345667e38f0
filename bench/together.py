"""G1: gas of a liquidation with borrowed money, several in one transaction against each alone.

The same accounts of the real market from the same state, once as a transaction each and once as
one, by the keeper's own executor.  Gas is the receipts'; it is the same in every run.
"""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from bench.line import Line
from keeper.devnet.network import Stage, start
from tests.chain.batches import gas_alone, gas_of, opened, sent_of

POSITIONS: Final = 60
COUNTS: Final = (2, 3, 5, 8)
STATED: Final = 5
"""How many go together by default."""
REACH: Final = 0.8


def run() -> Iterator[Line]:
    """Yield G1."""
    stage = start(POSITIONS)
    try:
        yield asyncio.run(measure(stage))
    finally:
        stage.stop()


async def measure(stage: Stage) -> Line:
    """Return the ratio of five, and of fewer and more in the context."""
    found: dict[int, tuple[int, int]] = {}
    with TemporaryDirectory() as folder:
        async with stage.devnet() as devnet, opened(devnet, Path(folder)) as bench:
            nonce = None
            for count in COUNTS:
                intents, view = await bench.wanted(count)
                await bench.remember()
                if nonce is None:
                    single, sent = await gas_alone(bench, intents, view)
                else:
                    async with bench.fresh_journal(nonce):
                        single, sent = await gas_alone(bench, intents, view)
                assert sent == count
                nonce = await bench.forget_all()
                await bench.remember()
                async with bench.fresh_journal(nonce) as executor:
                    together = sent_of(await executor.submit_together(intents, view))
                    assert len({one.open_plan.nonce for one in together}) == 1
                    whole = await gas_of(bench, together)
                nonce = await bench.forget_all()
                found[count] = (single // count, whole // count)
    ratios = {count: round(whole / single, 3) for count, (single, whole) in found.items()}
    return Line(
        id="G1",
        what="gas of a liquidation, five in one transaction against each alone",
        value=ratios[STATED],
        unit="x",
        reach=f"<= {REACH}",
        ok=ratios[STATED] <= REACH,
        runs=len(ratios),
        spread=(min(ratios.values()), max(ratios.values())),
        context={
            "ratio_by_count": {str(count): ratio for count, ratio in ratios.items()},
            "gas_alone": {str(count): single for count, (single, _) in found.items()},
            "gas_together": {str(count): whole for count, (_, whole) in found.items()},
        },
    )
