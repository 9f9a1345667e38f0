"""O1, O2: real Chainlink rounds replayed: false staleness alarms, and how late a freeze is seen.

The rounds are those of Ethereum mainnet (USD feeds April 2023 to January 2024, stETH/ETH two
years); one day is left out of the USD feeds and is left out here.  Every round is judged by
`keeper.oracles.judge` itself, block by block where it matters: at the last block before the next
round.  ``strict`` is the same rule without a grace.

The data is not part of the product: ``KEEPER_REPLAY_DATA`` or ``../shared/data`` beside the
checkout.  Without it nothing is measured, and that is said.
"""

import csv
import gzip
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.line import Line, median, say, spread
from keeper.model import Address, BlockRef, Cause, Feed, Hash, Round
from keeper.oracles.judge import JudgeRules, judge
from keeper.oracles.jumps import Level, step

BLOCK_S = 12
YEAR_S = 365 * 86_400
LEFT_OUT_S = 80_000
"""A gap of an hourly feed that is longer than this is the day that the data leaves out."""
FREEZES = 400
OURS, STRICT = JudgeRules(), JudgeRules(grace_s=0)
FEEDS = {
    "ETHUSD": ("ETH/USD", 3_600),
    "BTCUSD": ("BTC/USD", 3_600),
    "STETHETH": ("stETH/ETH", 86_400),
}
NO_HASH = Hash("0x" + "00" * 32)


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """One feed's real rounds, oldest first."""

    feed: Feed
    rounds: tuple[Round, ...]

    @property
    def gaps(self) -> tuple[tuple[Round, Round], ...]:
        """Neighbours in time, but for the day that is left out."""
        pairs = zip(self.rounds, self.rounds[1:], strict=False)
        longest = LEFT_OUT_S if self.feed.heartbeat_s < LEFT_OUT_S else 10**9
        return tuple((a, b) for a, b in pairs if b.updated_at - a.updated_at < longest)

    @property
    def years(self) -> float:
        """How long it was listened to."""
        return sum(b.updated_at - a.updated_at for a, b in self.gaps) / YEAR_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarms:
    """What one rule said about rounds that were all well."""

    false: int
    per_year: float
    seconds: int
    """For how long they stood, all together."""


def folder() -> Path | None:
    """Return where the rounds are, or None."""
    beside = Path(__file__).resolve().parents[1].parent / "shared" / "data"
    there = Path(os.environ.get("KEEPER_REPLAY_DATA") or beside)
    return there if (there / "chainlink_rounds_ETHUSD.csv.gz").is_file() else None


def history(data: Path, name: str) -> History:
    """Read one feed; rounds without an answer (the first of a phase) are left out."""
    description, heartbeat_s = FEEDS[name]
    feed = Feed(
        address=Address("0x" + "fe" * 20),
        description=description,
        decimals=18 if name == "STETHETH" else 8,
        heartbeat_s=heartbeat_s,
    )
    with gzip.open(data / f"chainlink_rounds_{name}.csv.gz", "rt", encoding="utf-8") as file:
        rows = [
            Round(
                feed=feed.address,
                round_id=int(row["round"]),
                answer=int(row["answer"]),
                updated_at=int(row["update"]),
                decimals=feed.decimals,
            )
            for row in csv.DictReader(file)
        ]
    rounds = sorted((r for r in rows if r.updated_at and r.answer), key=lambda r: r.updated_at)
    return History(feed=feed, rounds=tuple(rounds))


def false_alarms(of: History, rules: JudgeRules) -> Alarms:
    """Count the gaps at whose last block a feed that was well is called stale."""
    found, seconds = 0, 0
    for before, after in of.gaps:
        last_block = after.updated_at - BLOCK_S
        if judge(of.feed, before, _block(last_block), rules).cause is Cause.STALE:
            found += 1
            seconds += last_block - (
                before.updated_at + of.feed.heartbeat_s + rules.grace(of.feed.heartbeat_s)
            )
    return Alarms(false=found, per_year=found / of.years, seconds=seconds)


def delays(of: History, rules: JudgeRules, freezes: int, seed: int = 1) -> tuple[int, ...]:
    """Return, for feeds that fall silent after a random round, how long after the answer that never
    came the alarm is: seconds from when the next real round was due."""
    chance = random.Random(seed)
    found = []
    for before, missing in chance.choices(of.gaps, k=freezes):
        at = before.updated_at + chance.randrange(1, BLOCK_S + 1)
        # jump to where it can be, then go by blocks
        at += max(0, of.feed.heartbeat_s - BLOCK_S) // BLOCK_S * BLOCK_S
        while judge(of.feed, before, _block(at), rules).cause is not Cause.STALE:
            at += BLOCK_S
        found.append(at - missing.updated_at)
    return tuple(found)


def false_jumps(of: History, rules: JudgeRules) -> int:
    """Count the real rounds that the band would have doubted."""
    level: Level | None = None
    found = 0
    for one in of.rounds:
        level, why = step(
            level,
            one.answer,
            _block(one.updated_at),
            band_percent=rules.max_jump_percent,
            hold_s=rules.jump_hold_s,
        )
        found += bool(why)
    return found


def run() -> Iterator[Line]:
    """Yield O1 and O2 of each feed."""
    data = folder()
    if data is None:
        say("O1, O2: the rounds are not here; set KEEPER_REPLAY_DATA to their folder")
        return
    for name in FEEDS:
        say(f"O1, O2: {name}")
        of = history(data, name)
        ours, strict = false_alarms(of, OURS), false_alarms(of, STRICT)
        context = {
            "feed": of.feed.description,
            "rounds": len(of.rounds),
            "feed_years": of.years,
            "heartbeat_s": of.feed.heartbeat_s,
            "grace_s": OURS.grace(of.feed.heartbeat_s),
        }
        yield Line(
            id="O1",
            what=f"false staleness alarms of {of.feed.description}, with grace vs none",
            value=ours.per_year,
            unit="per feed-year",
            reach="<= 1",
            ok=ours.per_year <= 1,
            runs=len(of.gaps),
            spread=(ours.per_year, ours.per_year),
            context=context
            | {
                "false": ours.false,
                "false_s": ours.seconds,
                "strict_per_year": strict.per_year,
                "strict_false": strict.false,
                "false_jumps": false_jumps(of, OURS),
            },
        )
        latest = of.feed.heartbeat_s + OURS.grace(of.feed.heartbeat_s) + BLOCK_S
        late, late_strict = delays(of, OURS, FREEZES), delays(of, STRICT, FREEZES)
        yield Line(
            id="O2",
            what=f"a freeze of {of.feed.description} is seen this long after the answer due",
            value=median(late),
            unit="s",
            reach=f"<= {latest} s: heartbeat, grace and a block",
            ok=max(late) <= latest,
            runs=len(late),
            spread=spread(late),
            context=context | {"strict": median(late_strict)},
        )


def _block(timestamp: int) -> BlockRef:
    return BlockRef(number=1, hash=NO_HASH, parent_hash=NO_HASH, timestamp=timestamp)
