"""What every node's own word says about the others: who lags, and who is on another branch."""

from collections import Counter
from collections.abc import Sequence

import structlog

from keeper.chain.provider import Provider
from keeper.errors import RpcError
from keeper.model import BlockRef

log = structlog.get_logger(__name__)


def compare_branches(
    providers: Sequence[Provider], answers: Sequence[BlockRef | RpcError | None]
) -> None:
    """Mark the nodes that have another block than at least two agree on."""
    votes = Counter(answer.hash for answer in answers if isinstance(answer, BlockRef))
    if not votes:
        return
    [(hash_, count)] = votes.most_common(1)
    for provider, answer in zip(providers, answers, strict=True):
        if isinstance(answer, BlockRef):
            apart = count >= 2 and answer.hash != hash_
            if apart and not provider.apart:
                log.warning("node.apart", node=provider.name, number=answer.number)
            provider.apart = apart


def compare_heads(providers: Sequence[Provider], lag_blocks: int) -> None:
    """Mark the nodes that are too far behind what at least two have, or the one other."""
    heads = sorted((p.head for p in providers if p.head is not None), reverse=True)
    if len(heads) < 2:
        return
    common = heads[1] if len(heads) > 2 else heads[0]
    for provider in providers:
        if provider.head is None:
            continue
        lagging = common - provider.head >= lag_blocks
        if lagging and not provider.lagging:
            log.warning("node.lagging", node=provider.name, head=provider.head, others=common)
        elif provider.lagging and not lagging:
            log.info("node.caught_up", node=provider.name, head=provider.head)
        provider.lagging = lagging
