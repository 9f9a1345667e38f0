"""Rules in words: ``price WETH < 2000/1800``, ``distance main < 10``, ``balance gas < 0.5``.  Pure.

One line is one rule: what is measured, of what, on which side of which bounds; the first bound is a
warning, a second one, further out, is critical.  Every refusal is a `BadRule` whose text is the
reply: it names what is wrong and what to write.
"""

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Final

from keeper.alerts.numbers import plain
from keeper.alerts.speech import Spoken
from keeper.model import Address, Gauge, Rule
from keeper.units import WAD, Wad

OF_ACCOUNTS: Final = frozenset({Gauge.DISTANCE, Gauge.MOVED})
FROM_FACTS: Final = frozenset(
    {
        Gauge.BORROW_RATE,
        Gauge.UTILISATION,
        Gauge.LIQUIDITY,
        Gauge.SUPPLY_ROOM,
        Gauge.BORROW_ROOM,
    }
)
"""Those that need `ReserveFacts`."""
GAS: Final = "gas"
MOST_RULES: Final = 30
"""Of one chat: each is measured on every block."""

EXAMPLE: Final = "price WETH < 2000/1800"
_NUMBER: Final = re.compile(r"[0-9]{1,15}(\.[0-9]{1,18})?", re.ASCII)
_ADDRESS: Final = re.compile(r"0x[0-9a-fA-F]{40}", re.ASCII)
_SYMBOL: Final = re.compile(r"[^\s<>/]{1,32}")
_ONLY: Final = {
    Gauge.DISTANCE: "<",
    Gauge.LIQUIDITY: "<",
    Gauge.SUPPLY_ROOM: "<",
    Gauge.BORROW_ROOM: "<",
    Gauge.BALANCE: "<",
    Gauge.MOVED: ">",
    Gauge.UTILISATION: ">",
}
"""Where only one side is a danger: the other is a slip."""


class BadRule(Spoken):
    """A rule that cannot be taken: the text is the reply."""


class NotWatched(BadRule):
    """A rule about an account that its chat does not watch, by that label or address."""


def parse_rule(text: str, chat: str, account_of: Callable[[str], Address | None]) -> Rule:
    """Return the rule that `text` says, with its accounts' addresses in place of their labels.

    `account_of`: the account of a label or an address that the chat watches; None for others.
    Raises `BadRule`, and of those `NotWatched` where only that account is wrong.
    """
    words = re.sub(r"\s*([<>])\s*", r" \1 ", text[:400]).split()
    if not words:
        raise BadRule(
            "Send a rule such as {example}; first one of {kinds}.",
            example=EXAMPLE,
            kinds=_gauges(),
        )
    gauge = _gauge(words[0])
    if gauge is Gauge.ORACLE and len(words) == 2:
        words += [">", "0"]
    if len(words) < 4 or words[-2] not in ("<", ">"):
        raise BadRule(
            "{said} is not a rule: send what, of what, < or >, and a number, such as {example}.",
            said=plain(text, 60),
            example=EXAMPLE,
        )
    side, bounds = words[-2], words[-1]
    only = _ONLY.get(gauge, side)
    if side != only:
        raise BadRule("{kind} needs {side}: the other side is no danger.", kind=gauge, side=only)
    of = _of(gauge, " ".join(words[1:-2]), account_of)
    warning, critical = _bounds(bounds, above=side == ">")
    said = " ".join(
        (gauge, of) if gauge is Gauge.ORACLE and bounds == "0" else (gauge, of, side, bounds)
    )
    return Rule(
        chat=chat,
        gauge=gauge,
        of=of,
        above=side == ">",
        warning=warning,
        critical=critical,
        text=said,
    )


def _gauge(word: str) -> Gauge:
    try:
        return Gauge(word.lower().replace("-", "_").replace("utilization", "utilisation"))
    except ValueError:
        raise BadRule(
            "{said} is nothing that a rule can measure: there is {kinds}.",
            said=plain(word, 32),
            kinds=_gauges(),
        ) from None


def _gauges() -> str:
    return ", ".join(Gauge)


def _of(gauge: Gauge, word: str, account_of: Callable[[str], Address | None]) -> str:
    if gauge in OF_ACCOUNTS:
        account = account_of(word)
        if account is None:
            raise NotWatched(
                "{said} is not watched for this chat: /watch it first.", said=plain(word, 48)
            )
        return account
    if gauge is Gauge.BALANCE and word.lower() == GAS:
        return GAS
    if _ADDRESS.fullmatch(word):
        return word.lower()
    if _SYMBOL.fullmatch(word) is None or plain(word, 32) != word:
        raise BadRule("{said} is no asset: send its symbol or its address.", said=plain(word, 48))
    return word


def _bounds(word: str, *, above: bool) -> tuple[Wad, Wad | None]:
    parts = word.rstrip("%").split("/")
    if len(parts) > 2 or any(_NUMBER.fullmatch(part) is None for part in parts):
        raise BadRule(
            "{said} is no bound: send one number, or two for warning and critical, "
            "such as 2000/1800.",
            said=plain(word, 32),
        )
    first, *more = (Wad(int(Decimal(part) * WAD)) for part in parts)
    if more and (more[0] <= first if above else more[0] >= first):
        if above:
            raise BadRule(
                "The bounds {said} are out of order: the second, critical one must be greater "
                "than the first.",
                said=plain(word, 32),
            )
        raise BadRule(
            "The bounds {said} are out of order: the second, critical one must be less than the "
            "first.",
            said=plain(word, 32),
        )
    return first, more[0] if more else None
