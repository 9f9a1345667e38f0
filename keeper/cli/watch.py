"""``keeper watch``, ``unwatch`` and ``watches``: who wants to hear about which account."""

import re
from typing import TYPE_CHECKING, Annotated, Any

import typer

from keeper.cli.asking import AddressArgument, account, asking, thresholds, until_done
from keeper.cli.output import checksummed, emit, escape, table
from keeper.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console

    from keeper.model import Address, Thresholds, Watch
    from keeper.settings import Settings

ChatOption = Annotated[
    str | None,
    typer.Option(help='"telegram:12345" or "log:"; the operators\' when left out.', metavar="CHAT"),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("watch")(watch)
    app.command("unwatch")(unwatch)
    app.command("watches")(watches)


def watch(
    context: typer.Context,
    address: AddressArgument,
    label: Annotated[str | None, typer.Option(help="What to call it.")] = None,
    levels: Annotated[
        str | None,
        typer.Option(
            "--thresholds", help="Its own, falling; the global ones when left out.",
            metavar="1.30/1.15/1.05",
        ),
    ] = None,
    chat: ChatOption = None,
) -> None:  # fmt: skip
    """Watch an account, from the next block on."""
    from keeper.model import Watch
    from keeper.store.database import Database
    from keeper.store.names import NamedWatch, SqlNames
    from keeper.store.watches import Kept, LabelTaken, SqlWatches

    invocation, settings = asking(context)
    who, called = _account(settings, address)
    own = thresholds(levels)
    name = _label(label) if label is not None else called or f"{who[:6]}..{who[-4:]}"
    chats = _chats(settings, chat)

    async def add() -> list[Kept]:
        kept: list[Kept] = []
        async with await Database.open(settings.database.url) as database:
            store = SqlWatches(database)
            for each in chats:
                answer = await store.add(Watch(chat=each, account=who, label=name, thresholds=own))
                if isinstance(answer, LabelTaken):
                    raise ConfigError(
                        f"{each} calls {checksummed(answer.account)} {answer.label!r} already: "
                        "choose another --label, or `keeper unwatch` that one first"
                    )
                if called:
                    await SqlNames(database).keep(NamedWatch(chat=each, account=who, name=called))
                kept.append(answer)
        return kept

    kept = until_done(add())

    def render(out: "Console") -> None:
        for each in kept:
            verb = "Watching" if each.replaced is None else "Still watching, as told now:"
            told = _levels(each.watch.thresholds or settings.thresholds.as_model())
            out.print(
                escape(
                    f"{verb} {checksummed(who)} ({each.watch.label}) for {each.watch.chat}, "
                    f"at {told}"
                )
            )

    emit({"watches": [_entry(k.watch) for k in kept]}, as_json=invocation.as_json, render=render)


def unwatch(
    context: typer.Context,
    which: Annotated[
        str, typer.Argument(help="The account's address, or its label.", metavar="ADDRESS|LABEL")
    ],
    chat: ChatOption = None,
) -> None:
    """End a watch."""
    from keeper.store.database import Database
    from keeper.store.watches import Removed, SqlWatches

    invocation, settings = asking(context)
    named = account(which) if which.lower().startswith("0x") else which
    chats = _chats(settings, chat)

    async def remove() -> "list[Watch]":
        async with await Database.open(settings.database.url) as database:
            answers = [await SqlWatches(database).remove(each, named) for each in chats]
        return [answer.watch for answer in answers if isinstance(answer, Removed)]

    gone = until_done(remove())
    if not gone:
        raise ConfigError(
            f"{', '.join(chats)} watches nothing called {which}: `keeper watches` lists them all"
        )
    configured = {entry.address for entry in settings.watch}

    def render(out: "Console") -> None:
        for each in gone:
            out.print(
                escape(f"No longer watching {checksummed(each.account)} ({each.label}) for "
                       f"{each.chat}")
            )  # fmt: skip
            if each.account in configured:
                out.print(
                    "It is in keeper.toml as well: `keeper run` watches it again when it starts."
                )

    emit({"removed": [_entry(each) for each in gone]}, as_json=invocation.as_json, render=render)


def watches(context: typer.Context) -> None:
    """Who watches what."""
    from keeper.store.database import Database
    from keeper.store.watches import SqlWatches

    invocation, settings = asking(context)

    async def look() -> "list[tuple[Watch, str]]":
        found = []
        async with await Database.open(settings.database.url) as database:
            store = SqlWatches(database)
            for chat in await store.chats():
                off = "" if chat.enabled else f"chat is off: {chat.reason}"
                found += [(each, off) for each in await store.of(chat.chat)]
        return found

    stored = until_done(look())
    there = {(each.chat, each.account) for each, _ in stored}
    configured = [each for each in settings.watches() if (each.chat, each.account) not in there]
    found = [*stored, *((each, "from the configuration") for each in configured)]

    def render(out: "Console") -> None:
        if not found:
            out.print("Nobody watches anything yet: keeper watch ADDRESS", markup=False)
            return
        made = table("account", "label", "chat", "thresholds", "")
        for each, note in found:
            made.add_row(
                checksummed(each.account),
                escape(each.label),
                escape(each.chat),
                _levels(each.thresholds) if each.thresholds else "global",
                escape(note),
            )
        out.print(made)

    document = {"watches": [{**_entry(each), "note": note} for each, note in found]}
    emit(document, as_json=invocation.as_json, render=render)


def labelled(settings: "Settings", label: str) -> "Address | None":
    """Return the account that is watched by a label, in any chat; None where there is none.

    Raises ConfigError where there are several.
    """
    from keeper.store.database import Database
    from keeper.store.people_rows import label_key
    from keeper.store.records import SqlRecords

    async def look() -> "tuple[Watch, ...]":
        async with await Database.open(settings.database.url) as database:
            return (*settings.watches(), *await SqlRecords(database).watches())

    key = label_key(label)
    found = {each.account for each in until_done(look()) if key and label_key(each.label) == key}
    if len(found) > 1:
        which = " and ".join(map(checksummed, sorted(found)))
        raise ConfigError(f"{label} is the label of {which}: say which by its address")
    return next(iter(found), None)


def _account(settings: "Settings", text: str) -> "tuple[Address, str]":
    """Return the account that an address or a name says, and that name or nothing."""
    from keeper.notify.words import is_name

    if not is_name(text):
        return account(text), ""
    from keeper.app.names import resolved
    from keeper.chain.names import NoAddress

    try:
        found = until_done(resolved(settings, text))
    except NoAddress as error:
        raise ConfigError(str(error)) from None
    return found.account, found.name


def _label(text: str) -> str:
    from keeper.notify.words import BadWord, parse_label

    try:
        return parse_label(text)
    except BadWord as error:
        raise ConfigError(str(error)) from None


def _chats(settings: "Settings", chat: str | None) -> tuple[str, ...]:
    if chat is None:
        return settings.operator_chats()
    if re.fullmatch(r"log:|telegram:-?[0-9]{1,18}", chat, re.ASCII) is None:
        raise ConfigError(f'--chat must be "telegram:" and a chat id, or "log:", not {chat!r}')
    if chat.startswith("telegram:") and settings.telegram.token is None:
        raise ConfigError(f"{chat} cannot hear anything: telegram.token is not set")
    return (chat,)


def _levels(of: "Thresholds") -> str:
    from keeper.settings.values import decimal_text

    return " / ".join(decimal_text(x, 18) for x in (of.info, of.warning, of.critical))


def _entry(of: "Watch") -> dict[str, Any]:
    own = of.thresholds
    return {
        "chat": of.chat,
        "address": of.account,
        "label": of.label,
        "thresholds_wad": (
            None if own is None else [str(own.info), str(own.warning), str(own.critical)]
        ),
    }
