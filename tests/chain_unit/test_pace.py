"""How much of a history is asked for at once, and which nodes are not asked for a while."""

import asyncio
import time
from collections import Counter
from typing import Any, cast

import aiohttp
import pytest

from keeper.chain.pace import SILENCES_MOST, Pace, Silences
from keeper.chain.provider import Limits, NoAnswer, Provider
from keeper.errors import RpcError


def node(name: str) -> Provider:
    session = cast("aiohttp.ClientSession", None)
    limits = Limits()
    return Provider(f"http://{name}", session, limits=limits, chain_id=None, counts=Counter())


def asked(silences: Silences, one: Provider, answer: Exception | None = None) -> bool:
    """Whether `one` of two nodes was asked; its answer is `answer`."""
    try:
        with silences.noted(one, among=2):
            asked = True
            if answer is not None:
                raise answer
    except NoAnswer as error:
        return error is answer
    except RpcError:
        pass
    return asked


SILENT = NoAnswer("it does not answer")


async def test_who_is_silent_in_a_row_is_not_asked_for_ranges_until_its_rest_is_over() -> None:
    silences, hung, well = Silences(), node("hung"), node("well")

    assert all(asked(silences, hung, SILENT) for _ in range(SILENCES_MOST))
    assert not asked(silences, hung)
    assert asked(silences, well)

    silences._rests_until[hung] = time.monotonic()
    assert asked(silences, hung, SILENT)  # once more
    assert not asked(silences, hung)

    silences._rests_until[hung] = time.monotonic()
    assert asked(silences, hung)
    assert asked(silences, hung, SILENT)
    assert asked(silences, hung)


async def test_where_all_are_silent_all_are_asked() -> None:
    silences, first, second = Silences(), node("first"), node("second")
    for _ in range(SILENCES_MOST):
        asked(silences, first, SILENT)
        asked(silences, second, SILENT)

    assert asked(silences, first)
    assert not asked(silences, second)  # the first is back


@pytest.mark.parametrize(
    "answer", [NoAnswer("later", retry_after_s=1.0), RpcError("no", code=-32000)]
)
async def test_a_pause_that_is_asked_for_and_a_refusal_are_no_silence(answer: RpcError) -> None:
    silences, one = Silences(), node("one")

    assert all(asked(silences, one, answer) for _ in range(3 * SILENCES_MOST))


async def test_who_is_slower_than_another_again_and_again_is_not_asked_for_ranges(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    silences, slow = Silences(), node("slow")
    monkeypatch.setattr("keeper.chain.pace.HISTORY_HEDGE_S", 0.01)

    async def outrun(*, after_s: float) -> Any:
        async def answer() -> None:
            with silences.noted(slow, among=2):
                await asyncio.sleep(9.0)

        task = asyncio.ensure_future(answer())
        await asyncio.sleep(after_s)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    for _ in range(SILENCES_MOST):
        await outrun(after_s=0.0)  # given up at once: nothing is known of it
    assert asked(silences, slow, RpcError("no", code=-32000))
    for _ in range(SILENCES_MOST):
        await outrun(after_s=0.02)
    assert not asked(silences, slow)


async def paced(pace: Pace, most: int, ranges: int) -> int:
    """How many of so many answered ranges were refused before, where `most` blocks are allowed."""
    refused = 0
    for _ in range(ranges):
        while pace.blocks > most:
            await pace.refused(RpcError("range too large", code=-32000), pace.blocks)
            refused += 1
        pace.went(pace.blocks, 0, 0.1)
    return refused


@pytest.mark.parametrize("most", [1_000, 999, 10_000, 1])
async def test_where_so_many_blocks_are_allowed_hardly_any_range_is_refused(most: int) -> None:
    pace = Pace(2_000)

    first = await paced(pace, most, 100)
    later = await paced(pace, most, 1_000)

    assert first <= 14  # down to one block alone takes eleven
    assert later <= 4
    assert pace.blocks > most // 2 - 1


async def test_ranges_are_long_again_where_nothing_is_refused_any_more() -> None:
    pace = Pace(2_000)
    await paced(pace, 100, 40)

    assert await paced(pace, 10**9, 100) == 0
    assert pace.blocks > 100_000
