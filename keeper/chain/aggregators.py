"""Two aggregators' ways of being asked for a sale, and what their answers must be.  Pure.

* ``0x``     Swap API v2, ``/swap/allowance-holder/quote``; the AllowanceHolder takes what is sold.
  Source: docs.0x.org/api-reference, allowanceholder-getquote.
* ``1inch``  Classic Swap API v6, ``/swap/v6.0/CHAIN/swap``; the router takes what is sold itself.
  Source: portal.1inch.dev, Classic Swap, methods of v6.0.

Written from that documentation and tried against stand-ins of the tests only: neither service
answers without an account.  Of an answer only so much is read as a sale needs, all of it is held
against what was asked, and nothing of it is believed: see `keeper.execution.over`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from keeper.errors import BadAnswer, ExecutionError
from keeper.model import Address, Offer, Sought
from keeper.units import UINT256_MAX

VALID_S: Final = 60
"""Chain seconds for which an offer is used: what makers sign is good for about that long."""
MOST_DATA: Final = 24_576
"""Bytes of call data: more than any sale took that was seen, and less than a block's worth."""
_ADDRESS: Final = re.compile(r"0x[0-9a-fA-F]{40}")
_DIGITS: Final = re.compile(r"[0-9]{1,78}")
_HEX: Final = re.compile(r"0x(?:[0-9a-fA-F]{2})*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A GET request, its key left out."""

    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]


class Kind(Protocol):
    """One service's words."""

    name: str

    def request(self, sought: Sought, key: str) -> Request:
        """Return how it is asked."""
        ...

    def offer(self, answer: Mapping[str, Any], sought: Sought) -> Offer:
        """Return what it offers.  Raises, one sentence without its name, `ExecutionError` where
        it has none and `BadAnswer` for what cannot be.
        """
        ...


class ZeroEx:
    """0x, with its AllowanceHolder: one contract is called and takes what is sold."""

    name = "0x"

    def request(self, sought: Sought, key: str) -> Request:
        return Request(
            path="/swap/allowance-holder/quote",
            query={
                "chainId": str(sought.chain_id),
                "sellToken": sought.sell,
                "buyToken": sought.buy,
                "sellAmount": str(sought.amount),
                "taker": sought.caller,
                "txOrigin": sought.origin,
                "slippageBps": str(sought.max_slippage),
            },
            headers={"0x-version": "v2", **({"0x-api-key": key} if key else {})},
        )

    def offer(self, answer: Mapping[str, Any], sought: Sought) -> Offer:
        if answer.get("liquidityAvailable") is False:
            raise ExecutionError("it knows nobody who buys that.")
        _same(answer, "sellToken", sought.sell)
        _same(answer, "buyToken", sought.buy)
        if _number(answer, "sellAmount") != sought.amount:
            raise BadAnswer("it would sell another amount than was asked.")
        spender = _address(answer, "allowanceTarget")
        issues = answer.get("issues")
        if isinstance(issues, Mapping) and isinstance(missing := issues.get("allowance"), Mapping):
            _same(missing, "spender", spender)
        return _offer(self.name, answer, "transaction", "buyAmount", spender, sought)


class OneInch:
    """1inch: its router is called and takes what is sold."""

    name = "1inch"

    def request(self, sought: Sought, key: str) -> Request:
        percent, rest = divmod(int(sought.max_slippage), 100)
        return Request(
            path=f"/swap/v6.0/{sought.chain_id}/swap",
            query={
                "src": sought.sell,
                "dst": sought.buy,
                "amount": str(sought.amount),
                "from": sought.caller,
                "origin": sought.origin,
                "slippage": f"{percent}.{rest:02d}",
                "disableEstimate": "true",
                "allowPartialFill": "false",
            },
            headers={"Authorization": f"Bearer {key}"} if key else {},
        )

    def offer(self, answer: Mapping[str, Any], sought: Sought) -> Offer:
        transaction = answer.get("tx")
        if isinstance(transaction, Mapping) and "from" in transaction:
            _same(transaction, "from", sought.caller)
        if "srcAmount" in answer and _number(answer, "srcAmount") != sought.amount:
            raise BadAnswer("it would sell another amount than was asked.")
        return _offer(self.name, answer, "tx", "dstAmount", None, sought)


KINDS: Final[Mapping[str, Kind]] = {kind.name: kind for kind in (ZeroEx(), OneInch())}
"""What the settings may name."""


def _offer(  # noqa: PLR0917 - what two answers differ in, in the order of their words
    source: str,
    answer: Mapping[str, Any],
    transaction_key: str,
    bought_key: str,
    spender: Address | None,
    sought: Sought,
) -> Offer:
    transaction = answer.get(transaction_key)
    if not isinstance(transaction, Mapping):
        raise BadAnswer(f"its answer has no {transaction_key}.")
    if _number(transaction, "value"):
        raise BadAnswer("it wants to be sent the chain's coin.")
    text = transaction.get("data")
    if not isinstance(text, str) or len(text) > 2 + 2 * MOST_DATA or not _HEX.fullmatch(text):
        raise BadAnswer(f"its data is no call data of at most {MOST_DATA} bytes.")
    target = _address(transaction, "to")
    return Offer(
        source=source,
        bought=_number(answer, bought_key),
        target=target,
        spender=target if spender is None else spender,
        data=bytes.fromhex(text[2:]),
        valid_until=sought.block.timestamp + VALID_S,
    )


def _number(answer: Mapping[str, Any], key: str) -> int:
    """Decimal digits in a text, as both write amounts; or a JSON integer."""
    value = answer.get(key)
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= UINT256_MAX:
        raise BadAnswer(f"its {key} is no amount.")
    return value


def _address(answer: Mapping[str, Any], key: str) -> Address:
    value = answer.get(key)
    if not isinstance(value, str) or not _ADDRESS.fullmatch(value):
        raise BadAnswer(f"its {key} is no address.")
    return Address(value.lower())


def _same(answer: Mapping[str, Any], key: str, expected: Address) -> None:
    if _address(answer, key) != expected:
        raise BadAnswer(f"its {key} is another one than it must be.")
