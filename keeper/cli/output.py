"""How commands print: one JSON document, or a table a person reads.  Logs never come here.

Numbers are exact text made of integers: amounts in groups of three, cut and not rounded, health
factors floored so that nothing is shown on the better side of 1 than it is on.
"""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from keeper.units import UINT256_MAX, WAD, Base, Raw, Wad

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

UNKNOWN = "unknown"
PIPE_WIDTH = 400


def emit(document: Any, *, as_json: bool, render: Callable[["Console"], None]) -> None:
    """Print `document` as JSON, or let `render` print it for a person.

    Integers beyond 2**53 must be decimal strings in `document` already: JSON readers lose digits.
    Only ASCII is written: a token's symbol may hold what steers a terminal, or cannot be encoded.
    """
    if as_json:
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
        return
    render(console())


def console() -> "Console":
    """Standard output for people: no wrapping of numbers, no guessed highlights.

    A file or a pipe is as wide as its longest line: nothing is cut there.
    """
    from rich.console import Console

    width = None if sys.stdout.isatty() else PIPE_WIDTH
    return Console(highlight=False, soft_wrap=True, width=width)


def table(*columns: str, right: Sequence[str] = ()) -> "Table":
    """Return an empty table without a frame; columns named in `right` are numbers."""
    from rich import box
    from rich.table import Table

    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for column in columns:
        made.add_column(
            column, justify="right" if column in right else "left", no_wrap=column in right
        )
    return made


LEAST_LAST = 16
"""Columns that the last column of a table takes at the least where it has more to say."""


def print_rows(
    out: "Console",
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    right: Sequence[str] = (),
    narrow: Sequence[Sequence[str]],
) -> None:
    """Print foreign text as a table, or where it does not fit each row's `narrow` parts as lines.

    Only the last column wraps: no number, account or name is ever cut.
    """
    from rich.cells import cell_len

    widths = [max(map(cell_len, column)) for column in zip(columns, *rows, strict=True)]
    needed = sum(width + 3 for width in widths[:-1]) + min(widths[-1], LEAST_LAST)
    if needed > out.width:
        for parts in narrow:
            for line in _packed(parts, out.width):
                out.print(escape(line))
        return
    made = table(*columns, right=right)
    for column in made.columns[:-1]:
        column.no_wrap = True
    for row in rows:
        made.add_row(*map(escape, row))
    out.print(made)


def _packed(parts: Sequence[str], width: int) -> list[str]:
    """Return `parts` on as few lines as hold them, those after the first set in."""
    from rich.cells import cell_len

    lines = [""]
    for part in filter(None, parts):
        joined = f"{lines[-1]}  {part}" if lines[-1].strip() else f"{lines[-1]}{part}"
        if cell_len(joined) <= width or not lines[-1].strip():
            lines[-1] = joined
        else:
            lines.append(f"    {part}")
    return lines


def escape(text: str) -> str:
    """Return foreign text without control characters and without meaning to rich's markup."""
    from rich.markup import escape as quoted

    return quoted("".join(char if char.isprintable() else "?" for char in text))


def amount(value: int, decimals: int, places: int = 2) -> str:
    """Return ``25,000.00``: `value` in units of ``10**-decimals``, cut to `places`."""
    sign = "-" if value < 0 else ""
    places = min(places, decimals)
    whole, part = divmod(abs(value) // 10 ** (decimals - places), 10**places)
    return f"{sign}{whole:,}.{part:0{places}d}" if places else f"{sign}{whole:,}"


def token(value: Raw, decimals: int, symbol: str) -> str:
    """Return ``2,938.10 USDC``, with more places where there is little of it."""
    places = 2 if value >= 10**decimals else 6
    return f"{amount(value, decimals, places)} {escape(symbol)}"


def coin(wei: int, chain_id: int) -> str:
    """Return ``0.003100 ETH``: what is paid for gas, in the chain's own coin."""
    from keeper.alerts.render import native_symbol

    return f"{amount(wei, 18, 6)} {native_symbol(chain_id)}"


def usd(value: Base | None) -> str:
    """Return base units of 8 decimals as dollars and cents, cut; a dash when unknown."""
    return "-" if value is None else amount(value, 8)


def health(value: Wad | None) -> str:
    """Return a health factor, floored to three places; aloud when unknown."""
    if value is None:
        return UNKNOWN
    if value == UINT256_MAX:
        return "no debt"
    return amount(value, 18, 3) if value < 1000 * WAD else "> 1,000"


def age(seconds: int | None) -> str:
    """Return ``41 s``, ``12 min``, ``25 h``, ``3 d``, floored; a dash when unknown."""
    if seconds is None:
        return "-"
    for unit, length in (("d", 172_800), ("h", 7_200), ("min", 120)):
        if seconds >= length:
            return f"{seconds // {'d': 86_400, 'h': 3_600, 'min': 60}[unit]} {unit}"
    return f"{seconds} s"


def short(hexadecimal: str) -> str:
    """Return ``0x52908..69ee7``: an address or hash by its ends."""
    return hexadecimal if len(hexadecimal) <= 14 else f"{hexadecimal[:7]}..{hexadecimal[-5:]}"


def checksummed(address: str) -> str:
    """Return an address as people compare it, with its EIP-55 checksum."""
    from eth_utils.address import to_checksum_address

    return str(to_checksum_address(address))


def block_line(chain: str, number: int, age_s: int) -> str:
    """Return ``Ethereum, block 21,400,117, 12 s ago``: the head of every answer about a block."""
    return f"{chain[:1].upper()}{chain[1:]}, block {number:,}, {age(age_s)} ago"


def json_ready(value: Any) -> Any:
    """Return `value` with integers beyond 2**53 as decimal strings, for `emit`."""
    match value:
        case bool():
            return value
        case int() if abs(value) > 2**53:
            return str(value)
        case Mapping():
            return {str(key): json_ready(item) for key, item in value.items()}
        case list() | tuple():
            return [json_ready(item) for item in value]
        case _:
            return value
