"""The drain, with a clock that only sleeping moves."""

import asyncio
import itertools

import pytest

from keeper.errors import DeliveryError
from keeper.model import Message, Pending, Severity
from keeper.notify.log import LogChannel
from keeper.notify.outbox import Outbox
from tests.notify.build import (
    CHAT,
    OPERATOR,
    OTHER,
    Clock,
    MemoryOutbox,
    ScriptedChannel,
    message,
)


class House:
    def __init__(self) -> None:
        self.clock = Clock()
        self.store = MemoryOutbox()
        self.channel = ScriptedChannel(self.clock)
        self.outbox = self.another()

    def another(self) -> Outbox:
        """The drain as after a restart: nothing in memory."""
        return Outbox(
            self.store,
            (self.channel, LogChannel()),
            operators=(OPERATOR,),
            clock=self.clock,
            wall=self.clock,
            sleep=self.clock.sleep,
        )


async def test_everything_is_delivered_once_and_marked() -> None:
    house = House()
    await house.store.put(message(f"m{at}") for at in range(5))

    assert await house.outbox.flush(60)
    assert house.channel.texts == ["m0", "m1", "m2", "m3", "m4"]
    assert len(house.store.done) == 5


async def test_a_chat_hears_one_message_a_second() -> None:
    house = House()
    await house.store.put(message(f"m{at}") for at in range(4))
    await house.outbox.flush(60)

    times = [at for at, _, _ in house.channel.taken]
    assert all(later - earlier >= 1.0 for earlier, later in itertools.pairwise(times))


async def test_critical_goes_first_but_never_before_its_own_past() -> None:
    house = House()
    await house.store.put(
        (
            message("info", severity=Severity.INFO, thread="a"),
            message("resolved", severity=Severity.INFO, thread="b"),
            message("critical", severity=Severity.CRITICAL, thread="b"),
        )
    )
    await house.outbox.flush(60)

    assert house.channel.texts == ["resolved", "critical", "info"]


async def test_retry_after_is_honoured_for_that_chat_only() -> None:
    house = House()
    house.channel.script[CHAT] = [DeliveryError("flood", retry_after_s=17)]
    await house.store.put((message("mine"), message("yours", chat=OTHER)))
    start = house.clock.now
    await house.outbox.flush(60)

    taken = {chat: at - start for at, chat, _ in house.channel.taken}
    assert taken[OTHER] < 1
    assert 17 <= taken[CHAT] < 19


async def test_a_failing_chat_backs_off_keeps_its_order_and_loses_nothing() -> None:
    house = House()
    house.channel.script[CHAT] = [DeliveryError("reset")] * 4
    await house.store.put(message(f"m{at}") for at in range(3))
    start = house.clock.now

    assert await house.outbox.flush(120)
    assert house.channel.texts == ["m0", "m1", "m2"]
    waits = [at - start for at, _ in house.channel.tries]
    assert waits[1] >= 1
    assert waits[2] >= 3
    assert waits[3] >= 7
    assert waits[4] >= 15


async def test_what_backs_off_does_not_hold_up_a_critical_about_something_else() -> None:
    house = House()
    house.channel.script[CHAT] = [DeliveryError("reset")] * 4
    await house.store.put((message("m0", thread="a"),))
    await house.outbox.flush(8)  # its next attempt is seconds away
    await house.store.put((message("critical", thread="b", severity=Severity.CRITICAL),))
    start = house.clock.now
    await house.outbox.flush(2)

    assert house.channel.texts == ["critical"]
    assert house.channel.taken[0][0] - start < 1


async def test_what_is_acknowledged_while_the_store_is_read_is_not_sent_again() -> None:
    house = House()

    class Slow(MemoryOutbox):
        async def due(self, now: float, limit: int) -> tuple[Pending, ...]:
            rows = await super().due(now, limit)
            for _ in range(50):  # the answer is old when it arrives
                await asyncio.sleep(0)
            house.clock.now += 2  # longer than the pause between two messages of a chat
            return rows

    class Leisurely(ScriptedChannel):
        async def send(self, message: Message, *, reply_to: str = "") -> str | None:
            for _ in range(10 * int(message.text[1:])):
                await asyncio.sleep(0)
            return await super().send(message, reply_to=reply_to)

    house.store = Slow()
    house.channel = Leisurely(house.clock)
    house.outbox = house.another()
    await house.store.put(message(f"m{at}", chat=f"telegram:{at}") for at in range(1, 9))

    assert await house.outbox.flush(60)
    assert sorted(house.channel.texts) == [f"m{at}" for at in range(1, 9)]


async def test_one_message_that_never_goes_does_not_hold_up_its_chat_for_ever() -> None:
    house = House()
    await house.store.put((message("poison"), message("fine")))

    class Picky(ScriptedChannel):
        async def send(self, message: Message, *, reply_to: str = "") -> str | None:
            if getattr(message, "text", "") == "poison":
                raise DeliveryError("Telegram could not parse it")
            return await super().send(message, reply_to=reply_to)

    house.channel = Picky(house.clock)
    house.outbox = house.another()
    await house.outbox.flush(400)

    assert house.channel.texts == ["fine"]
    assert 1 not in house.store.done  # still there, still tried


async def test_a_blocked_chat_is_disabled_and_the_operators_are_told() -> None:
    house = House()
    house.channel.script[CHAT] = [DeliveryError("the bot was blocked.", permanent=True)]
    await house.store.put((message("m0"), message("m1")))
    await house.outbox.flush(60)

    assert house.store.disabled == {CHAT: "the bot was blocked."}
    assert [(chat, text) for _, chat, text in house.channel.taken] == [
        (OPERATOR, f"⚠️ Keeper: {CHAT} no longer hears anything: the bot was blocked.")
    ]


async def test_a_message_whose_mark_failed_is_not_sent_twice() -> None:
    house = House()
    house.store.marking_fails = 1
    await house.store.put((message("once"),))

    assert await house.outbox.flush(60)
    assert house.channel.texts == ["once"]
    assert len(house.store.done) == 1


async def test_a_restart_sends_what_was_backing_off_in_order() -> None:
    house = House()
    house.channel.script[CHAT] = [DeliveryError("reset")]
    await house.store.put((message("fired", thread="a"),))
    await house.outbox.flush(0.5)
    await house.store.put((message("resolved", thread="a", severity=Severity.INFO),))
    await house.another().flush(60)

    assert house.channel.texts == ["fired", "resolved"]


async def test_a_chat_of_an_unknown_channel_stops_no_other() -> None:
    house = House()
    await house.store.put((message("lost", chat="pager:7"), message("fine")))
    finished = await house.outbox.flush(30)

    assert not finished
    assert house.channel.texts == ["fine"]
    assert 1 not in house.store.done


async def test_a_channel_with_a_bug_is_a_failure_and_not_the_end() -> None:
    house = House()

    class Broken(ScriptedChannel):
        async def send(self, message: Message, *, reply_to: str = "") -> str | None:
            self.tries.append((self.clock.now, ""))
            if len(self.tries) < 3:
                raise ValueError("a bug")
            return await super().send(message, reply_to=reply_to)

    house.channel = Broken(house.clock)
    house.outbox = house.another()
    await house.store.put((message("late"),))

    assert await house.outbox.flush(60)
    assert house.channel.texts == ["late"]


async def test_the_log_channel_takes_all_severities(caplog: pytest.LogCaptureFixture) -> None:
    house = House()
    await house.store.put(message(f"🔴 {one}", chat="log:", severity=one) for one in Severity)

    assert await house.outbox.flush(5)
    assert len(house.store.done) == 3


async def test_a_thousand_messages_of_one_chat_do_not_delay_another_chats_critical() -> None:
    house = House()
    await house.store.put(message(f"m{at}") for at in range(400))
    await house.store.put((message("critical", chat=OTHER, severity=Severity.CRITICAL),))
    await house.outbox.flush(3)

    assert "critical" in house.channel.texts[:2]
