"""The few words of ABI that price feeds speak, packed and unpacked by hand.

Source: Chainlink's published ``AggregatorV3Interface`` and ``AggregatorProxyInterface``, and the
public getters of Aave's price adapters (the MIT-licensed interfaces of ``bgd-labs/aave-capo``,
``bgd-labs/aave-price-feeds`` and ``bgd-labs/cl-synchronicity-price-adapter``).  Selectors are the
first four bytes of the Keccak hash of the signature; a test computes each again.
"""

import unicodedata
from typing import Final

from keeper.errors import BadAnswer
from keeper.model import Address, Call, CallResult, Failed

SELECTORS: Final = {
    # a feed
    "latestRoundData": bytes.fromhex("feaf968c"),
    "decimals": bytes.fromhex("313ce567"),
    "description": bytes.fromhex("7284e416"),
    "aggregator": bytes.fromhex("245a7bfc"),
    "latestAnswer": bytes.fromhex("50d25bcd"),
    # adapters: what they take prices from
    "BASE_TO_USD_AGGREGATOR": bytes.fromhex("d221087c"),
    "ASSET_TO_USD_AGGREGATOR": bytes.fromhex("4ebdc284"),
    "BASE_TO_PEG": bytes.fromhex("6753b8c4"),
    "PEG_TO_BASE": bytes.fromhex("de4aedab"),
    "ASSET_TO_PEG": bytes.fromhex("910bb70c"),
    "ETH_TO_USD": bytes.fromhex("9ea47ca2"),
    "ETH_TO_BASE": bytes.fromhex("3f84cd1b"),
    "CBETH_TO_BASE": bytes.fromhex("e1d29a04"),
    "MATIC_TO_BASE": bytes.fromhex("98d35efc"),
    "DAI_TO_BASE": bytes.fromhex("c0f81327"),
    "DAI_TO_USD": bytes.fromhex("77cc6afd"),
    "REFERENCE_FEED": bytes.fromhex("3179e7f0"),
    # adapters: what they take a ratio from
    "RATIO_PROVIDER": bytes.fromhex("dc4a4be8"),
    "RATE_PROVIDER": bytes.fromhex("7407182a"),
    "PENDLE_PRINCIPAL_TOKEN": bytes.fromhex("df904837"),
    # fixed prices
    "price": bytes.fromhex("a035b1fe"),
    "PRICE": bytes.fromhex("8d859f3e"),
    "GHO_PRICE": bytes.fromhex("abe30b30"),
    # an aggregator behind a proxy: between which answers it is a price
    "minAnswer": bytes.fromhex("22adbc78"),
    "maxAnswer": bytes.fromhex("70da2f67"),
    "minSubmissionValue": bytes.fromhex("7c2b0b21"),
    "maxSubmissionValue": bytes.fromhex("23ca2903"),
    # a cap on a growing ratio
    "isCapped": bytes.fromhex("671528d4"),
    "getRatio": bytes.fromhex("ec1ebd7a"),
    "getSnapshotRatio": bytes.fromhex("fe4d9e79"),
    "getSnapshotTimestamp": bytes.fromhex("deb8c641"),
    "getMaxRatioGrowthPerSecond": bytes.fromhex("f6ba77de"),
    "RATIO_DECIMALS": bytes.fromhex("a83622e0"),
}

ROUND_WORDS: Final = 5
MAX_ROUND_ID: Final = 2**80 - 1
MAX_DECIMALS: Final = 36
"""More than any price needs; Solidity would take 255, and 10**255 is no scale."""


def call(to: Address, function: str) -> Call:
    """Return the static call of `function`, which takes no arguments."""
    return Call(to=to, data=SELECTORS[function])


def decode_uint(result: CallResult, what: str) -> int:
    """Return the one word answered.  Raises BadAnswer for a failure or any other length."""
    return int.from_bytes(_words(result, 1, what), "big")


def decode_int(result: CallResult, what: str) -> int:
    """Return the one signed word answered.  Raises BadAnswer for a failure or another length."""
    return int.from_bytes(_words(result, 1, what), "big", signed=True)


def decode_decimals(result: CallResult, what: str) -> int:
    """Return a number of decimals.  Raises BadAnswer above `MAX_DECIMALS`."""
    decimals = decode_uint(result, what)
    if decimals > MAX_DECIMALS:
        raise BadAnswer(f"{what} answered {decimals}, more than {MAX_DECIMALS} is no price")
    return decimals


def decode_address(result: CallResult, what: str) -> Address:
    """Return the address answered.  Raises BadAnswer for zero and for a word that is none."""
    value = decode_uint(result, what)
    if not 0 < value < 2**160:
        raise BadAnswer(f"{what} answered something that is not a contract's address")
    return Address(f"0x{value:040x}")


def decode_round(result: CallResult, what: str) -> tuple[int, int, int]:
    """Return (roundId, answer, updatedAt) of a `latestRoundData` answer.

    ``startedAt`` and the deprecated ``answeredInRound`` are not looked at.  Raises BadAnswer for a
    failure, another length, or a round id over 80 bits.
    """
    data = _words(result, ROUND_WORDS, what)
    round_id = int.from_bytes(data[0:32], "big")
    if round_id > MAX_ROUND_ID:
        raise BadAnswer(f"{what} answered a round id of more than 80 bits")
    answer = int.from_bytes(data[32:64], "big", signed=True)
    return round_id, answer, int.from_bytes(data[96:128], "big")


def decode_text(result: CallResult, longest: int = 64) -> str:
    """Return a string answer made harmless (see `clean`), or "" when there is none.

    Takes ABI strings and the older ``bytes32``.  Nothing decided depends on it but the heartbeat,
    so that nonsense is an empty text and not an error.
    """
    if isinstance(result, Failed):
        return ""
    data = result.data
    if len(data) == 32:
        return clean(data.rstrip(b"\0").decode("utf-8", "replace"), longest)
    if len(data) < 64 or int.from_bytes(data[0:32], "big") != 32:
        return ""
    length = int.from_bytes(data[32:64], "big")
    if length > len(data) - 64:
        return ""
    # a character is at most four bytes: more than that is never looked at
    return clean(data[64 : 64 + min(length, 4 * longest)].decode("utf-8", "replace"), longest)


def clean(text: str, longest: int = 64) -> str:
    """Return `text` without control, format and bidirectional characters, capped.

    Chains say anything: what is kept are characters that print where they stand, white space
    folded to single spaces.
    """
    shown = "".join(" " if c.isspace() else c for c in text[: 16 * longest])
    kept = "".join(c for c in shown if c == " " or unicodedata.category(c)[0] not in "CZ")
    folded = " ".join(kept.split())
    return folded if len(folded) <= longest else folded[: longest - 1] + "…"


def _words(result: CallResult, count: int, what: str) -> bytes:
    if isinstance(result, Failed):
        raise BadAnswer(f"{what} did not answer: {clean(result.reason, 120) or 'it reverted'}")
    if len(result.data) != 32 * count:
        raise BadAnswer(f"{what} answered {len(result.data)} bytes, {32 * count} were expected")
    return result.data
