"""Somebody outside hears that we live, and hears nothing when we do not see."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import structlog
from aiohttp import web

from keeper.notify.deadman import Beat, beat_for_ever, document

WELL = Beat(chain="ethereum", block=21_034_511, head_age_s=3.14, fresh=True, covered=True)
DEAF = Beat(chain="base", block=7, head_age_s=91.0, fresh=False, covered=True)
NEW = Beat(chain="base", block=None, head_age_s=None, fresh=False, covered=False)


class Outside:
    def __init__(self) -> None:
        self.heard: list[dict[str, Any]] = []
        self.status = 200

    async def take(self, request: web.Request) -> web.Response:
        self.heard.append(await request.json())
        return web.Response(status=self.status)


@asynccontextmanager
async def outside() -> AsyncIterator[tuple[Outside, str]]:
    there = Outside()
    app = web.Application()
    app.router.add_post("/ping/{secret}", there.take)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        yield there, f"http://{host}:{port}/ping/s3cret"
    finally:
        await runner.cleanup()


async def beat(url: str, *told: tuple[Beat, ...]) -> list[dict[str, Any]]:
    """Beat once for each of `told`, then stop; return what was logged."""
    waiting = list(told)

    async def sleep(_: float) -> None:
        if not waiting:
            raise asyncio.CancelledError

    with structlog.testing.capture_logs() as logs, suppress(asyncio.CancelledError):
        await beat_for_ever(url, 30.0, lambda: waiting.pop(0), sleep)
    return [dict(one) for one in logs]


async def test_a_heartbeat_carries_the_last_head_of_every_chain() -> None:
    async with outside() as (there, url):
        await beat(url, (WELL,), (WELL,))

    told = {"last_head": 21_034_511, "last_head_age_s": 3.1, "history_read": True}
    assert there.heard == [{"chains": {"ethereum": told}}] * 2


async def test_one_chain_that_is_not_read_withholds_it_and_says_so_once() -> None:
    async with outside() as (there, url):
        logs = await beat(url, (WELL, DEAF), (WELL, DEAF), (WELL,))

    assert len(there.heard) == 1
    assert [one["event"] for one in logs] == ["heartbeat.withheld"]


def test_before_the_first_block_nothing_is_said() -> None:
    assert document((WELL, NEW)) is None
    assert document(()) is None


async def test_a_refusal_and_a_dead_end_are_logged_without_the_secret() -> None:
    async with outside() as (there, url):
        there.status = 500
        logs = await beat(url, (WELL,))
    logs += await beat(url, (WELL,))  # nobody listens there any more

    assert [one["event"] for one in logs] == ["heartbeat.refused", "heartbeat.failed"]
    assert "s3cret" not in str(logs)
