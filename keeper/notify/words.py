"""What people type, checked: addresses, labels, thresholds, commands.  Pure.

Every refusal is a `BadWord` whose text is the reply: it names what is wrong and what to send.
"""

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from eth_utils.address import is_checksum_address, to_checksum_address

from keeper.alerts.numbers import LABEL_CHARS, plain
from keeper.alerts.speech import Spoken
from keeper.model import Address, Thresholds
from keeper.units import WAD, Wad

LONGEST_TEXT: Final = 512
"""Characters of a command that are looked at."""

_ADDRESS: Final = re.compile(r"0x[0-9a-fA-F]{40}", re.ASCII)
_NUMBER: Final = re.compile(r"[0-9]{1,3}(\.[0-9]{1,18})?", re.ASCII)
_COMMAND: Final = re.compile(r"/([A-Za-z0-9_]{1,32})(?:@([A-Za-z0-9_]{1,64}))?(?:\s+|$)", re.ASCII)


class BadWord(Spoken):
    """Something typed that cannot be taken: the text is the reply."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command as it was typed."""

    name: str
    """Lower case, without the slash."""
    bot: str
    """The bot it is addressed to, or empty."""
    arguments: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchRequest:
    """The arguments of ``/watch``, checked."""

    account: Address | None
    """None where a name was given."""
    label: str
    thresholds: Thresholds | None
    name: str = ""
    """As it was typed, such as ``vitalik.eth``: to be looked up."""


def parse_command(text: str) -> Command | None:
    """Return the command `text` begins with; None if it begins with none."""
    match = _COMMAND.match(text)
    if match is None:
        return None
    return Command(
        name=match[1].lower(), bot=match[2] or "", arguments=tuple(text[match.end() :].split())
    )


def parse_address(word: str) -> Address:
    """Return an address in lower case.

    All-lower and all-upper hex digits are taken as they are; mixed ones must match the EIP-55
    checksum.  Raises `BadWord`.
    """
    shown = plain(word, 48)
    if word.lower().endswith(".eth"):
        raise BadWord("{said} is a name: send the account's 0x address instead.", said=shown)
    if _ADDRESS.fullmatch(word) is None:
        raise BadWord(
            "{said} is not an address: it must be 0x and 40 hexadecimal digits.", said=shown
        )
    digits = word[2:]
    mixed = digits != digits.lower() and digits != digits.upper()
    if mixed and not is_checksum_address(word):
        raise BadWord(
            "The capital letters of {said} do not match its checksum, so a character may be "
            "wrong: copy it again.",
            said=shown,
        )
    if int(digits, 16) == 0:
        raise BadWord("The zero address holds no position: send the account's own address.")
    return Address(word.lower())


def checksummed(address: Address) -> str:
    """Return an address as people compare it."""
    return str(to_checksum_address(address))


def parse_thresholds(word: str) -> Thresholds:
    """Return ``info/warning/critical`` exactly, from ``1.30/1.15/1.05``.  Raises `BadWord`."""
    shown = plain(word, 48)
    parts = word.split("/")
    if len(parts) != 3 or any(_NUMBER.fullmatch(part) is None for part in parts):
        raise BadWord(
            "{said} are not thresholds: send three health factors, such as 1.30/1.15/1.05.",
            said=shown,
        )
    info, warning, critical = (Wad(int(Decimal(part) * WAD)) for part in parts)
    if not info > warning > critical:
        raise BadWord(
            "The thresholds {said} are out of order: they must fall, such as 1.30/1.15/1.05.",
            said=shown,
        )
    if critical <= WAD:
        raise BadWord(
            "The last threshold of {said} must be above 1: at 1 a position can be liquidated.",
            said=shown,
        )
    return Thresholds(info=info, warning=warning, critical=critical)


def parse_label(word: str) -> str:
    """Return a label for one's own use, without what cannot be seen.  Raises `BadWord`."""
    if len(word) > LABEL_CHARS:
        raise BadWord("The label is too long: {n} characters at most.", n=LABEL_CHARS)
    label = plain(word, LABEL_CHARS)
    if not label:
        raise BadWord("The label has nothing in it that can be shown: use letters or digits.")
    if label.lower().startswith("0x"):
        raise BadWord("The label {label} looks like an address: choose a name for it.", label=label)
    return label


def is_name(word: str) -> bool:
    """Whether a word is meant as a name: it has a dot, or it is nothing like an address."""
    return "." in word.strip(".") and not word.lower().startswith("0x")


def parse_watch(arguments: tuple[str, ...]) -> WatchRequest:
    """Return the checked arguments of ``/watch ADDRESS|NAME.eth [label] [1.30/1.15/1.05]``."""
    if not arguments:
        raise BadWord("Send /watch ADDRESS [label] [1.30/1.15/1.05].")
    name = arguments[0] if is_name(arguments[0]) else ""
    account = None if name else parse_address(arguments[0])
    rest = list(arguments[1:])
    thresholds = None
    if rest and re.fullmatch(r"[0-9.,-]*/[0-9./,-]*", rest[-1], re.ASCII):
        thresholds = parse_thresholds(rest.pop())
    label = parse_label(" ".join(rest)) if rest else ""
    return WatchRequest(account=account, label=label, thresholds=thresholds, name=name)


_UNITS: Final = {"m": 60, "min": 60, "h": 3600, "d": 86_400}
_DURATION: Final = re.compile(r"([0-9]{1,4})(m|min|h|d)", re.ASCII)
_PERCENT: Final = re.compile(r"([+-]?)([0-9]{1,3})(?:\.([0-9]))?%?", re.ASCII)
_TIME: Final = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])", re.ASCII)
LONGEST_SNOOZE_S: Final = 7 * 86_400


def parse_duration(word: str, *, most_s: int) -> int:
    """Return seconds from ``30m``, ``1h`` or ``7d``.  Raises `BadWord`."""
    match = _DURATION.fullmatch(word.lower())
    if match is None or not int(match[1]):
        raise BadWord(
            "{said} is not a duration: send one such as 30m, 1h or 7d.", said=plain(word, 20)
        )
    seconds = int(match[1]) * _UNITS[match[2]]
    if seconds > most_s:
        raise BadWord(
            "{said} is too long: {n}d at the most.", said=plain(word, 20), n=most_s // 86_400
        )
    return seconds


def looks_like_duration(word: str) -> bool:
    """Whether a last word is meant as a duration."""
    return _DURATION.fullmatch(word.lower()) is not None


def parse_shock(word: str) -> int:
    """Return tenths of a percent from ``-20`` or ``+7.5%``.  Raises `BadWord`."""
    match = _PERCENT.fullmatch(word)
    if match is None:
        raise BadWord("{said} is not a change: send per cent, such as -20.", said=plain(word, 20))
    permille = int(match[2]) * 10 + int(match[3] or 0)
    permille = -permille if match[1] == "-" else permille
    if permille <= -1000:
        raise BadWord("A price cannot fall by 100 % or more: send a smaller change, such as -20.")
    return permille


def parse_minute(word: str) -> int:
    """Return the minute of the day from ``23:05``.  Raises `BadWord`."""
    match = _TIME.fullmatch(word)
    if match is None:
        raise BadWord("{said} is not a time of day: send one such as 08:00.", said=plain(word, 20))
    return int(match[1]) * 60 + int(match[2])


def parse_night(word: str) -> tuple[int, int]:
    """Return both minutes of ``23:00-07:00``.  Raises `BadWord`."""
    begin, dash, end = word.partition("-")
    if not dash:
        raise BadWord(
            "{said} are not hours: send both ends, such as 23:00-07:00.", said=plain(word, 20)
        )
    night = parse_minute(begin), parse_minute(end)
    if night[0] == night[1]:
        raise BadWord("Quiet hours must end at another time than they begin: such as 23:00-07:00.")
    return night
