"""Names of intents: the same decision on the same block is the same intent."""

import hashlib

from keeper.model import BlockRef, IntentKind, PositionId


def intent_id(kind: IntentKind, position: PositionId, block: BlockRef) -> str:
    """Return 16 hexadecimal digits that stand for (kind, position, block hash).

    A block decided twice, after a restart or by a second keeper, gives the same id, which the
    journal takes once.
    """
    market = position.market
    name = f"{kind}|{market.chain_id}|{market.name}|{position.account}|{block.hash}"
    return hashlib.sha256(name.encode()).hexdigest()[:16]
