"""One chain under watch: what runs beside the heads may not die unseen."""

import asyncio

import pytest

from keeper.app.watcher import _until
from keeper.errors import JournalError


async def for_ever() -> None:
    await asyncio.Event().wait()


async def at_once() -> None:
    return


async def broken() -> None:
    raise JournalError("The disk is full.")


async def test_an_error_beside_the_heads_ends_the_watch() -> None:
    following = asyncio.create_task(for_ever())
    beside = asyncio.create_task(broken())

    with pytest.raises(JournalError, match="disk is full"):
        await _until(following, (following, beside))

    following.cancel()


async def test_what_has_done_its_work_does_not_end_the_watch() -> None:
    following = asyncio.create_task(asyncio.sleep(0.05))
    beside = asyncio.create_task(at_once())

    await _until(following, (following, beside))

    assert following.done()
    assert beside.done()
