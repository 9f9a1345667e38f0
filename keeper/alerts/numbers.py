"""How numbers, instants and foreign words look in a message.  Pure, exact, no floats.

Every message is plain text (no parse mode), so nothing in it can be markup; what remains is what
a client makes of plain text by itself: direction overrides, links, mentions and commands.
"""

import unicodedata
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from typing import Final

from keeper.alerts.speech import ENGLISH, Speech
from keeper.units import UINT256_MAX, WAD, Base, Raw, Wad, Wei

THIN: Final = "\u202f"
"""Narrow no-break space between groups of three digits: a number never breaks over two lines."""

LABEL_CHARS: Final = 32
SYMBOL_CHARS: Final = 16
REASON_CHARS: Final = 300

BASE_DECIMALS: Final = 8
_WIDE: Final = Context(prec=400)


def grouped(digits: str) -> str:
    """Return an unsigned decimal numeral with its integer part in groups of three."""
    whole, dot, fraction = digits.partition(".")
    head = len(whole) % 3
    groups = ([whole[:head]] if head else []) + [
        whole[at : at + 3] for at in range(head, len(whole), 3)
    ]
    return THIN.join(groups) + dot + fraction


def _fixed(value: int, decimals: int, places: int, rounding: str) -> str:
    """Return ``value / 10**decimals`` with exactly `places` places, ungrouped."""
    exact = Decimal(value).scaleb(-decimals, _WIDE)
    return f"{exact.quantize(Decimal(1).scaleb(-places), rounding, _WIDE):f}"


def _trimmed(digits: str) -> str:
    return digits.rstrip("0").rstrip(".") if "." in digits else digits


def health_text(health: Wad, say: Speech = ENGLISH) -> str:
    """Return a health factor, floored: three decimals below 10, one below 1000.

    Never rounded up across a threshold.  ``UINT256_MAX`` is what an account without debt has.
    """
    if health == UINT256_MAX:
        return say("no debt")
    if health >= 1000 * WAD:
        return say("over {number}", number=f"1{THIN}000")
    return grouped(_fixed(health, 18, 3 if health < 10 * WAD else 1, ROUND_FLOOR))


def threshold_text(threshold: Wad) -> str:
    """Return a threshold exactly, with two decimals at the least: ``1.05``, ``1.125``."""
    whole, _, fraction = _fixed(threshold, 18, 18, ROUND_FLOOR).partition(".")
    return f"{whole}.{fraction.rstrip('0').ljust(2, '0')}"


def amount_text(amount: Raw, decimals: int, *, rounding: str = ROUND_FLOOR) -> str:
    """Return a token amount: whole from 1000 up, two decimals from 1, else two digits.

    Rounded down, or up with ``ROUND_CEILING`` where a person is told to pay at least so much.
    """
    if amount == 0:
        return "0"
    exact = Decimal(amount).scaleb(-decimals, _WIDE)
    if exact >= 1000:
        places = 0
    elif exact >= 1:
        places = 2
    else:
        places = 1 - exact.adjusted()
    if places > 8:
        return "0.00000001" if rounding == ROUND_CEILING else "less than 0.00000001"
    return grouped(_trimmed(_fixed(amount, decimals, places, rounding)))


def dollars_places(value: Base) -> int:
    """Return how many places a price or value has: none from 1000 up, 2 from 1, else 4 digits."""
    exact = Decimal(value).scaleb(-BASE_DECIMALS, _WIDE)
    if exact >= 1000:
        return 0
    return 2 if exact >= 1 or value == 0 else min(3 - exact.adjusted(), BASE_DECIMALS)


def dollars_text(value: Base, *, rounding: str = ROUND_FLOOR, places: int | None = None) -> str:
    """Return a price or value, with as many places as `dollars_places` says unless told."""
    places = dollars_places(value) if places is None else places
    return f"${grouped(_fixed(value, BASE_DECIMALS, places, rounding))}"


def point_texts(price: Base, now: Base, *, rises: bool) -> tuple[str, str]:
    """Return a price to rise to, rounded down, or to fall to, rounded up, and the price now.

    A price to fall to has as many more places as it takes that it does not read as high as the
    price now, unless it is: a dollar's rounding would say of what is near that it has happened.
    """
    if rises:
        return dollars_text(price), dollars_text(now)
    for more in range(BASE_DECIMALS + 1):
        places, places_now = (min(dollars_places(v) + more, BASE_DECIMALS) for v in (price, now))
        step, step_now = 10 ** (BASE_DECIMALS - places), 10 ** (BASE_DECIMALS - places_now)
        above, below = -(-price // step) * step, now // step_now * step_now
        if above < below or above == below == price:
            break
    return (
        dollars_text(price, rounding=ROUND_CEILING, places=places),
        dollars_text(now, places=places_now),
    )


def gas_text(cost_wei: Wei) -> str:
    """Return what gas cost in the native token, two significant digits, rounded up."""
    return amount_text(Raw(cost_wei), 18, rounding=ROUND_CEILING)


def permille_text(permille: int, *, falls: bool = False) -> str:
    """Return a signed change in tenths of a percent: ``-8.4 %``; `falls`: nothing is ``-0.0 %``."""
    sign = "-" if permille < 0 or (falls and permille == 0) else "+"
    return f"{sign}{abs(permille) // 10}.{abs(permille) % 10} %"


def duration_text(seconds: int) -> str:
    """Return a duration in the unit a person would use, floored: ``90 s``, ``71 min``, ``25 h``."""
    if seconds < 120:
        return f"{max(seconds, 0)} s"
    if seconds < 7200:
        return f"{seconds // 60} min"
    if seconds < 48 * 3600:
        return f"{seconds // 3600} h"
    return f"{seconds // 86_400} d"


def count_text(number: int) -> str:
    """Return a non-negative integer in groups of three: ``21 034 511``."""
    return grouped(str(number))


def short(hexadecimal: str) -> str:
    """Return an address or hash as its ends: ``0x52ab..9f01``."""
    return f"{hexadecimal[:6]}..{hexadecimal[-4:]}" if len(hexadecimal) > 12 else hexadecimal


def plain(text: str, limit: int) -> str:
    """Return foreign text on one line, at most `limit` characters, with nothing invisible in it.

    Dropped: control and format characters (direction overrides and isolates, zero-width ones),
    surrogates, private use, unassigned, line and paragraph separators, and more than two combining
    marks in a row.  Cut text ends in an ellipsis.
    """
    kept: list[str] = []
    marks = 0
    for char in unicodedata.normalize("NFC", text[: limit * 8]):
        category = unicodedata.category(char)
        if category.startswith("Z") or char in "\t\n\r\v\f":
            kept.append(" ")
            marks = 0
        elif category.startswith("C"):
            continue
        elif category.startswith("M"):
            marks += 1
            if marks <= 2:
                kept.append(char)
        else:
            marks = 0
            kept.append(char)
    line = " ".join("".join(kept).split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def symbol_text(symbol: str) -> str:
    """Return a token symbol or feed name as the chain says it, made harmless.

    Letters, digits and ``. - + _ $ /`` stay, anything else becomes ``?``.  A dot before two
    letters becomes a middle dot and a leading slash goes, so that a client sees neither a link nor
    a command; ``USDC.e`` and ``ETH/USD`` stay what they are.
    """
    line = plain(symbol, SYMBOL_CHARS * 2).replace(" / ", "/")
    kept = "".join(
        char if unicodedata.category(char)[0] in "LNM" or char in ".-+_$/… " else "?"
        for char in line
    )
    kept = kept.replace(" /", " ").lstrip("/ ")
    dotted = "".join(
        "·" if char == "." and kept[at + 1 : at + 3].isalpha() and len(kept) > at + 2 else char
        for at, char in enumerate(kept)
    )
    shown = plain(dotted, SYMBOL_CHARS)
    return shown or "?"


def reason_text(reason: str, say: Speech = ENGLISH) -> str:
    """Return a reason as the end of a sentence: one line, capped, without its full stop."""
    return plain(reason, REASON_CHARS).rstrip(".") or say("no reason given")
