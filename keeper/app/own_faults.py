"""What people are alerted to of the keeper itself: chains not read, keys that may not sign."""

import time
from collections.abc import Sequence

from keeper.alerts.numbers import amount_text, duration_text
from keeper.alerts.passes import Fault
from keeper.alerts.render import native_symbol
from keeper.alerts.speech import Saying, saying
from keeper.app.running_out import permit_faults
from keeper.app.watcher import Watcher
from keeper.chain.health import NodeHealth
from keeper.model import (
    AlertLevel,
)
from keeper.store.outbox import OutboxCounts
from keeper.units import Raw

OUTBOX_PATIENCE_S = 600.0


def own_faults(counts: OutboxCounts) -> tuple[Fault, ...]:
    """Return what is wrong with the keeper besides its chains."""
    oldest = counts.oldest_pending_at
    waited_s = 0.0 if oldest is None else time.time() - oldest
    if waited_s < OUTBOX_PATIENCE_S:
        return ()
    sentence = saying(
        "{n} messages wait, the oldest for {time}",
        n=counts.pending,
        time=duration_text(int(waited_s)),
    )
    return (Fault(part="outbox", sentence=sentence, level=AlertLevel.WARNING),)


def faults_of(watcher: Watcher) -> tuple[Fault, ...]:
    found = _of_following(watcher)
    if watcher.chain is not None and (doubt := watcher.chain.heads.doubt):
        found.append(
            Fault(part="nodes", sentence=saying("the nodes do not agree: {reason}", reason=doubt))
        )
    elif watcher.chain is not None and (left := last_node(watcher.chain.rpc.health)):
        found.append(Fault(part="nodes", sentence=left, level=AlertLevel.WARNING))
    executor, engine = watcher.executor, watcher.engine
    if executor is not None and executor.disarmed_reason:
        found.append(Fault(part="signer", sentence=executor.disarmed_reason))
    least = watcher.settings.signing.min_gas_balance_eth
    if executor is not None and executor.armed and (watcher.gas_wei or least) < least:
        found.append(
            Fault(
                part="gas",
                sentence=saying(
                    "{left} are left for gas, the least is {least}: fund it",
                    left=gas_held(watcher.gas_wei, watcher.config.chain_id),
                    least=gas_held(least, watcher.config.chain_id),
                ),
                level=AlertLevel.WARNING,
            )
        )
    found += permit_faults(watcher.standings)
    if engine is not None and engine.last is not None:
        behind_s = engine.last.behind_s
        if behind_s > watcher.behind_limit_s:
            found.append(
                Fault(
                    part="node",
                    sentence=saying(
                        "its newest block is {time} old: nothing is decided on it",
                        time=duration_text(int(behind_s)),
                    ),
                )
            )
        found += [
            Fault(part=f"market {name}", sentence=reason)
            for name, reason in engine.last.unread.items()
        ]
    return tuple(found)


def _of_following(watcher: Watcher) -> list[Fault]:
    """Return what keeps the chain from being followed, or what it went through."""
    found = []
    if watcher.unwatched_s > watcher.silence_limit_s:
        lasting = duration_text(int(watcher.unwatched_s))
        found.append(Fault(part="heads", sentence=_silence(watcher, lasting)))
        if watcher.lost not in ("", watcher.broken):
            found.append(Fault(part="chain", sentence=watcher.lost))
    if watcher.history_unread:
        sentence = saying("borrowers are not all known: {reason}", reason=watcher.history_unread)
        found.append(Fault(part="history", sentence=sentence))
    if watcher.broken:
        found.append(Fault(part="finality", sentence=watcher.broken))
    return found


def _silence(watcher: Watcher, lasting: str) -> Saying:
    """Return which chain is not followed, what ails its nodes, and what looks at them."""
    nodes = () if watcher.chain is None else watcher.chain.rpc.health
    ill = [f"{node.name} {node.reason}" for node in nodes if not node.alive]
    if not ill:
        return saying(
            "no block of {chain} was taken for {time}; `keeper check` looks at its nodes",
            chain=watcher.name,
            time=lasting,
        )
    return saying(
        "no block of {chain} was taken for {time}: {why}; `keeper check` looks at its nodes",
        chain=watcher.name,
        time=lasting,
        why="; ".join(ill),
    )


def gas_held(wei: int | None, chain_id: int) -> str:
    """Return what is held for gas in the chain's coin, floored."""
    return f"{amount_text(Raw(wei or 0), 18)} {native_symbol(chain_id)}"


def last_node(health: Sequence[NodeHealth]) -> Saying | None:
    """Return that only one of several nodes can be relied on, and what ails the others."""
    ill = [node for node in health if not node.alive]
    if len(health) < 2 or len(health) - len(ill) > 1:
        return None
    why = "; ".join(f"{node.name} is {node.state} ({node.reason})" for node in ill)
    left, of = len(health) - len(ill), len(health)
    return saying("{n} of {all} nodes is left: {why}", n=left, all=of, why=why)
