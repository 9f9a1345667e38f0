"""What a contract is, from its answers: a feed, an adapter, a fixed price, or something unknown.

Adapters are asked for first: one that also answers `latestRoundData` would pass for a feed and
hide how old the prices under it are.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from keeper.errors import BadAnswer
from keeper.model import Address, Call, CallResult, Failed, Returned
from keeper.oracles.abi import (
    call,
    decode_address,
    decode_decimals,
    decode_int,
    decode_round,
    decode_text,
)

FEED_GETTERS: Final = (
    "BASE_TO_USD_AGGREGATOR",
    "ASSET_TO_USD_AGGREGATOR",
    "BASE_TO_PEG",
    "PEG_TO_BASE",
    "ASSET_TO_PEG",
    "ETH_TO_USD",
    "ETH_TO_BASE",
    "CBETH_TO_BASE",
    "MATIC_TO_BASE",
    "DAI_TO_BASE",
    "DAI_TO_USD",
    "REFERENCE_FEED",
)
"""Each names a price source the adapter multiplies, divides or caps."""

RATIO_GETTERS: Final = ("RATIO_PROVIDER", "RATE_PROVIDER")
"""Each names a token's own contract, which knows its rate, or on some chains a feed of it."""

KINDS: Final[tuple[tuple[frozenset[str], str], ...]] = (
    (
        frozenset({"BASE_TO_USD_AGGREGATOR", "ASSET_TO_USD_AGGREGATOR"}),
        "price capped by another price",
    ),
    (frozenset({"BASE_TO_USD_AGGREGATOR"}), "ratio with a growing cap"),
    (frozenset({"ASSET_TO_USD_AGGREGATOR"}), "price with a fixed cap"),
    (frozenset({"ASSET_TO_PEG"}), "one feed through another"),
    (frozenset({"BASE_TO_PEG"}), "feed times a fixed ratio"),
    (frozenset({"REFERENCE_FEED"}), "feed at a discount"),
    (frozenset(), "feed times a ratio"),
)
"""What an adapter is called, by the getters it has; the first that fits."""

FIXED_GETTERS: Final = ("price", "PRICE", "GHO_PRICE")

FUNCTIONS: Final = (
    *FEED_GETTERS,
    *RATIO_GETTERS,
    "PENDLE_PRINCIPAL_TOKEN",
    "latestRoundData",
    "latestAnswer",
    "decimals",
    "description",
    "aggregator",
    *FIXED_GETTERS,
    "isCapped",
    "getRatio",
    "RATIO_DECIMALS",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LeafNode:
    """It publishes rounds."""

    description: str
    decimals: int
    aggregator: Address | None
    """The one behind it, as Chainlink's proxies name it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterNode:
    """It makes its price from others."""

    kind: str
    description: str
    feeds: tuple[Address, ...]
    ratios: tuple[Address, ...]
    decimals: int | None = None
    capped: bool = False
    """It says whether its price is capped at the moment."""
    ratio_decimals: int = 0
    """Of the ratio it caps; 0 where it caps a price or does not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedNode:
    """Its price is written into it; nothing under it can be old."""

    description: str
    decimals: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpaqueNode:
    """Nobody can say how old its price is."""

    reason: str
    plain_ratio: bool = False
    """It speaks no price interface at all, as a token's own contract: good as a ratio only."""


Node = LeafNode | AdapterNode | FixedNode | OpaqueNode


def probe(address: Address) -> tuple[Call, ...]:
    """Return the calls that tell what `address` is, in the order of `FUNCTIONS`."""
    return tuple(call(address, function) for function in FUNCTIONS)


def classify(results: tuple[CallResult, ...]) -> Node:
    """Return what the answers to `probe` say.  Hostile answers make an `OpaqueNode`."""
    answers = dict(zip(FUNCTIONS, results, strict=True))
    if all(isinstance(r, Returned) and not r.data for r in results):
        return OpaqueNode(reason="there is no contract at that address")
    try:
        feeds = _named(answers, FEED_GETTERS)
        ratios = _named(answers, RATIO_GETTERS)
    except BadAnswer as error:
        return OpaqueNode(reason=str(error))
    if feeds:
        return AdapterNode(
            kind=_kind(answers, frozenset(feeds)),
            description=decode_text(answers["description"]),
            feeds=tuple(dict.fromkeys(feeds.values())),
            ratios=tuple(dict.fromkeys(ratios.values())),
            decimals=_decimals(answers, "decimals"),
            capped=_speaks(answers, "isCapped"),
            ratio_decimals=(_decimals(answers, "RATIO_DECIMALS") or 0)
            if _speaks(answers, "getRatio")
            else 0,
        )
    if ratios and _speaks(answers, "latestAnswer"):
        names = ", ".join(ratios)
        return OpaqueNode(reason=f"it has {names}() and no known getter of what that multiplies")
    return _leaf(answers) or _fixed(answers) or _opaque(answers)


def _leaf(answers: Mapping[str, CallResult]) -> Node | None:
    """A proxy whose aggregator has no round yet is a feed too: unreadable until it has one."""
    has_round, aggregator = False, None
    with suppress(BadAnswer):
        decode_round(answers["latestRoundData"], "latestRoundData()")
        has_round = True
    with suppress(BadAnswer):
        aggregator = decode_address(answers["aggregator"], "aggregator()")
    if not has_round and aggregator is None:
        return None
    try:
        decimals = decode_decimals(answers["decimals"], "decimals()")
    except BadAnswer as error:
        return OpaqueNode(reason=str(error))
    return LeafNode(
        description=decode_text(answers["description"]),
        decimals=decimals,
        aggregator=aggregator,
    )


def _fixed(answers: Mapping[str, CallResult]) -> Node | None:
    for getter in FIXED_GETTERS:
        try:
            written = decode_int(answers[getter], f"{getter}()")
            answered = decode_int(answers["latestAnswer"], "latestAnswer()")
        except BadAnswer:
            continue
        if written == answered:
            return FixedNode(
                description=decode_text(answers["description"]),
                decimals=_decimals(answers, "decimals"),
            )
    return None


def _opaque(answers: Mapping[str, CallResult]) -> Node:
    if _speaks(answers, "latestRoundData"):
        return OpaqueNode(reason="latestRoundData() answers something that is no round")
    if _speaks(answers, "latestAnswer"):
        return OpaqueNode(reason="it says neither when it was updated nor from which feeds")
    return OpaqueNode(reason="it answers nothing that a price source answers", plain_ratio=True)


def _named(answers: Mapping[str, CallResult], getters: tuple[str, ...]) -> dict[str, Address]:
    """What the getters that exist name.  Raises BadAnswer where one names no address."""
    return {
        getter: decode_address(answers[getter], f"{getter}()")
        for getter in getters
        if _speaks(answers, getter)
    }


def _speaks(answers: Mapping[str, CallResult], function: str) -> bool:
    """A contract without the function reverts, or answers no bytes from its fallback."""
    result = answers[function]
    return not isinstance(result, Failed) and bool(result.data)


def _decimals(answers: Mapping[str, CallResult], function: str) -> int | None:
    try:
        return decode_decimals(answers[function], f"{function}()")
    except BadAnswer:
        return None


def _kind(answers: Mapping[str, CallResult], feeds: frozenset[str]) -> str:
    if feeds >= {"ASSET_TO_USD_AGGREGATOR"} and _speaks(answers, "PENDLE_PRINCIPAL_TOKEN"):
        return "principal token at a discount"
    return next(kind for getters, kind in KINDS if feeds >= getters)
