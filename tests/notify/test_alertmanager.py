"""Alertmanager, against a local stand-in that keeps alerts by their labels as it does."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from aiohttp import web

from keeper.errors import DeliveryError
from keeper.model import Message, Severity
from keeper.notify.alertmanager import Alertmanagers
from tests.notify.build import message

NOW = 1_795_000_900.5
CHAT = "alertmanager:ops"
FIRED = Message(
    key=f"health/aave-v3-ethereum:0x5a#0xab.1@{CHAT}",
    chat=CHAT,
    severity=Severity.WARNING,
    text="🟠 main: health factor 1.142 (warning < 1.15)\nAave v3",
    kind="fired",
)
WORSE = replace(FIRED, key=f"health/aave-v3-ethereum:0x5a#0xac.2@{CHAT}", kind="worse")
RESOLVED = replace(
    FIRED, key=f"health/aave-v3-ethereum:0x5a#0xad.3@{CHAT}", kind="resolved", text="🟢 main: back"
)


class Manager:
    """Not Alertmanager: what of its API v2 is used, by its own rules of identity."""

    def __init__(self) -> None:
        self.status = 200
        self.posts = 0
        self.alerts: dict[str, dict[str, Any]] = {}

    async def take(self, request: web.Request) -> web.Response:
        self.posts += 1
        for alert in await request.json():
            assert all(isinstance(v, str) and v for v in alert["labels"].values())
            for name in ("startsAt", "endsAt"):
                if name in alert:
                    assert datetime.fromisoformat(alert[name]).tzinfo is not None
            known = self.alerts.setdefault(json.dumps(alert["labels"], sort_keys=True), {})
            known |= alert
        return web.Response(status=self.status)

    def firing(self, at: float) -> int:
        ends = (datetime.fromisoformat(one["endsAt"]).timestamp() for one in self.alerts.values())
        return sum(end > at for end in ends)


@asynccontextmanager
async def manager() -> AsyncIterator[tuple[Manager, Alertmanagers]]:
    there = Manager()
    app = web.Application()
    app.router.add_post("/base/api/v2/alerts", there.take)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        yield there, Alertmanagers({"ops": f"http://{host}:{port}/base/"}, wall=lambda: NOW)
    finally:
        await runner.cleanup()


async def test_an_alert_is_one_from_its_first_word_to_its_resolve() -> None:
    async with manager() as (there, channel):
        for said in (FIRED, WORSE, WORSE):
            await channel.send(said)
        [alert] = there.alerts.values()
        assert there.firing(NOW + 6 * 86_400) == 1  # nobody has to say it again

        await channel.send(RESOLVED)

    assert there.posts == 4
    assert len(there.alerts) == 1
    assert there.firing(NOW) == 0
    assert alert["labels"] == {
        "alertname": "keeper_health",
        "subject": "aave-v3-ethereum:0x5a",
        "source": "keeper",
    }
    assert alert["annotations"]["summary"] == "🟢 main: back"
    assert alert["startsAt"] == "2026-11-18T11:21:40.500+00:00"


async def test_a_fault_that_is_over_resolves_and_an_action_ends_by_itself() -> None:
    fault = Message(
        key="keeper/devnet:heads#1.1@x",
        chat=CHAT,
        severity=Severity.CRITICAL,
        text="!",
        kind="fault",
    )
    action = replace(fault, key="action/i-7f3a#confirmed@x", kind="action", severity=Severity.INFO)
    async with manager() as (there, channel):
        await channel.send(fault)
        await channel.send(action)
        assert there.firing(NOW) == 2
        assert there.firing(NOW + 3600) == 1

        await channel.send(replace(fault, severity=Severity.INFO, text="well again"))

    assert there.firing(NOW + 3600) == 0


@pytest.mark.parametrize("status", [302, 400, 500])
async def test_what_was_not_taken_is_tried_again(status: int) -> None:
    async with manager() as (there, channel):
        there.status = status
        with pytest.raises(DeliveryError, match=f"alertmanager:ops answered {status}") as failed:
            await channel.send(FIRED)

    assert not failed.value.permanent


async def test_one_that_is_not_there_is_tried_again_and_its_url_is_not_shown() -> None:
    channel = Alertmanagers({"ops": "http://user:s3cret@127.0.0.1:9"})
    with pytest.raises(DeliveryError) as failed:
        await channel.send(FIRED)

    assert "s3cret" not in str(failed.value)
    assert not failed.value.permanent


async def test_a_name_nobody_configured_is_said() -> None:
    with pytest.raises(DeliveryError, match="No Alertmanager is called 'pager'"):
        await Alertmanagers({}).send(message("x", chat="alertmanager:pager"))
