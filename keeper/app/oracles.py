"""From settings to how oracles are traced, judged and compared.  Pure."""

from keeper.engine.oracles import Independent
from keeper.model import Address
from keeper.oracles import policy, sequencer
from keeper.oracles.heartbeats import published
from keeper.oracles.judge import JudgeRules
from keeper.oracles.references import ReferenceRules
from keeper.oracles.trace import TraceRules
from keeper.reference.board import Board
from keeper.reference.exchanges import EXCHANGES, TICKERS
from keeper.settings import Chain, Settings


def tracing_of(settings: Settings) -> TraceRules:
    """Return how far sources are followed, and the operator's own heartbeats."""
    return TraceRules(heartbeats=published(), overrides_s=dict(settings.oracles.heartbeats_s))


def judging_of(settings: Settings) -> JudgeRules:
    """Return what is tolerated, and what is done about each cause of doubt."""
    oracles = settings.oracles
    return JudgeRules(
        grace_s=oracles.grace_s,
        trusted_sources=frozenset(oracles.trusted_sources),
        max_jump_percent=oracles.max_jump_percent,
        jump_hold_s=oracles.jump_hold_s,
        max_difference_bps=oracles.max_difference_bps,
        sequencer_grace_s=oracles.sequencer_grace_s,
        stances=policy.stances(oracles.policy),
    )


def independent_of(settings: Settings, chain: Chain) -> Independent:
    """Return where references of this chain's assets come from."""
    wanted = settings.references
    return Independent(
        rules=ReferenceRules(
            min_sources=wanted.min_sources,
            min_depth=wanted.min_depth_usd,
            max_age_s=wanted.max_age_s,
            agree_bps=settings.oracles.max_difference_bps,
        ),
        feeds=dict(wanted.feeds),
        factory=chain.uniswap_factory,
        quotes=wanted.quotes,
        window_s=wanted.window_s,
    )


def sequencer_of(chain: Chain) -> Address | None:
    """Return the rollup's uptime feed; None where the chain is none that is known."""
    return chain.sequencer_feed or sequencer.KNOWN.get(chain.chain_id)


def board_of(settings: Settings, symbols: frozenset[str]) -> Board | None:
    """Return who asks exchanges about the assets of these symbols; None where nobody is to."""
    wanted = settings.references
    tickers = {s: t for s, t in {**TICKERS, **wanted.tickers}.items() if s in symbols}
    if not wanted.exchanges or not tickers:
        return None
    return Board([EXCHANGES[n] for n in wanted.exchanges], tickers, every_s=wanted.every_s)
