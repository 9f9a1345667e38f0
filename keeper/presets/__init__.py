"""Public markets that need no configuration but an RPC URL: data made by `keeper.presets.build`."""

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources

from keeper.model import Address


@dataclass(frozen=True, slots=True, kw_only=True)
class PresetMarket:
    """One public market, as `keeper.toml` may name it."""

    name: str
    protocol: str
    addresses_provider: Address
    chain: str
    chain_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PresetChain:
    """One public chain; its first market is what is watched when nothing else is said."""

    name: str
    chain_id: int
    block_time_s: float | None
    """None where it is not a constant of the protocol."""
    markets: tuple[PresetMarket, ...]


@cache
def chains() -> dict[str, PresetChain]:
    """Every chain of the presets, by the name it has in ``keeper.toml``."""
    text = resources.files(__package__).joinpath("aave_v3.json").read_text(encoding="utf-8")
    return {
        name: PresetChain(
            name=name,
            chain_id=entry["chain_id"],
            block_time_s=entry["block_time_s"],
            markets=tuple(
                PresetMarket(
                    name=market["name"],
                    protocol=market["protocol"],
                    addresses_provider=Address(market["addresses_provider"]),
                    chain=name,
                    chain_id=entry["chain_id"],
                )
                for market in entry["markets"]
            ),
        )
        for name, entry in json.loads(text)["chains"].items()
    }


@cache
def markets() -> dict[str, PresetMarket]:
    """Every market of the presets, by name."""
    return {market.name: market for chain in chains().values() for market in chain.markets}
