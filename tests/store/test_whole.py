"""A caller may be cancelled, a transaction may not."""

import asyncio

import pytest

from keeper.store import actions, history, journal, outbox, records, watches
from keeper.store.whole import whole


async def test_work_is_done_to_its_end_before_its_caller_is_cancelled() -> None:
    steps: list[str] = []
    go_on = asyncio.Event()

    @whole
    async def work() -> None:
        steps.append("begun")
        await go_on.wait()
        steps.append("ended")

    caller = asyncio.create_task(work())
    for _ in range(3):  # cancelled again and again
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        caller.cancel()
    await asyncio.sleep(0)
    assert (steps, caller.done()) == (["begun"], False)

    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert steps == ["begun", "ended"]


async def test_results_and_errors_come_through() -> None:
    @whole
    async def divide(x: int, y: int) -> int:
        await asyncio.sleep(0)
        return x // y

    assert await divide(7, 2) == 3
    with pytest.raises(ZeroDivisionError):
        await divide(7, 0)


def test_every_public_method_of_the_stores_is_whole() -> None:
    stores = (
        journal.SqlJournal,
        records.SqlRecords,
        outbox.SqlOutbox,
        watches.SqlWatches,
        history.SqlHistory,
        actions.SqlActions,
    )
    methods = [
        method
        for store in stores
        for name, method in vars(store).items()
        if callable(method) and not name.startswith("_")
    ]

    assert len(methods) > 25
    assert all(hasattr(method, "__wrapped__") for method in methods)
