"""The status page: one HTML document without scripts, images or anything fetched from elsewhere.

Text becomes HTML in `text` and nowhere else: whatever chains, labels and errors say is first made
plain (no control or direction characters, capped) and then escaped.
"""

import base64
import hashlib
import math
from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

from keeper.alerts.machine import level_word
from keeper.alerts.numbers import duration_text, plain, short
from keeper.model import (
    AlertLevel,
    Assessed,
    Cause,
    FeedVerdict,
    OpenPlan,
    PriceVerdict,
    Reckoned,
    Taken,
)
from keeper.risk.spread import Spread
from keeper.strategies.text import have, health, usd
from keeper.strategies.text import price as dollars
from keeper.units import UINT256_MAX, WAD, Wad
from keeper.web.status import (
    ActionStatus,
    ChainStatus,
    OracleStatus,
    PositionStatus,
    Status,
    unwatched,
    watching,
    worst_first,
)

REFRESH_S: Final = 15
LONGEST: Final = 300
SHOWN: Final = 200
"""Rows of one table; what is left out is counted aloud."""

STYLE: Final = """
:root{color-scheme:light dark;--bg:#fbfbfa;--card:#fff;--ink:#1d2125;--dim:#5c656e;--line:#e2e4e6;
--good:#1a7f43;--info:#1f5fa8;--warn:#8f5a00;--bad:#b3261e;--unknown:#6b3fa0}
@media(prefers-color-scheme:dark){:root{--bg:#14171a;--card:#1c2024;--ink:#e6e8ea;--dim:#9aa4ad;
--line:#30363c;--good:#5fcf8b;--info:#7fb5f0;--warn:#e5b04c;--bad:#ff8a80;--unknown:#c5a3f5}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--ink);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
main{max-width:84rem;margin:0 auto;padding:1.2rem 1rem 3rem}
h1{font-size:1.35rem;margin:0}h2{font-size:1.1rem;margin:2rem 0 .2rem}
h3{font-size:.95rem;margin:1.3rem 0 .4rem}
p{margin:.25rem 0}.dim{color:var(--dim)}
.verdict{padding:.6rem .8rem;margin:.8rem 0;border:1px solid var(--line);border-left-width:5px;
border-radius:6px;background:var(--card)}
.good{color:var(--good)}.info{color:var(--info)}.warn{color:var(--warn)}.bad{color:var(--bad)}
.unknown{color:var(--unknown)}
.verdict.good{border-left-color:var(--good)}.verdict.bad{border-left-color:var(--bad)}
table{width:100%;border-collapse:collapse;background:var(--card);border:1px solid var(--line)}
th,td{padding:.4rem .6rem;text-align:left;vertical-align:top;border-top:1px solid var(--line);
white-space:nowrap}
th{color:var(--dim);font-weight:600;font-size:.85rem;border-top:0;white-space:nowrap}
td.t{white-space:normal;overflow-wrap:anywhere;min-width:7rem}
.n{text-align:right;font-variant-numeric:tabular-nums}
.scroll{overflow-x:auto}
@media(max-width:52rem){
thead{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
table,tbody,tr,td{display:block;width:100%}
tr{padding:.4rem 0;border-top:1px solid var(--line)}tbody tr:first-child{border-top:0}
td{display:flex;justify-content:space-between;gap:1rem;border:0;padding:.12rem .7rem;
text-align:right;white-space:normal;overflow-wrap:anywhere}
td::before{content:attr(data-label);color:var(--dim);text-align:left;white-space:nowrap}
td:empty{display:none}}
"""

STYLE_HASH: Final = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
"""For the content security policy: this style and no other."""

_LEVELS: Final = {
    AlertLevel.CLEAR: "",
    AlertLevel.INFO: "info",
    AlertLevel.WARNING: "warn",
    AlertLevel.CRITICAL: "bad",
}
"""The class of a cell."""

Cell = tuple[str, str]
"""Text, not HTML, and the names of its classes."""


def text(value: str, longest: int = LONGEST) -> str:
    """Return `value` as HTML that shows it: plain first, then escaped, quotes too."""
    return escape(plain(value, longest), quote=True)


def page(status: Status) -> str:
    """Return the whole document."""
    reasons = unwatched(status)
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width,initial-scale=1">',
        f'<meta http-equiv="refresh" content="{REFRESH_S}">',
        f"<title>{'Keeper' if not reasons else 'Keeper: not watching'}</title>",
        f"<style>{STYLE}</style></head><body><main><h1>Keeper</h1>",
        _verdict(status, reasons),
    ]
    parts += (_chain(chain, status.now) for chain in status.chains)
    parts += _section("Last actions", _actions(status.actions, status.now), "Nothing was done yet.")
    parts += _section(
        "Liquidations in the watched markets",
        _liquidations(status.liquidations, status.now),
        "None was seen yet.",
    )
    up = duration_text(max(0, status.now - status.started_at))
    foot = (
        f"Keeper {status.version}, up {up}, {status.outbox_waiting} messages waiting. "
        f"This page changes nothing and loads itself again every {REFRESH_S} s."
    )
    parts.append(f'<h2></h2><p class="dim">{text(foot)}</p></main></body></html>')
    return "".join(parts)


def _verdict(status: Status, reasons: Sequence[str]) -> str:
    lines = [*reasons, *status.faults]
    if not lines:
        count = len(status.chains)
        chains = "1 chain" if count == 1 else f"{count} chains"
        return f'<p class="verdict good">Watching {chains}.</p>'
    said = "".join(f"<p>{text(line)}</p>" for line in lines)
    return f'<div class="verdict bad">{said}</div>'


def _chain(chain: ChainStatus, now: int) -> str:
    head = "no block yet"
    if chain.head is not None:
        age = "" if chain.head_age_s is None else f", {duration_text(int(chain.head_age_s))} ago"
        head = f"block {chain.head.number:,}{age}"
    mode = "armed: transactions are sent" if chain.armed else "watching only: nothing is sent"
    ranked = worst_first(chain.positions)
    below = [one for one in ranked if one.level is not AlertLevel.CLEAR or not _known(one)]
    others = [one for one in ranked if one not in below]
    people = f"{chain.watched:,} watched accounts, {chain.borrowers:,} borrowers"
    return "".join(
        (
            f"<h2>{text(chain.name)}</h2>",
            f"<p>{text(f'Chain {chain.chain_id}, {head}. {people}; {mode}.')}</p>",
            *_section(
                "Watched or liquidatable positions below a threshold",
                _positions(below),
                "None: every watched position is above its thresholds."
                if watching(chain)
                else "Not known: there is no fresh block.",
            ),
            *(_section("Other watched positions", _positions(others), "") if others else ()),
            *_section(
                "All accounts, counted in floats",
                _spreads(chain.spreads),
                "They were not counted yet.",
            ),
            *_section("Open plans", _plans(chain.plans, now), "No transaction is on its way."),
            *_section("Oracles", _oracles(chain.oracles), "No price source is known yet."),
        )
    )


def _spreads(spreads: Iterable[tuple[str, Spread]]) -> str:
    rows = []
    titles: tuple[str, ...] = ()
    for market, spread in spreads:
        bounds = tuple(f"Below {bound / WAD:g}" for bound, _ in spread.below)
        titles = ("Market", "Accounts", *bounds, "Unknown", "Lowest", "Block")
        lowest = math.floor(spread.lowest * 1_000) / 1_000 if math.isfinite(spread.lowest) else None
        cells = [f"{n:,}" for n in (spread.accounts, *(n for _, n in spread.below), spread.unknown)]
        last = ("-" if lowest is None else f"{lowest:,.3f}", f"{spread.block_number:,}")
        rows.append(((market, ""), *((cell, "n") for cell in (*cells, *last))))
    return _table(titles, rows)


def _known(position: PositionStatus) -> bool:
    return isinstance(position.assessment, Assessed)


def _positions(positions: Iterable[PositionStatus]) -> str:
    rows = []
    for position in positions:
        found = position.assessment
        account = found.position.account
        name = f"{position.label} ({short(account)})" if position.label else short(account)
        start: tuple[Cell, ...] = ((found.position.market.name, ""), (name, "t"))
        if isinstance(found, Assessed):
            kind = _LEVELS[position.level]
            state = level_word(position.level, found.health_factor) if kind else ""
            rows.append(
                (
                    *start,
                    (_health(found.health_factor), f"n {kind}"),
                    (usd(found.collateral), "n"),
                    (usd(found.debt), "n"),
                    (state, kind),
                    (position.decision, "t"),
                )
            )
        else:
            none = ("-", "n")
            why = position.decision or found.reason
            unknown = (("unknown", "n unknown"), none, none, ("unknown", "unknown"), (why, "t"))
            rows.append((*start, *unknown))
    titles = ("Market", "Account", "Health", "Collateral", "Debt", "State", "Decision")
    return _table(titles, rows)


def _health(value: Wad) -> str:
    return "no debt" if value == UINT256_MAX else health(value)


def _plans(plans: Iterable[OpenPlan], now: int) -> str:
    rows = []
    for plan in plans:
        intent = plan.plan.intent
        last = plan.attempts[-1].tx_hash if plan.attempts else ""
        left = plan.plan.deadline - now
        rows.append(
            (
                (intent.kind.replace("_", " "), ""),
                (f"{intent.position.market.name} {short(intent.position.account)}", ""),
                (have(intent.amount, intent.asset), "n"),
                (plan.state.value, ""),
                (str(plan.nonce), "n"),
                (short(last), ""),
                (duration_text(left) if left > 0 else "passed", "n"),
                (intent.reason, "t"),
            )
        )
    titles = ("Kind", "Position", "Amount", "State", "Nonce", "Transaction", "Deadline", "Reason")
    return _table(titles, rows)


def _oracles(oracles: Iterable[OracleStatus]) -> str:
    rows = []
    for oracle in sorted(oracles, key=lambda o: (o.price.usable, not o.price.suspicions)):
        price = oracle.price
        feeds = "; ".join(_feed(verdict) for verdict in price.feeds)
        if not feeds:
            feeds = "fixed price" if not price.source.untraced else "not traced"
        rows.append(
            (
                (oracle.market, ""),
                (plain(price.asset.symbol, 24), ""),
                ("-" if price.price is None else dollars(price.price), "n"),
                _referenced(price),
                _apart(price),
                (feeds, "t"),
                _state(price),
                (_why(price), "t"),
            )
        )
    titles = ("Market", "Asset", "Price", "Reference", "Difference", "Feeds", "State", "Reason")
    return _table(titles, rows)


def _referenced(price: PriceVerdict) -> Cell:
    """What independent sources say, or that they do not; nobody may have been asked."""
    if price.reference is None:
        return "-", "n"
    said = price.reference.price
    return ("none", "n warn") if said is None else (dollars(said), "n")


def _apart(price: PriceVerdict) -> Cell:
    bps = price.difference_bps
    doubted = any(s.cause in (Cause.DISAGREES, Cause.FIXED) for s in price.suspicions)
    return "-" if bps is None else f"{bps / 100:+.2f} %", "n bad" if doubted else "n"


def _state(price: PriceVerdict) -> Cell:
    if not price.usable:
        return "not usable", "bad"
    if price.hold_liquidations:
        return "liquidations held", "warn"
    return ("doubted", "warn") if price.suspicions else ("usable", "good")


def _why(price: PriceVerdict) -> str:
    """Every doubt; where there is none, why there is no reference."""
    doubts = "; ".join(dict.fromkeys(s.reason for s in price.suspicions)) or price.reason
    if doubts or price.reference is None:
        return doubts
    return f"no reference: {price.reference.reason}" if price.reference.reason else ""


def _feed(verdict: FeedVerdict) -> str:
    feed = verdict.feed
    how = " learned" if feed.heartbeat_learned else " assumed" if feed.heartbeat_assumed else ""
    beat = f"{feed.heartbeat_s} s{how}"
    age = "unknown age" if verdict.age_s is None else f"{verdict.age_s} s"
    return f"{feed.description} {age} of {beat}"


def _actions(actions: Iterable[ActionStatus], now: int) -> str:
    rows = []
    for action in actions:
        intent = action.intent
        rows.append(
            (
                (f"{duration_text(max(0, now - action.at))} ago", ""),
                (intent.kind.replace("_", " "), ""),
                (f"{intent.position.market.name} {short(intent.position.account)}", ""),
                (have(intent.amount, intent.asset), "n"),
                (action.outcome, "t"),
                (short(action.tx_hash or ""), ""),
                (intent.reason, "t"),
                (intent.intent_id, ""),
            )
        )
    titles = ("When", "Kind", "Position", "Amount", "Outcome", "Transaction", "Reason", "Intent")
    return _table(titles, rows)


def _liquidations(found: Iterable[Reckoned], now: int) -> str:
    rows = []
    for one in found:
        heard = one.liquidated
        profit = "unknown" if one.profit is None else usd(one.profit)
        mine = one.taken is Taken.OURS
        rows.append(
            (
                (f"{duration_text(max(0, now - heard.block.timestamp))} ago", ""),
                (f"{heard.position.market.name} {short(heard.position.account)}", ""),
                (short(heard.liquidator), ""),
                (have(heard.covered, heard.debt), "n"),
                (have(heard.seized, heard.collateral), "n"),
                (profit, "n"),
                (one.taken.replace("_", " "), "good" if mine else "warn"),
                (one.reason, "t"),
            )
        )
    titles = ("When", "Position", "By", "Repaid", "Took", "Profit", "Whose", "Reason")
    return _table(titles, rows)


def _section(title: str, table: str, empty: str) -> tuple[str, ...]:
    return (f"<h3>{text(title)}</h3>", table or f'<p class="dim">{text(empty)}</p>')


def _table(titles: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    """Return a table of text cells, or "" without rows; class names are ours alone."""
    if not rows:
        return ""
    numeric = ["n" in classes.split() for _, classes in rows[0]]
    head = "".join(
        f'<th scope="col"{" class=n" if right else ""}>{text(title)}</th>'
        for title, right in zip(titles, numeric, strict=True)
    )
    body = "".join(
        "<tr>"
        + "".join(
            f'<td class="{classes}" data-label="{text(title)}">{text(value)}</td>'
            for title, (value, classes) in zip(titles, row, strict=True)
        )
        + "</tr>"
        for row in rows[:SHOWN]
    )
    more = len(rows) - SHOWN
    rest = f'<p class="dim">and {more} more</p>' if more > 0 else ""
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div class="scroll">{table}</div>{rest}'
