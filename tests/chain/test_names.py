"""ENS names against ENS's own contracts: resolved, claimed, moved, expired, and no names at all."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from ens.utils import raw_name_to_hash

from keeper.alerts.speech import reply_of
from keeper.app.chain import open_chain
from keeper.app.names import CHECK_S, NameBook
from keeper.chain.names import Names, NoAddress, namehash, normalised
from keeper.chain.reader import LensReader
from keeper.chain.rpc import Rpc
from keeper.devnet.network import Devnet
from keeper.model import Address, Watch
from keeper.notify.languages import Voices, speech_of
from keeper.notify.words import checksummed
from keeper.store.database import Database
from keeper.store.names import SqlNames
from keeper.store.outbox import SqlOutbox
from keeper.store.watches import SqlWatches
from tests.chain.ens import Ens, deployed
from tests.chain.watching import settings_of
from tests.cli.calling import Keeper, log_put_back

pytestmark = pytest.mark.chain


@pytest.fixture
async def ens(devnet: Devnet) -> Ens:
    return await deployed(devnet)


@pytest.fixture
async def names(devnet: Devnet, ens: Ens) -> AsyncIterator[Names]:
    there = devnet.deployment
    async with await Rpc.open((there.rpc_url,), there.chain_id) as rpc:
        yield Names(rpc, LensReader(rpc), ens.registry)


async def refused(names: Names, word: str) -> str:
    with pytest.raises(NoAddress) as caught:
        await names.resolve(word)
    assert reply_of(caught.value, speech_of("de")) != str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", ["eth", "vitalik.eth", "sub.vitalik.eth", "faß.eth", "♡.eth"])
async def test_the_hash_of_a_name_is_the_one_of_the_library(name: str) -> None:
    assert namehash(await normalised(name)) == bytes(raw_name_to_hash(name))


async def test_a_name_is_what_the_registry_s_resolver_says(
    names: Names, ens: Ens, devnet: Devnet
) -> None:
    alice = devnet.deployment.account("alice").address
    await ens.point("vitalik.eth", alice)

    found = await names.resolve("ViTaLiK.eth")

    assert (found.name, found.account) == ("vitalik.eth", alice.lower())


async def test_what_points_nowhere_is_one_plain_sentence(names: Names, ens: Ens) -> None:
    await ens.own("bare.eth", ens.owner)  # without a resolver
    await ens.point("zero.eth", Address("0x" + "00" * 20))
    for word in ("nobody.eth", "bare.eth", "zero.eth"):
        assert await refused(names, word) == (
            f"{word} points to no account: correct it, or send the 0x address."
        )


@pytest.mark.parametrize(
    "word",
    [
        "vit\u0430lik.eth",  # a Cyrillic a
        "vita\u0300\u0301\u0302\u0303\u0304lik.eth",
        "vitalik\u202e.eth",
        "vita_lik.eth",
        "<b>.eth",
        "a b.eth",
    ],
)
async def test_what_looks_like_another_name_is_none(names: Names, word: str) -> None:
    assert (await refused(names, word)).endswith(
        "is no name: characters in it look like others or may not stand there. Send the 0x address."
    )


async def test_names_without_end_and_without_parts_are_none(names: Names) -> None:
    assert "too long" in await refused(names, "a" * 10_000 + ".eth")
    assert "empty part" in await refused(names, "a..eth")


async def test_a_registration_that_ran_out_is_not_followed(
    names: Names, ens: Ens, devnet: Devnet
) -> None:
    alice = devnet.deployment.account("alice").address
    await ens.point("vitalik.eth", alice)
    now = await devnet.anvil.timestamp()
    await ens.expire(now + 1_000_000)
    assert (await names.resolve("vitalik.eth")).account == alice.lower()

    await ens.expire(now - 1)

    assert await refused(names, "vitalik.eth") == (
        "vitalik.eth has expired, and anybody may register it anew: send the account's 0x address."
    )


async def test_an_account_is_called_what_it_claims_only_where_that_points_back(
    names: Names, ens: Ens, devnet: Devnet
) -> None:
    alice, bob = (devnet.deployment.account(name).address for name in ("alice", "bob"))
    await devnet.anvil.set_auto_impersonate(on=True)
    for account in (alice, bob):
        await devnet.anvil.set_balance(account, 10**18)
    await ens.point("alice.eth", alice)
    assert await names.name_of(Address(alice.lower())) == ""
    await ens.claim(alice, "alice.eth")
    await ens.claim(bob, "alice.eth")  # a lie

    assert await names.name_of(Address(alice.lower())) == "alice.eth"
    assert await names.name_of(Address(bob.lower())) == ""

    await ens.claim(alice, "Alice.eth")  # not as ENS writes it: it could be anything
    assert await names.name_of(Address(alice.lower())) == ""


class _Watched:
    """What a name book asks of a watcher."""

    def __init__(self, chain: Any, registry: Address | None) -> None:
        self.chain = chain
        self.config = self
        self.names_registry = registry


async def test_a_name_that_points_elsewhere_is_told_once_and_not_followed(
    ens: Ens, devnet: Devnet, tmp_path: Path
) -> None:
    alice, bob = (devnet.deployment.account(name).address for name in ("alice", "bob"))
    await ens.point("vitalik.eth", alice)
    settings = settings_of(devnet, tmp_path)
    async with (
        await Database.open(settings.database.url) as database,
        open_chain(settings, settings.select()[0]) as opened,
    ):
        outbox, watches = SqlOutbox(database), SqlWatches(database)
        watcher: Any = _Watched(opened, ens.registry)
        book = NameBook(lambda: (watcher,), SqlNames(database), outbox, speech=Voices("de"))
        found = await book.resolve("vitalik.eth")
        await watches.add(Watch(chat="telegram:7", account=found.account, label="vitalik.eth"))
        await book.keep("telegram:7", found.name, found.account)

        await book.check()
        quiet = (await outbox.counts()).pending
        await ens.point("vitalik.eth", bob)
        await book.check()
        await book.check()
        rows = await outbox.due(2e9, 10)
        await ens.point("vitalik.eth", alice)  # back again: nothing is said, and told anew later
        await book.check()
        after = (await outbox.counts()).pending

    assert quiet == 0
    now, was = (checksummed(Address(one.lower())) for one in (bob, alice))
    assert [row.message.text for row in rows] == [
        (
            f"⚠️ vitalik.eth zeigt jetzt auf {now}. Ich beobachte weiterhin {was}: /watch "
            "vitalik.eth beobachtet auch das neue Konto."
        )
    ]
    assert after == 1


async def test_a_lookup_delays_nothing_and_is_forgotten_after_its_time(
    ens: Ens, devnet: Devnet, tmp_path: Path
) -> None:
    alice = Address(devnet.deployment.account("alice").address.lower())
    await devnet.anvil.set_auto_impersonate(on=True)
    await ens.point("alice.eth", alice)
    await ens.claim(alice, "alice.eth")
    settings = settings_of(devnet, tmp_path)
    now = [1000.0]
    async with (
        await Database.open(settings.database.url) as database,
        open_chain(settings, settings.select()[0]) as opened,
    ):
        watcher: Any = _Watched(opened, ens.registry)
        book = NameBook(
            lambda: (watcher,), SqlNames(database), SqlOutbox(database), clock=lambda: now[0]
        )
        first = book.known(alice)  # from memory, without a word to the chain
        await book._look_up()
        second = book.known(alice)
        [shown] = book.shown((Watch(chat="log:", account=alice, label=""),))
        now[0] += 3 * CHECK_S * 4
        stale = book.known(alice)

    assert (first, second) == ("", "alice.eth")
    assert shown.label == f"alice.eth {alice[:6]}..{alice[-4:]}"
    assert stale == ""


async def test_the_command_line_watches_a_name_too(
    ens: Ens, devnet: Devnet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alice = devnet.deployment.account("alice").address
    await ens.point("vitalik.eth", alice)
    settings_of(devnet, tmp_path)
    config = tmp_path / "keeper.toml"
    with log_put_back():
        keeper = Keeper(config=config, capture=capsys)
        without = await asyncio.to_thread(keeper, "watch", "vitalik.eth")
        config.write_text(
            config.read_text(encoding="utf-8").replace(
                "[chains.devnet]\n", f'[chains.devnet]\nens_registry = "{ens.registry}"\n'
            ),
            encoding="utf-8",
        )
        watched = await asyncio.to_thread(keeper, "watch", "vitalik.eth")
        unknown = await asyncio.to_thread(keeper, "watch", "nobody.eth")

    assert without.sentence.startswith("vitalik.eth is a name, and no chain here has names")
    assert f"Watching {checksummed(Address(alice.lower()))} (vitalik.eth) for log:" in watched.out
    assert unknown.sentence.startswith("nobody.eth points to no account")


async def test_without_a_registry_a_name_is_refused_with_the_remedy() -> None:
    nobody: Any = None
    book = NameBook(lambda: (), nobody, nobody)

    with pytest.raises(NoAddress, match="send the account's 0x address"):
        await book.resolve("vitalik.eth")
