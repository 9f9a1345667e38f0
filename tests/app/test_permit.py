"""What a permit is asked for by: the token's own domain, and what a file may hold."""

import json
from typing import Any, cast

import pytest

from keeper.app.permit import parse_given
from keeper.app.permit_domain import domain_of
from keeper.chain.rpc import Rpc
from keeper.errors import ConfigError, ExecutionError, RpcError
from keeper.execution import permits
from keeper.execution.permits import Domain, typed_data
from keeper.model import Address, BlockRef, Hash, Permit

TOKEN = Address("0x" + "a7" * 20)
BLOCK = BlockRef(
    number=7,
    hash=Hash("0x" + "77" * 32),
    parent_hash=Hash("0x" + "66" * 32),
    timestamp=1_790_000_007,
)
DOMAIN = Domain(name="Aave Somewhere WETH", version="1", chain_id=8453, token=TOKEN)
PERMIT = Permit(
    chain_id=8453,
    token=TOKEN,
    owner=Address("0x" + "a1" * 20),
    spender=Address("0x" + "d1" * 20),
    value=13,
    nonce=0,
    deadline=1_790_000_013,
)


def packed(text: bytes) -> bytes:
    return (32).to_bytes(32, "big") + len(text).to_bytes(32, "big") + text.ljust(64, b"\0")


GOOD = {
    permits.NAME: packed(b"Aave Somewhere WETH"),
    permits.REVISION: packed(b"1"),
    permits.PERMIT_TYPEHASH: permits.PERMIT_TYPE,
    permits.DOMAIN_SEPARATOR: DOMAIN.separator,
}


class Token:
    """Answers calls as a token of some kind would; None: it reverts."""

    def __init__(self, answers: dict[bytes, bytes | None]) -> None:
        self._answers = answers

    async def eth_call(self, to: Address, data: bytes, at: BlockRef) -> bytes:
        answer = self._answers.get(data)
        if answer is None:
            raise RpcError("execution reverted", code=3)
        return answer


async def domain(changed: dict[bytes, bytes | None]) -> Domain:
    return await domain_of(cast("Rpc", Token({**GOOD, **changed})), TOKEN, 8453, BLOCK)


async def test_the_domain_is_read_from_the_token() -> None:
    assert await domain({}) == DOMAIN


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({permits.DOMAIN_SEPARATOR: b"\x01" * 32}, "by another domain than its name says"),
        ({permits.NAME: packed(b"Another")}, "by another domain than its name says"),
        ({permits.REVISION: packed(b"2")}, "by another domain than its name says"),
        # DAI's: holder, spender, nonce, expiry, allowed
        ({permits.PERMIT_TYPEHASH: b"\xea" * 32}, "takes no permits as EIP-2612 has them"),
        ({permits.PERMIT_TYPEHASH: None}, "takes no permits as EIP-2612 has them"),
        ({permits.NAME: b""}, "takes no permits as EIP-2612 has them"),
        ({permits.REVISION: None}, "takes no permits as EIP-2612 has them"),
    ],
)
async def test_a_token_of_another_kind_is_refused(
    changed: dict[bytes, bytes | None], sentence: str
) -> None:
    with pytest.raises(ExecutionError) as caught:
        await domain(changed)

    assert sentence in str(caught.value)
    assert TOKEN in str(caught.value)


async def test_a_node_that_does_not_answer_is_no_tokens_fault() -> None:
    class Silent:
        async def eth_call(self, *_: Any) -> bytes:
            raise RpcError("No node answered.")

    with pytest.raises(RpcError, match="No node answered"):
        await domain_of(cast("Rpc", Silent()), TOKEN, 8453, BLOCK)


def test_a_signature_stands_alone_or_beside_its_words() -> None:
    beside = json.dumps({"signature": " 0x12 ", "typed_data": typed_data(PERMIT, DOMAIN)})

    assert parse_given(" 0x1234\n") == ("0x1234", None)
    assert parse_given('"0x1234"\n') == ("0x1234", None)
    assert parse_given('{"signature": "0x12"}') == ("0x12", None)
    assert parse_given(beside) == ("0x12", PERMIT)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("{", "neither hexadecimal nor JSON"),
        ("{" + '"a":[' * 30_000, "neither hexadecimal nor JSON"),
        ('{"a": ' + "[" * 30_000, "neither hexadecimal nor JSON"),
        ("{}", 'has no "signature"'),
        ('{"signature": 5}', 'has no "signature"'),
        ('{"signature": "0x12", "typed_data": 5}', "is no permit"),
    ],
)
def test_a_file_that_holds_none_is_one_sentence(content: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_given(content)

    assert sentence in str(caught.value)
