"""People and a position on the real protocol: told, answered, topped up by two taps, told again."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from keeper.app.service import Service
from keeper.devnet.bot_api import TOKEN, BotApi, Said
from keeper.devnet.demo.transcript import transcript
from keeper.devnet.network import Devnet
from keeper.engine.passes import Pass
from keeper.notify.charts import available
from keeper.units import WAD, Wad
from tests.chain.watching import approve_everything, settings_of

pytestmark = pytest.mark.chain

OWNER, BOSS = 7001, 7009
"""Chat ids of persons, so their user ids too."""


class Story:
    """The service, the stand-in, and a chain that is mined by hand."""

    def __init__(self, devnet: Devnet, server: BotApi, service: Service) -> None:
        self.devnet = devnet
        self.server = server
        self.service = service
        self.passes: list[Pass] = []

    async def tick(self, seconds: int = 12, count: int = 1) -> None:
        for _ in range(count):
            await self.devnet.anvil.set_time(await self.devnet.anvil.timestamp() + seconds)
            await self.devnet.anvil.mine()
            latest = await self.devnet.anvil.rpc("eth_getBlockByNumber", "latest", False)
            ends_at = time.monotonic() + 30
            while not self.passes or self.passes[-1].block.hash != latest["hash"]:
                assert time.monotonic() < ends_at, "the keeper did not take a block"
                await asyncio.sleep(0.01)

    async def ask(self, text: str, containing: str, chat: int = OWNER) -> Said:
        seen = len(self.server.sent)
        await self.server.say(chat, text)
        return await self.heard(containing, chat, after=seen)

    async def press(self, said: Said, label: str, containing: str) -> Said:
        seen = len(self.server.sent)
        await self.server.press(said, label)
        return await self.heard(containing, said.chat_id, after=seen)

    async def heard(self, containing: str, chat: int = OWNER, *, after: int = 0) -> Said:
        ends_at = time.monotonic() + 20
        while time.monotonic() < ends_at:
            for said in self.server.sent[after:]:
                if said.chat_id == chat and containing in said.text:
                    return said
            await asyncio.sleep(0.02)
        raise AssertionError(f"{containing!r} was not said: {self.server.sent[after:]}")

    async def eth_to_health(self, now: Wad, wanted: str) -> None:
        """Move ETH/USD so that a position of ETH against dollars comes to about `wanted`."""
        price = await self.devnet.price("ETH/USD")
        wad = int(float(wanted) * WAD)
        await self.devnet.push_price("ETH/USD", price * wad / now)
        await self.tick()


@asynccontextmanager
async def told(
    devnet: Devnet, folder: Path, server: BotApi, *, first: bool = True
) -> AsyncIterator[Story]:
    keeper = devnet.deployment.account("keeper")
    alice = devnet.deployment.account("alice")
    settings = settings_of(
        devnet,
        folder,
        f"""
[telegram]
token = "{TOKEN}"
api_url = "{server.url}"
operator_chats = [{BOSS}]
allowed_chats = [{OWNER}]
operators = [{BOSS}]
[protect.alice]
account = "{alice.address}"
strategy = ["top_up"]
below = "1.001"
target = "1.4"
max_per_tx_usd = "250000"
[signing]
armed_chain_ids = [31337]
private_key = "{keeper.private_key}"
max_per_tx_usd = "2000000"
max_per_day_usd = "100000000"
max_gas_per_tx_eth = "0.5"
max_gas_per_day_eth = "20"
kill_switch_file = "{folder / "keeper.stop"}"
""",
    )
    if first:
        await approve_everything(devnet, settings)
    service = Service(settings, on_pass=lambda _, done: story.passes.append(done))
    story = Story(devnet, server, service)
    await devnet.anvil.set_automine(on=False)
    stop = asyncio.Event()
    running = asyncio.create_task(service.run(stop))
    try:
        opened = asyncio.create_task(service.opened.wait())
        await asyncio.wait({opened, running}, return_when=asyncio.FIRST_COMPLETED, timeout=60)
        assert service.opened.is_set(), running
        yield story
    finally:
        stop.set()
        await running
        await devnet.anvil.set_automine(on=True)


async def test_a_position_is_told_about_topped_up_by_two_taps_and_told_about_again(
    devnet: Devnet, tmp_path: Path
) -> None:
    alice = devnet.deployment.account("alice").address
    async with BotApi().serve() as server, told(devnet, tmp_path, server) as story:
        for chat in (OWNER, BOSS):
            await story.ask(f"/watch {alice} alice 1.30/1.15/1.05", "Watching alice", chat)
        await story.tick()
        engine = story.service.watchers[0].engine
        assert engine is not None
        [position] = [one.position for one in engine.assessments_of(alice)]

        def health() -> Wad:
            found = engine.health_of(position)
            assert found is not None
            return found

        await story.eth_to_health(health(), "1.14")
        warning = await story.heard("(warning < 1.15)")
        await story.press(warning, "Ack", "Acknowledged one alert")
        await story.eth_to_health(health(), "1.04")
        critical = await story.heard("(critical < 1.05), down from")
        await story.ask("/alerts", "critical")
        await story.ask("/pos alice", "Liquidated if ETH <")
        await story.ask("/stress eth -10", "can be liquidated")
        await story.ask("/oracles", "Oracle ETH/USD")

        # the owner's chat is no operator: neither of the taps does anything there
        await story.press(critical, "Top up...", "Only an operator may do this")
        boss = await story.heard("(critical < 1.05)", BOSS)
        offer = await story.press(boss, "Top up...", "Confirm within 60 s")
        before = health()
        sent = await story.press(offer, "Confirm (60 s)", "Sent: tx 0x")
        await story.press(offer, "Confirm (60 s)", "That offer is over")
        await story.tick(count=5)
        done = await story.heard("✅ Added")
        after = health()
        await story.tick(60, count=12)
        over = await story.heard("alice: back to")
        await story.ask("/quiet 00:00-23:59", "Quiet from 00:00")
        await story.eth_to_health(health(), "1.17")
        await story.tick(count=2)
        await story.ask("/quiet off", "No quiet hours")
        digest = await story.heard("Digest")
        written, pictures = transcript(server.transcript, OWNER, "alice")
        tx = sent.text.split("tx ")[1].split()[0]

        assert before < Wad(105 * WAD // 100)
        assert after > Wad(1399 * WAD // 1000)  # a minute of interest below the target
        assert tx in done.text
        assert over.reply_to == critical.message_id
        assert bool(critical.photo) is available()
        assert "While it was quiet (1):" in digest.text
        assert "alice: health factor 1.1" in digest.text
        in_order = ("/watch", "(warning <", "taps [Ack]", "(critical <", "taps [Top up...]")
        ends = ("✅ Added", "back to", "/quiet", "Digest")
        places = [written.index(word) for word in (*in_order, *ends)]
        assert places == sorted(places)
        at_night = written[written.index("Quiet from") : written.index("Digest")]
        assert "health factor" not in at_night
        assert pictures == ((critical.photo,) if critical.photo else ())
        assert sum("✅" in one.text for one in story.server.sent if one.chat_id == OWNER) == 1
        for said in story.server.transcript:
            if said.chat_id in (OWNER, BOSS):
                who = "keeper" if said.by_bot else "person"
                print(f"[{said.chat_id} {who}] {said.text}")  # noqa: T201 - the transcript


async def test_a_pause_stops_acting_and_outlives_a_restart(devnet: Devnet, tmp_path: Path) -> None:
    async with BotApi().serve() as server:
        async with told(devnet, tmp_path, server) as story:
            await story.tick()
            await story.ask("/pause", "Only an operator", OWNER)
            await story.ask("/pause", "Paused: nothing is sent", BOSS)
            executor = story.service.watchers[0].executor
            assert executor is not None
            assert not executor.armed
        async with told(devnet, tmp_path, server, first=False) as again:
            await again.tick()
            await again.ask("/mode", "not armed: paused by telegram user 7009", BOSS)
            await again.ask("/resume", "armed: transactions are sent", BOSS)
            executor = again.service.watchers[0].executor
            assert executor is not None
            assert executor.armed
