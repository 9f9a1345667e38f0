"""ENS names: what a name points to, and what an account calls itself, at one block.

Source: ENSIP-1 (registry, resolvers, namehash), ENSIP-3 (reverse records), ENSIP-15
(normalisation, by the `ens` package that web3 brings: look-alikes, mixed scripts and invisible
characters are no names).  A ``.eth`` name whose registration has run out still resolves in the
registry until somebody else takes it: that is looked up besides, and refused.

Caveat: names that only answer off chain (ENSIP-10 wildcards, CCIP-read) do not resolve here: a
server's word is not the chain's.  A reverse record is the account's own claim and counts only where
the name it claims points back to the account.
"""

import asyncio
from dataclasses import dataclass
from typing import Final

from eth_utils.crypto import keccak

from keeper.alerts.numbers import plain
from keeper.alerts.speech import Spoken
from keeper.chain.rpc import Rpc
from keeper.errors import ObservationError
from keeper.model import Address, BlockRef, Call, CallResult, Returned
from keeper.ports import Reader, Steps

LONGEST: Final = 255

_OWNER: Final = bytes.fromhex("02571be3")
_RESOLVER: Final = bytes.fromhex("0178b8bf")
_ADDR: Final = bytes.fromhex("3b3b57de")
_NAME: Final = bytes.fromhex("691f3431")
_EXPIRES: Final = bytes.fromhex("d6e4fa86")
"""``nameExpires(uint256)`` of the registrar of ``.eth``."""


class NoAddress(Spoken):
    """A name that stands for no account: the text is the reply."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """What a name pointed to at a block."""

    name: str
    """Normalised: as ENS knows it, and as it is shown."""
    account: Address
    block: BlockRef


class Names:
    """Looks names up in one chain's registry; each lookup is pinned to one block."""

    def __init__(self, rpc: Rpc, reader: Reader, registry: Address) -> None:
        self._rpc = rpc
        self._reader = reader
        self._registry = registry

    async def resolve(self, word: str) -> Resolved:
        """Return the account that a name points to.  Raises `NoAddress`."""
        said = plain(word, 60)
        name = await normalised(word)
        try:
            block = await self._rpc.block("latest")
            account, expires_at = await self._reader.run(_looked_up(self._registry, name), block)
        except ObservationError as error:
            raise NoAddress(
                "{said} could not be looked up: try again, or send the 0x address ({reason}).",
                said=said,
                reason=plain(str(error), 120).rstrip("."),
            ) from error
        if account is None:
            raise NoAddress(
                "{said} points to no account: correct it, or send the 0x address.", said=said
            )
        if 0 < expires_at < block.timestamp:
            raise NoAddress(
                "{said} has expired, and anybody may register it anew: send the account's 0x "
                "address.",
                said=said,
            )
        return Resolved(name=name, account=account, block=block)

    async def name_of(self, account: Address) -> str:
        """Return the name an account calls itself where that points back to it; else nothing.

        Raises ObservationError where no node answered.
        """
        block = await self._rpc.block("latest")
        claimed = await self._reader.run(_claimed(self._registry, account), block)
        try:
            name = await normalised(claimed)
        except NoAddress:
            return ""
        if name != claimed:
            return ""
        found, expires_at = await self._reader.run(_looked_up(self._registry, name), block)
        return name if found == account and not 0 < expires_at < block.timestamp else ""


def _looked_up(registry: Address, name: str) -> Steps[tuple[Address | None, int]]:
    """Read what a name points to, and when its registration runs out; 0 where nothing says."""
    node, eth = namehash(name), namehash("eth")
    found, owner = yield _call(registry, _RESOLVER, node), _call(registry, _OWNER, eth)
    resolver, registrar = _account(found), _account(owner)
    labels = name.split(".")
    account, expires_at = None, 0
    if resolver is not None:
        [answer] = yield (_call(resolver, _ADDR, node),)
        account = _account(answer)
    if registrar is not None and len(labels) > 1 and labels[-1] == "eth":
        [answer] = yield (_call(registrar, _EXPIRES, keccak(text=labels[-2])),)
        data = _data(answer)
        expires_at = int.from_bytes(data, "big") if len(data) == 32 else 0
    return account, expires_at


def _claimed(registry: Address, account: Address) -> Steps[str]:
    """Read the name that an account's reverse record claims."""
    node = namehash(f"{account.removeprefix('0x').lower()}.addr.reverse")
    [found] = yield (_call(registry, _RESOLVER, node),)
    resolver = _account(found)
    if resolver is None:
        return ""
    [answer] = yield (_call(resolver, _NAME, node),)
    return text_of(_data(answer))


def _call(to: Address, selector: bytes, word: bytes) -> Call:
    return Call(to=to, data=selector + word)


def _data(answer: CallResult) -> bytes:
    """Return what a contract answered; nothing where it refused."""
    return answer.data if isinstance(answer, Returned) else b""


def _account(answer: CallResult) -> Address | None:
    data = _data(answer)
    if len(data) != 32 or any(data[:12]) or not any(data):
        return None
    return Address(f"0x{data[12:].hex()}")


async def normalised(word: str) -> str:
    """Return a name as ENS knows it.  Raises `NoAddress` for what is none.

    The tables take a second to load, once: in a thread, so that nothing waits for it.
    """
    said = plain(word, 60)
    if len(word) > LONGEST:
        raise NoAddress("{said} is too long for a name: send the 0x address.", said=said)
    if not word or any(not label for label in word.split(".")):
        raise NoAddress("{said} is no name: it has an empty part between its dots.", said=said)
    name = await asyncio.to_thread(_normalised, word)
    if name is None:
        raise NoAddress(
            "{said} is no name: characters in it look like others or may not stand there. "
            "Send the 0x address.",
            said=said,
        )
    return name


def _normalised(word: str) -> str | None:
    from ens.exceptions import ENSException  # noqa: PLC0415 - a second to import, for names only
    from ens.utils import normalize_name  # noqa: PLC0415 - the same

    try:
        return str(normalize_name(word))
    except (ENSException, ValueError):
        return None


def namehash(name: str) -> bytes:
    """Return the node of a normalised name (ENSIP-1); 32 zeros for the root."""
    node = bytes(32)
    for label in reversed(name.split(".")) if name else ():
        node = keccak(node + keccak(text=label))
    return node


def text_of(answer: bytes) -> str:
    """Return an ABI-encoded string; nothing where it is none."""
    if len(answer) < 64:
        return ""
    start = int.from_bytes(answer[:32], "big")
    if start > len(answer) - 32:
        return ""
    length = int.from_bytes(answer[start : start + 32], "big")
    body = answer[start + 32 : start + 32 + min(length, LONGEST)]
    return body.decode("utf-8", "replace") if length <= LONGEST else ""
