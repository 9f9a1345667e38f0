"""Watches: the last edit wins, nothing is lost, labels are unique in a chat."""

import asyncio
from dataclasses import replace

import pytest

from keeper.model import Address, Thresholds
from keeper.store.audit import trail
from keeper.store.database import Database
from keeper.store.types import Unfit
from keeper.store.watches import Chat, Kept, LabelTaken, NotWatched, Removed, SqlWatches
from keeper.units import Wad
from tests.store.builders import address, watch


@pytest.fixture
def watches(database: Database) -> SqlWatches:
    return SqlWatches(database)


def levels(info: int, warning: int, critical: int) -> Thresholds:
    return Thresholds(info=Wad(info), warning=Wad(warning), critical=Wad(critical))


async def test_a_watch_is_added_listed_found_and_removed(watches: SqlWatches) -> None:
    main, second = watch(thresholds=levels(3, 2, 1)), watch(0xB0B, "Second")
    assert await watches.add(main) == Kept(watch=main, replaced=None)
    await watches.add(second)

    assert await watches.of("telegram:12345") == (main, second)
    assert await watches.of("telegram:1") == ()
    assert await watches.find("telegram:12345", " sECOND ") == second
    upper = "0x" + str(main.account)[2:].upper()
    assert await watches.find("telegram:12345", upper) == main
    assert await watches.remove("telegram:12345", "MAIN") == Removed(watch=main)
    assert await watches.remove("telegram:12345", "main") == NotWatched(which="main")
    assert await watches.of("telegram:12345") == (second,)
    assert await watches.chats() == (Chat(chat="telegram:12345", enabled=True, reason=""),)


async def test_a_label_is_unique_in_its_chat_whatever_its_case(watches: SqlWatches) -> None:
    await watches.add(watch(0xA, "Straße"))
    taken = await watches.add(watch(0xB, " STRASSE"))
    elsewhere = await watches.add(watch(0xB, "strasse", chat="telegram:2"))

    assert taken == LabelTaken(label="Straße", account=address(0xA))
    assert isinstance(elsewhere, Kept)
    assert len(await watches.of("telegram:12345")) == 1


async def test_watches_without_a_label_do_not_clash(watches: SqlWatches) -> None:
    for number in (1, 2):
        await watches.add(watch(number, ""))

    assert await watches.of("telegram:12345") == (watch(1, ""), watch(2, ""))


async def test_of_two_edits_the_last_wins_and_the_first_is_in_the_trail(
    watches: SqlWatches, database: Database
) -> None:
    await watches.add(watch(label="first", thresholds=levels(30, 20, 10)))
    kept = await watches.add(watch(label="second"))

    assert kept == Kept(
        watch=watch(label="second"), replaced=watch(label="first", thresholds=levels(30, 20, 10))
    )
    assert await watches.of("telegram:12345") == (watch(label="second"),)
    last = (await trail(database, 1))[0].event
    assert last.event == "watch.set"
    assert (last.fields["was_label"], last.fields["was_warning_wad"]) == ("first", 20)


async def test_people_who_edit_at_once_leave_one_watch_each_whole(url: str) -> None:
    async with await Database.open(url) as one, await Database.open(url) as other:
        both = [SqlWatches(one), SqlWatches(other)]
        edits = [watch(n % 3, f"label {n % 3}", thresholds=levels(n + 3, 2, 1)) for n in range(12)]
        kept = await asyncio.gather(*(both[n % 2].add(edit) for n, edit in enumerate(edits)))
        found = await both[0].of("telegram:12345")

    assert all(isinstance(item, Kept) for item in kept)
    assert len(found) == 3
    assert all(item in edits for item in found)


async def test_thresholds_that_do_not_fall_are_refused(watches: SqlWatches) -> None:
    for bad in (levels(1, 2, 3), levels(3, 3, 1), levels(3, 2, 0)):
        with pytest.raises(Unfit, match="do not fall from info to warning to critical"):
            await watches.add(watch(thresholds=bad))

    assert await watches.chats() == ()


async def test_a_malformed_address_is_refused(watches: SqlWatches) -> None:
    with pytest.raises(Unfit, match=r"watches\.account: '0xABC'"):
        await watches.add(replace(watch(), account=Address("0xABC")))


async def test_a_bot_never_goes_back(watches: SqlWatches) -> None:
    assert await watches.last_update("keeper_bot") is None
    for number in (7, 9, 8):
        await watches.save_update("keeper_bot", number)

    assert await watches.last_update("keeper_bot") == 9
    assert await watches.last_update("other_bot") is None
