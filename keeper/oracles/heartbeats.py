"""How long each feed may be silent: published figures, and what the operator says instead.

A heartbeat is a property of one feed on one chain: ETH/USD has 3,600 s on Ethereum and 1,200 s on
Base.  ``heartbeats.toml`` holds the published ones, each row with its source.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Final

from keeper.model import Address

DEFAULT_HEARTBEAT_S: Final = 86_400
"""For feeds nobody published a figure of; verdicts say that it is assumed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """One published figure."""

    description: str
    heartbeat_s: int
    deviation_percent: float
    """The move that makes the feed answer earlier; 0 where the source has none."""
    source: str
    """A key of ``[sources]`` in the data file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeats:
    """Published figures by proxy address, and by description where the address is unknown."""

    by_address: Mapping[tuple[int, Address], Heartbeat]
    by_description: Mapping[tuple[int, str], Heartbeat]

    def of(self, chain_id: int, address: Address, description: str) -> Heartbeat | None:
        """Return the feed's figure, or None.

        A feed under a new address is taken to beat like the known ones of its description; where
        those differ, like the fastest: a false alarm is better than a stale price.
        """
        known = self.by_address.get((chain_id, address))
        return known or self.by_description.get((chain_id, _key(description)))


@cache
def published() -> Heartbeats:
    """Return the figures of ``heartbeats.toml``, read once."""
    text = resources.files("keeper.oracles").joinpath("heartbeats.toml").read_text("utf-8")
    return parse(text)


def parse(text: str) -> Heartbeats:
    """Return the table written in `text`.  Raises ValueError for a row that cannot be meant."""
    document = tomllib.loads(text)
    by_address: dict[tuple[int, Address], Heartbeat] = {}
    by_description: dict[tuple[int, str], Heartbeat] = {}
    for chain, rows in document["feeds"].items():
        for address, description, heartbeat_s, deviation, source in rows:
            if source not in document["sources"] or not 0 < heartbeat_s < 10**8:
                raise ValueError(f"heartbeats.toml: chain {chain}, {address}: no such row can be")
            row = Heartbeat(
                description=description,
                heartbeat_s=heartbeat_s,
                deviation_percent=float(deviation),
                source=source,
            )
            by_address[int(chain), Address(address.lower())] = row
            key = (int(chain), _key(description))
            if key not in by_description or heartbeat_s < by_description[key].heartbeat_s:
                by_description[key] = row
    return Heartbeats(
        by_address=MappingProxyType(by_address), by_description=MappingProxyType(by_description)
    )


def _key(description: str) -> str:
    """Sources write ``ETH / USD``, ``ETH/USD`` and ``eth-usd`` for the same feed."""
    return "".join(c for c in description.casefold() if c.isalnum())
