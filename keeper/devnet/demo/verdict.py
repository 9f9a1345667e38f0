"""What came of it, read from the chain: the keeper's own word is only compared, never believed.

Health factors are asked of the Pool by plain calls and another decoder; what was done is read from
receipts and events; only decision times, alerts and reasons for refusals are the keeper's own.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from eth_utils.crypto import keccak

from keeper.devnet.bot_api import Said
from keeper.devnet.demo.house import CONFIRMATIONS, House
from keeper.devnet.demo.outcome import Deed, Verdict, wad_text
from keeper.devnet.demo.story import BLOCK_S, Chronicle
from keeper.devnet.network import Devnet
from keeper.engine.engine import Engine
from keeper.engine.passes import Pass
from keeper.model import (
    Address,
    Assessed,
    Assessment,
    Declined,
    Hash,
    Intent,
    IntentKind,
    Refuse,
    Submitted,
)
from keeper.store.actions import Action, SqlActions
from keeper.store.database import Database
from keeper.store.outbox import OutboxCounts, SqlOutbox
from keeper.units import WAD

LIQUIDATION_CALL = (
    "0x"
    + keccak(text="LiquidationCall(address,address,address,uint256,uint256,address,bool)").hex()
)
LIQUIDATED = "0x" + keccak(text="Liquidated(bytes32,address,address,uint256)").hex()
"""Of our liquidator."""
TOLD_WITHIN_S = BLOCK_S + 2
"""From a block in which somebody comes into danger to the message's being handed over."""
CONFIRMED = "confirmed"
NOT_SENT = ("declined", "rehearsed")
FAILED = ("reverted", "abandoned")
"""Mined without effect: gas was spent, and a reason is in the journal."""


async def judge(
    *,
    devnet: Devnet,
    house: House,
    engine: Engine,
    chronicle: Chronicle,
    said: Sequence[Said],
    database: Database,
    seconds: float,
) -> Verdict:
    """Compare, count and look for whatever should not have happened."""
    protected = {
        devnet.deployment.account("alice").address,
        devnet.deployment.account("bob").address,
    }
    compared, different = await _compare(devnet, engine)
    deeds, stray = await _deeds(devnet, house, await SqlActions(database).last(10_000))
    refused = _refused(chronicle)
    missed = await _missed(devnet, engine, refused)
    counts = await SqlOutbox(database).counts()
    alerts = _alerts(chronicle, counts)
    liquidated = await _liquidated(devnet)
    passes = [p for p in chronicle.passes if not p.orphaned]
    told = told_after(chronicle, said)
    faults = [
        *(f"health differs from the Pool's: {line}" for line in different),
        *(f"missed: {line}" for line in missed),
        *(f"a protected account was liquidated: {a}" for a in sorted(protected & liquidated)),
        *stray,
        *_twice(deeds),
        *out_of_order(chronicle.passes),
        *await _kept(devnet, house),
        *_unserved(protected, deeds),
        *_alert_faults(alerts, counts),
        *(f"{after:.1f} s until Telegram heard" for after in told if after > TOLD_WITHIN_S),
    ]
    if not compared:
        faults.append("nothing was compared")
    if not any(p.orphaned for p in chronicle.passes):
        faults.append("the reorganisation was not seen")
    return Verdict(
        positions=sum(len(market.book) for market in engine.markets),
        compared=compared,
        different=different,
        alerts=alerts,
        deeds=deeds,
        refused=refused,
        missed=missed,
        rpc_calls_per_block=_mean([p.rpc_calls for p in passes]),
        decision_ms=_quantiles([p.decision_s for p in chronicle.passes]),
        broadcast_ms=_quantiles(
            [p.broadcast_s for p in chronicle.passes if p.broadcast_s is not None]
        ),
        told_ms=_quantiles(told),
        reorg_depths=tuple(p.orphaned for p in chronicle.passes if p.orphaned),
        seconds=seconds,
        liquidator=house.liquidator,
        faults=tuple(faults),
    )


async def _compare(devnet: Devnet, engine: Engine) -> tuple[int, tuple[str, ...]]:
    """Hold every account of the book against the Pool's own answer at the same block."""
    assert engine.last is not None
    block = hex(engine.last.block.number)
    different: list[str] = []
    compared = 0
    for market in engine.markets:
        view = engine.readings[market.id.name].view
        accounts = sorted({*market.book.accounts(), *(b.address for b in devnet.borrowers)})
        answers = await devnet.account_data_of(accounts, block)
        for account, answer in zip(accounts, answers, strict=True):
            compared += 1
            holdings = market.holdings(account)
            if holdings is None:
                different.append(f"{account} is not in the book")
                continue
            ours = view.contract_health(holdings)
            pool = (answer[5], answer[0], answer[1])
            if (ours.health_factor, ours.collateral, ours.debt) != pool:
                different.append(f"{account}: {ours} is not {pool}")
    return compared, tuple(different)


async def _deeds(
    devnet: Devnet, house: House, actions: Sequence[Action]
) -> tuple[tuple[Deed, ...], tuple[str, ...]]:
    """Return what the journal says was done, as the chain tells it, and what does not fit.

    A transaction may carry several liquidations: each must have an event of its own there, and the
    parts of the gas must be all that was used.
    """
    faults: list[str] = []
    deeds: list[Deed] = []
    seen: set[tuple[str, Address]] = set()
    for action in reversed(actions):
        if action.state in (*NOT_SENT, *FAILED):
            continue
        if action.state != CONFIRMED or action.tx_hash is None:
            faults.append(f"intent {action.intent.intent_id} is still {action.state}")
            continue
        receipt = await devnet.anvil.receipt(action.tx_hash)
        if receipt is None or int(receipt["status"], 16) != 1:
            faults.append(f"intent {action.intent.intent_id} is confirmed and not on the chain")
            continue
        of = action.intent.position.account
        if (action.tx_hash, of) in seen:
            faults.append(f"two intents claim {action.tx_hash} for {of}")
        seen.add((action.tx_hash, of))
        if action.intent.kind is IntentKind.LIQUIDATE and len(_of(receipt, of)) != 1:
            faults.append(f"{action.tx_hash} does not say once that {of} was liquidated")
            continue
        if action.intent.kind not in (IntentKind.APPROVE, IntentKind.DEPLOY):
            deeds.append(await _deed(devnet, action, receipt))
    return tuple(deeds), (*faults, *await _unaccounted(devnet, house, actions))


async def _unaccounted(devnet: Devnet, house: House, actions: Sequence[Action]) -> list[str]:
    """Return transactions that the journal does not know, and gas that nobody's part covers."""
    faults = []
    sent = [action for action in actions if action.state not in NOT_SENT]
    nonces = {action.nonce for action in sent}
    gas: dict[Hash, int] = {}
    for receipt in (action.receipt for action in sent):
        if receipt is not None:
            gas[receipt.tx_hash] = gas.get(receipt.tx_hash, 0) + receipt.gas_used
    nonce = int(await devnet.anvil.rpc("eth_getTransactionCount", house.keeper, "latest"), 16)
    if nonce != len(nonces):
        faults.append(
            f"the keeper's account sent {nonce} transactions, its journal knows {len(nonces)}"
        )
    for tx_hash, paid in gas.items():
        used = await devnet.anvil.receipt(tx_hash)
        if used is None or int(used["gasUsed"], 16) != paid:
            faults.append(f"the parts of the gas of {tx_hash} are {paid}, which is not all of it")
    return faults


async def _deed(devnet: Devnet, action: Action, receipt: Mapping[str, Any]) -> Deed:
    block = int(receipt["blockNumber"], 16)
    account = action.intent.position.account
    before = await devnet.account_data(account, hex(block - 1))
    after = await devnet.account_data(account, hex(block))
    gas = int(receipt["gasUsed"], 16) if action.receipt is None else action.receipt.gas_used
    profit = None
    if action.intent.kind is IntentKind.LIQUIDATE:
        gas_wei = gas * int(receipt["effectiveGasPrice"], 16)
        profit = await _profit(devnet, receipt, account, gas_wei)
    return Deed(
        intent=action.intent.intent_id,
        kind=action.intent.kind,
        position=account,
        tx=str(action.tx_hash),
        block=block,
        gas=gas,
        profit_usd=profit,
        health_before=before[5],
        health_after=after[5],
    )


def _of(receipt: Mapping[str, Any], account: Address) -> list[Mapping[str, Any]]:
    """Return the market's events that `account` was liquidated."""
    return [
        log
        for log in receipt["logs"]
        if log["topics"][0] == LIQUIDATION_CALL and log["topics"][3][-40:] == account[2:]
    ]


async def _profit(
    devnet: Devnet, receipt: Mapping[str, Any], account: Address, gas_wei: int
) -> float:
    """Value what the event says was seized and repaid, at the oracle's prices of its block."""
    [event] = _of(receipt, account)
    collateral, debt = ("0x" + topic[-40:] for topic in event["topics"][1:3])
    repaid, seized = (int(event["data"][2 + 64 * i : 66 + 64 * i], 16) for i in range(2))
    block = receipt["blockNumber"]
    lent = [
        log
        for log in receipt["logs"]
        if log["topics"][0] == LIQUIDATED and log["topics"][2][-40:] == account[2:]
    ]

    async def usd(asset: str, amount: int) -> float:
        reserve = next(r for r in devnet.deployment.reserves if r.asset == asset)
        price = await devnet.asset_price_at(reserve.symbol, block)
        return float(amount * price / 10**reserve.decimals)

    weth = devnet.deployment.reserve("WETH").asset
    gross = (
        await usd(collateral, int(lent[0]["data"], 16))
        if lent
        else await usd(collateral, seized) - await usd(debt, repaid)
    )
    return round(gross - await usd(weth, gas_wei), 2)


async def _liquidated(devnet: Devnet) -> set[Address]:
    """Return everybody whom anyone liquidated."""
    logs = await devnet.anvil.rpc(
        "eth_getLogs",
        {
            "address": devnet.deployment.pool,
            "topics": [LIQUIDATION_CALL],
            "fromBlock": "0x0",
            "toBlock": "latest",
        },
    )
    return {Address("0x" + log["topics"][3][-40:]) for log in logs}


def _refused(chronicle: Chronicle) -> dict[Address, str]:
    """Return the last reason given for each account that was refused or declined and needs it."""
    reasons: dict[Address, str] = {}
    for done in chronicle.passes:
        for found in done.assessments:
            if isinstance(found, Assessed) and found.health_factor >= WAD:
                reasons.pop(found.position.account, None)
        for decision in done.decisions:
            if isinstance(decision, Refuse):
                reasons[decision.position.account] = decision.reason
        for submission in done.submissions:
            account = submission.intent.position.account
            if isinstance(submission, Declined):
                reasons[account] = submission.reason
            elif isinstance(submission, Submitted):
                reasons.pop(account, None)
    return reasons


async def _missed(
    devnet: Devnet, engine: Engine, refused: Mapping[Address, str]
) -> tuple[str, ...]:
    """Return who is below 1 at the end, by the Pool, without a reason given."""
    assert engine.last is not None
    accounts = [b.address for b in devnet.borrowers]
    answers = await devnet.account_data_of(accounts, hex(engine.last.block.number))
    return tuple(
        f"{account} at {wad_text(answer[5])}"
        for account, answer in zip(accounts, answers, strict=True)
        if answer[5] < WAD and account not in refused
    )


def out_of_order(passes: Sequence[Pass]) -> list[str]:
    """Return blocks whose liquidations did not go out by value at risk, largest first.

    Who was in danger a block before already, and not worth it then, comes after those who are new:
    values may rise once, if all that follows was in danger before.  Nonces are given in the order
    of sending: what has the lower one was sent before, and what shares one was sent at once.
    """
    faults = []
    before: frozenset[Address] = frozenset()
    for done in passes:
        sent: dict[int, list[Intent]] = {}
        for s in done.submissions:
            if isinstance(s, Submitted) and s.intent.kind is IntentKind.LIQUIDATE:
                sent.setdefault(s.open_plan.nonce, []).append(s.intent)
        ordered = [sent[nonce] for nonce in sorted(sent)]
        rises = [at for at, (a, b) in enumerate(pairwise(ordered), 1) if _rises(a, b)]
        later = {i.position.account for some in ordered[rises[0] :] for i in some} if rises else {}
        if len(rises) > 1 or not before.issuperset(later):
            faults.append(f"block {done.block.number}: not by value at risk")
        before = frozenset(a.position.account for a in done.assessments if _in_danger(a))
    return faults


def _rises(some: Sequence[Intent], following: Sequence[Intent]) -> bool:
    return min(i.value_at_risk for i in some) < max(i.value_at_risk for i in following)


def _in_danger(assessment: Assessment) -> bool:
    return isinstance(assessment, Assessed) and assessment.health_factor < WAD


def _twice(deeds: Sequence[Deed]) -> list[str]:
    """Return actions that the chain says were not called for when they were mined.

    A second one on a position is right only if the position was in danger again right before it.
    """
    faults = []
    for i, deed in enumerate(deeds):
        earlier = any(d.position == deed.position for d in deeds[:i])
        limit = WAD if deed.kind is IntentKind.LIQUIDATE else WAD * 113 // 100
        if deed.health_before >= limit and earlier:
            faults.append(f"{deed.position} was acted on twice: {deed.intent}")
    return faults


async def _kept(devnet: Devnet, house: House) -> list[str]:
    """Return what the liquidator still has: it keeps nothing."""
    if house.liquidator is None:
        return []
    faults = []
    for reserve in devnet.deployment.reserves:
        held = await devnet.deployer.call(
            reserve.asset, "TestnetERC20", "balanceOf", house.liquidator
        )
        if held:
            faults.append(f"the liquidator kept {held} of {reserve.symbol}")
    return faults


def _unserved(protected: set[Address], deeds: Sequence[Deed]) -> list[str]:
    served = {d.position for d in deeds if d.kind in (IntentKind.TOP_UP, IntentKind.REPAY)}
    return [f"{account} was not protected" for account in sorted(protected - served)]


def _alerts(chronicle: Chronicle, counts: OutboxCounts) -> dict[str, int]:
    """Count what was put into the outbox by kind, and what was acknowledged."""
    kinds = [m.kind for done in chronicle.passes for m in done.messages]
    return {
        "fired": kinds.count("fired"),
        "delivered": counts.delivered,
        "resolved": kinds.count("resolved"),
    }


def _alert_faults(alerts: Mapping[str, int], counts: OutboxCounts) -> list[str]:
    faults = []
    if counts.pending or counts.held or counts.failed:
        faults.append(f"messages were not delivered: {counts}")
    faults += [f"no alert was {what}" for what, count in alerts.items() if not count]
    return faults


def told_after(chronicle: Chronicle, said: Sequence[Said]) -> list[float]:
    """Return for each warning of a new danger the seconds from its block to Telegram's hearing.

    A chat hears one message a second: what has to wait for its turn is counted with the wait.
    """
    found = []
    for done in chronicle.passes:
        if (began := chronicle.mined_at.get(done.block.hash)) is None:
            continue
        for message in done.messages:
            channel, _, number = message.chat.partition(":")
            if channel == "telegram" and message.kind in {"fired", "worse"}:
                first = message.text.partition("\n")[0]
                heard = (s.at for s in said if s.chat_id == int(number) and first in s.text)
                found.append(next((at - began for at in heard if at >= began), math.inf))
    return found


def _mean(values: Sequence[int]) -> float:
    return round(sum(values) / len(values), 2) if values else 0.0


def _quantiles(seconds: Sequence[float]) -> dict[str, float]:
    """Return p50 and p99 in milliseconds, by nearest rank; empty without a sample."""
    ordered = sorted(seconds)
    if not ordered:
        return {}
    return {
        name: round(1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))], 2)
        for name, share in (("p50", 0.5), ("p99", 0.99))
    }


__all__ = ["CONFIRMATIONS", "Deed", "Verdict", "judge", "wad_text"]
