"""C8: kill -9 between any two steps and at random instants, and what the chain says afterwards.

    python -m bench.crash [--trials 2000] [--seed 1] [--database sqlite|postgres] [--at-once 3]
                          [--way batches]

A trial is one kill.  In between blocks are mined, the pool is emptied, blocks are reorganised away.
After some kills a keeper is let live until nothing is left to do.  The checker asks the node, the
relay and the provider of messages, never the keeper's database: every action ran exactly once on
the canonical chain, whatever is there of ours is an action or a nonce used up, and of every action
that ran somebody was told; a relay's transactions were shown to nobody else; and where everything
reverts, no more was sent than the breaker allows until a person has looked.  Of transactions that
carry several liquidations: each account once, by us or by somebody who was faster; of each intent
what the receipt's events say of it was told and nothing else; and no day's gas was past its cap.

Several worlds are there at once, each in a process of its own: most of a trial is waiting.
"""

import argparse
import multiprocessing
import statistics
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, fields, replace
from itertools import cycle

from bench.crash_life import Way
from bench.crash_tally import Tally
from bench.crash_world import Lot, inhabit
from bench.line import Line, say
from keeper.devnet.toolchain import ensure
from tests.postgres import Postgres, Unavailable, postgres_server

KILLS_A_WORLD = 20
WAYS = (Way.PLAIN, Way.RELAY, Way.TWO_KEYS, Way.REVERTS, Way.BATCHES)
AT_ONCE = 3
REACH = 2_000
PLANTED = 8
"""Kills with each planted bug, which must be seen."""
PLANTED_BATCHES = 6
"""The same where each kill leaves several transactions with several intents."""
LOOKS = 4
"""A bug is not there at each instant: so many worlds are looked through until it shows."""


def campaign(
    pool: ProcessPoolExecutor,
    trials: int,
    seed: int,
    *,
    postgres: Postgres | None = None,
    ways: Sequence[Way] = WAYS,
) -> Tally:
    """Kill `trials` times, in some worlds at once."""
    anvil = ensure().anvil
    kills_each = max(1, min(KILLS_A_WORLD, trials // len(ways)))
    lots = [
        Lot(
            anvil=anvil,
            database="" if postgres is None else postgres.new_database(),
            seed=f"{seed}/{at}",
            kills=min(kills_each, trials - at),
            way=way,
        )
        for at, way in zip(range(0, trials, kills_each), cycle(ways), strict=False)
    ]
    found = Tally()
    for tally in pool.map(inhabit, lots):
        found += tally
        say(f"crash: {found.trials} of {trials} killed, {found.violations} violations")
        for lot in tally.lots:
            say(f"crash: violations in the world {lot}")
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Bugs:
    """What was seen of keepers with a planted bug."""

    empty: Tally
    """They start with an empty journal: what was done is done again."""
    mute: Tally
    """They forget at each start what was still to be told."""
    forgiving: Tally
    """They forgive at each start what reverted."""
    given_out_again: Tally
    """They give out at each start what a transaction carries besides its first intent."""
    left_behind: Tally
    """They forget at each start that it carries more than that."""
    spendthrift: Tally
    """They forget at each start what was paid today."""

    @property
    def caught(self) -> bool:
        """Whether each of them showed."""
        return bool(
            self.empty.duplicates
            and self.mute.lost_alerts
            and self.forgiving.unbridled
            and self.given_out_again.duplicates
            and self.left_behind.lost_alerts
            and self.spendthrift.past_caps
        )

    def __str__(self) -> str:
        empty, mute, forgiving = self.empty, self.mute, self.forgiving
        return (
            f"an empty journal at every start: {empty.duplicates} duplicates in {empty.trials}"
            f" trials; nothing kept of what was to be told: {mute.lost_alerts} lost alerts in"
            f" {mute.trials}; reverts forgiven: {forgiving.unbridled} too many in"
            f" {forgiving.trials}; carried intents given out again:"
            f" {self.given_out_again.duplicates} duplicates in {self.given_out_again.trials};"
            f" left behind: {self.left_behind.lost_alerts} lost alerts in"
            f" {self.left_behind.trials}; the day's gas forgotten: {self.spendthrift.past_caps}"
            f" past the cap in {self.spendthrift.trials}"
        )


def planted(pool: ProcessPoolExecutor, seed: int) -> Bugs:
    """Kill keepers with each of the planted bugs, until each shows."""
    lot = Lot(anvil=ensure().anvil, database="", seed=str(seed), kills=PLANTED, way=Way.PLAIN)
    lots = (
        replace(lot, forgetful=True),
        replace(lot, mute=True),
        replace(lot, way=Way.REVERTS, forgiving=True),
        *(
            replace(lot, way=Way.BATCHES, planted=bug, kills=PLANTED_BATCHES)
            for bug in ("given out again", "left behind", "spendthrift")
        ),
    )
    bugs = Bugs(**dict(zip(_NAMES, pool.map(inhabit, lots), strict=True)))
    for look in range(1, LOOKS):
        if bugs.caught:
            break
        again = pool.map(inhabit, [replace(lot, seed=f"{seed}/{look}") for lot in lots])
        found = zip(_NAMES, again, strict=True)
        bugs = Bugs(**{name: getattr(bugs, name) + tally for name, tally in found})
    return bugs


_NAMES = tuple(field.name for field in fields(Bugs))


def run(
    trials: int = REACH,
    seed: int = 1,
    database: str = "both",
    at_once: int = AT_ONCE,
    ways: Sequence[Way] = WAYS,
) -> Iterator[Line]:
    """Run it on SQLite and, where it is installed, on PostgreSQL; half the trials each."""
    spawned = multiprocessing.get_context("spawn")
    with ExitStack() as stack:
        pool = stack.enter_context(ProcessPoolExecutor(at_once, mp_context=spawned))
        bugs = planted(pool, seed)
        servers: dict[str, Postgres | None] = {}
        if database in ("both", "sqlite"):
            servers["sqlite"] = None
        if database in ("both", "postgres"):
            there = stack.enter_context(postgres_server())
            if isinstance(there, Unavailable):
                say(f"crash: {there.reason}")
            else:
                servers["postgres"] = there
        share = -(-trials // max(len(servers), 1))
        for name, server in servers.items():
            began = time.monotonic()
            tally = campaign(pool, share, seed, postgres=server, ways=ways)
            took_s = time.monotonic() - began
            yield _line(name, tally, bugs, seed=seed, took_s=took_s, scale=trials)


def _line(name: str, tally: Tally, bugs: Bugs, *, seed: int, took_s: float, scale: int) -> Line:
    resumed = tally.resumed_s or [0.0]
    return Line(
        id="C8",
        what=f"kill -9 on {name}: duplicates, lost intents and lost alerts",
        value=tally.violations,
        unit="violations",
        reach=f"0 of {REACH}",
        ok=tally.violations == 0 and bugs.caught and max(resumed) <= 10 and scale >= REACH,
        runs=tally.trials,
        spread=(tally.violations, tally.violations),
        context={
            "trials": tally.trials,
            "seed": seed,
            "killed_at": dict(sorted(tally.at.items())),
            "ways": dict(sorted(tally.ways.items())),
            "duplicates": tally.duplicates,
            "lost_intents": tally.lost_intents,
            "lost_alerts": tally.lost_alerts,
            "handed_to_the_relay": tally.private,
            "shown_to_others_than_the_relay": tally.shown,
            "reverts": tally.reverts,
            "reverts_past_the_breaker": tally.unbridled,
            "transactions_with_several": tally.several,
            "intents_in_those": tally.carried,
            "intents_that_others_were_faster_at": tally.failed,
            "told_other_than_the_events_say": tally.misjudged,
            "past_the_caps": tally.past_caps,
            "unfinished": tally.unfinished,
            "worlds_with_violations": tally.lots,
            "actions_done": tally.actions,
            "nonces_used_up": tally.cancelled,
            "alerts_said_again": tally.repeated_alerts,
            "resume_s_p50": statistics.median(resumed),
            "resume_s_most": max(resumed),
            "planted_bug_caught": bugs.caught,
            "planted_bug": str(bugs),
            "trials_on_all_databases": scale,
            "seconds": round(took_s, 1),
        },
    )


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(prog="python -m bench.crash", description=__doc__)
    parser.add_argument("--trials", type=int, default=REACH)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--database", choices=("both", "sqlite", "postgres"), default="both")
    parser.add_argument("--at-once", type=int, default=AT_ONCE, help="worlds at the same time")
    parser.add_argument("--way", choices=[str(way) for way in WAYS], help="to live; all by default")
    options = parser.parse_args()
    ways = (Way(options.way),) if options.way else WAYS
    at_once = max(1, options.at_once)
    for line in run(options.trials, options.seed, options.database, at_once, ways):
        print(line.json(), flush=True)


if __name__ == "__main__":
    main()
