"""What a token says that its permits are signed for, held against itself (EIP-712, EIP-2612)."""

import asyncio

from keeper.chain.rpc import Rpc
from keeper.errors import BadAnswer, ExecutionError, RpcError
from keeper.execution import permits
from keeper.execution.permits import Domain
from keeper.model import Address, BlockRef


async def domain_of(rpc: Rpc, token: Address, chain_id: int, block: BlockRef) -> Domain:
    """Read a token's EIP-712 domain and hold it against its DOMAIN_SEPARATOR.

    Raises ExecutionError for a token that takes no permits as EIP-2612 has them.
    """
    none = f"The aToken {token} takes no permits as EIP-2612 has them: let the account approve it."
    try:
        name, kind, separator = await asyncio.gather(
            rpc.eth_call(token, permits.NAME, block),
            rpc.eth_call(token, permits.PERMIT_TYPEHASH, block),
            rpc.eth_call(token, permits.DOMAIN_SEPARATOR, block),
        )
        domain = Domain(
            name=permits.decode_text(name, "The aToken's name"),
            version=await _revision(rpc, token, block),
            chain_id=chain_id,
            token=token,
        )
    except (RpcError, BadAnswer) as error:
        if isinstance(error, RpcError) and error.code is None:
            raise
        raise ExecutionError(none) from error
    if kind != permits.PERMIT_TYPE:
        raise ExecutionError(none)
    if separator != domain.separator:
        raise ExecutionError(
            f"The aToken {token} keeps its signatures apart by another domain than its name says:"
            " let the account approve it."
        )
    return domain


async def _revision(rpc: Rpc, token: Address, block: BlockRef) -> str:
    answer = await rpc.eth_call(token, permits.REVISION, block)
    return permits.decode_text(answer, "The aToken's EIP712_REVISION")
