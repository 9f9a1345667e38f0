"""C8: kill -9 between any two steps and at random instants, and what the chain says afterwards.

    python -m bench.crash [--trials 2000] [--seed 1] [--database sqlite|postgres]

A trial is one kill.  In between blocks are mined, the pool is emptied, blocks are reorganised away.
After every twenty kills a keeper is let live until nothing is left to do.  The checker asks the
node, by plain JSON-RPC, and the provider of messages, never the keeper's database: every action ran
exactly once on the canonical chain, whatever is there of ours is an action or a nonce used up, and
of every action that ran somebody was told.
"""

import argparse
import json
import multiprocessing
import random
import statistics
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from bench.crash_life import POINTS, Fate, Place, live
from bench.line import Line, say
from keeper.devnet.anvil import AnvilProcess
from keeper.devnet.toolchain import ensure
from tests.execution.fakes import SIGNER, TARGET
from tests.execution.local import COUNTER
from tests.postgres import Postgres, Unavailable, postgres_server

ACTIONS_A_LIFE = 2
"""What the market wants more, each time that somebody begins to live."""
KILLS_A_WORLD = 20
BLOCKS_S = (0.015, 0.03, 0.1)
"""Between blocks."""
REORG_DEPTHS = (1, 2)
"""Below the confirmations that a keeper here waits for."""
LONGEST_LIFE_S = 1.2
"""After which a life that did not come to its point is ended all the same, at that instant."""
LONGEST_END_S = 60.0
REACH = 2_000
PLANTED = 12
"""Kills with the planted bug, which must be seen."""


class Chain:
    """A node, asked by plain JSON-RPC."""

    def __init__(self, url: str) -> None:
        self._url = url

    def ask(self, method: str, *params: Any) -> Any:
        """Return the result.  Raises RuntimeError with the node's words."""
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
        request = urllib.request.Request(
            self._url, body.encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            document = json.load(answer)
        if "error" in document:
            raise RuntimeError(f"{method}: {document['error']}")
        return document["result"]

    def mine(self) -> None:
        """Mine a block."""
        self.ask("anvil_mine", "0x1", "0x1")

    def times(self, number: int) -> int:
        """How often an action ran."""
        return int(self.ask("eth_getStorageAt", TARGET, hex(number), "latest"), 16)

    def nonce(self) -> int:
        """How many transactions of the signer are mined."""
        return int(self.ask("eth_getTransactionCount", SIGNER.address, "latest"), 16)


@dataclass(slots=True)
class Tally:
    """What was found."""

    trials: int = 0
    at: Counter[str] = field(default_factory=Counter)
    duplicates: int = 0
    lost_intents: int = 0
    lost_alerts: int = 0
    repeated_alerts: int = 0
    unfinished: int = 0
    actions: int = 0
    cancelled: int = 0
    resumed_s: list[float] = field(default_factory=list)

    @property
    def violations(self) -> int:
        """All that must not be."""
        return self.duplicates + self.lost_intents + self.lost_alerts + self.unfinished


class World:
    """A chain, a database, and keepers that come and go."""

    def __init__(self, node: AnvilProcess, place: Place, dice: random.Random) -> None:
        self.chain = Chain(node.http_url)
        self._actions = 0
        self.place = place
        self._dice = dice
        self._forked = multiprocessing.get_context("forkserver")

    def kill_one(self, tally: Tally) -> None:
        """Let a keeper live until its end comes."""
        at_random = self._dice.random() < 0.35
        fate = Fate()
        if not at_random:
            fate = Fate(point=self._dice.choice(POINTS), pass_by=self._dice.choice((0, 0, 0, 1, 3)))
        if self.place.forgetful:  # where the planted bug hurts, on any machine
            at_random, fate = False, Fate(point="tx.recorded")
        lasts_s = self._dice.uniform(0.02, 0.5) if at_random else LONGEST_LIFE_S
        life = self._begin(fate)
        began = time.monotonic()
        block_s = self._dice.choice(BLOCKS_S)
        still = self._dice.random() < 0.5 or self.place.forgetful
        lives = len(_lines(self.place.resumed))
        while life.is_alive() and (left_s := lasts_s - (time.monotonic() - began)) > 0:
            life.join(min(block_s, left_s))
            if still:  # it begins to live while what the last one sent is still on its way
                still = len(_lines(self.place.resumed)) == lives
                life.join(0 if still else 0.1)
                continue
            if life.is_alive():
                self.chain.mine()
        came = not at_random and not life.is_alive()
        life.kill()
        life.join()
        tally.trials += 1
        tally.at[fate.point if came else "random"] += 1

    def shake(self) -> None:
        """Things that happen to a chain while nobody looks."""
        if self.place.forgetful:
            return
        for _ in range(self._dice.choice((0, 0, 0, 1, 2))):
            self.chain.mine()
        chance = self._dice.random()
        if chance < 0.15:
            self.chain.ask("anvil_dropAllTransactions")
        elif chance < 0.3:
            self.chain.ask("anvil_reorg", self._dice.choice(REORG_DEPTHS), [])

    def end(self, tally: Tally) -> None:
        """Let a keeper live until nothing is left to do, then ask the chain."""
        life = self._begin(Fate(last=True))
        began = time.monotonic()
        longest_s = LONGEST_LIFE_S if self.place.forgetful else LONGEST_END_S
        while life.is_alive() and time.monotonic() - began < longest_s:
            life.join(BLOCKS_S[0])
            self.chain.mine()
        tally.unfinished += life.exitcode != 0
        life.kill()
        life.join()
        self._judge(tally)

    def _judge(self, tally: Tally) -> None:
        told = Counter(
            int(line.split()[1])
            for line in _lines(self.place.alerts)
            if line.startswith("confirmed ")
        )
        ran = 0
        for number in range(1, self._actions + 1):
            times = self.chain.times(number)
            ran += times
            tally.duplicates += max(0, times - 1)
            tally.lost_intents += times == 0
            tally.lost_alerts += bool(times) and not told[number]
            tally.repeated_alerts += max(0, told[number] - 1)
        tally.actions += ran
        tally.cancelled += self.chain.nonce() - ran
        tally.resumed_s += [float(line) for line in _lines(self.place.resumed)]

    def _begin(self, fate: Fate) -> BaseProcess:
        if self.place.forgetful:
            for left in Path(self.place.database.removeprefix("sqlite:///")).parent.glob("*.db*"):
                left.unlink()
        self._actions += 0 if fate.last else ACTIONS_A_LIFE
        here = replace(self.place, actions=self._actions)
        life = self._forked.Process(target=live, args=(here, fate, time.monotonic()))
        life.start()
        return life


def _lines(file: Path) -> list[str]:
    return file.read_text(encoding="ascii").splitlines() if file.exists() else []


def campaign(
    trials: int, seed: int, *, postgres: Postgres | None = None, forgetful: bool = False
) -> Tally:
    """Kill `trials` times, in one world after the other."""
    multiprocessing.get_context("forkserver").set_forkserver_preload(["bench.crash_life"])
    dice = random.Random(seed)
    tally = Tally()
    anvil = ensure().anvil
    while tally.trials < trials:
        with tempfile.TemporaryDirectory(prefix="keeper-crash-") as name:
            folder = Path(name)
            sqlite = f"sqlite:///{folder / 'keeper.db'}"
            node = AnvilProcess(anvil, "--no-mining")
            try:
                place = Place(
                    node=node.http_url,
                    database=sqlite if postgres is None else postgres.new_database(),
                    alerts=folder / "alerts",
                    resumed=folder / "resumed",
                    actions=0,
                    forgetful=forgetful,
                )
                _world(World(node, place, dice), tally, trials)
            finally:
                node.kill()
        say(f"crash: {tally.trials} of {trials} killed, {tally.violations} violations")
    return tally


def _world(world: World, tally: Tally, trials: int) -> None:
    world.chain.ask("anvil_setCode", TARGET, "0x" + COUNTER)
    world.chain.ask("anvil_setBalance", SIGNER.address, hex(10**22))
    for _ in range(3):
        world.chain.mine()
    ends_at = min(trials, tally.trials + KILLS_A_WORLD)
    while tally.trials < ends_at:
        world.kill_one(tally)
        world.shake()
    world.end(tally)


def run(trials: int = REACH, seed: int = 1, database: str = "both") -> Iterator[Line]:
    """Run it on SQLite and, where it is installed, on PostgreSQL; half the trials each."""
    planted = campaign(PLANTED, seed, forgetful=True)
    with ExitStack() as stack:
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
            tally = campaign(share, seed, postgres=server)
            took_s = time.monotonic() - began
            yield _line(name, tally, planted, seed=seed, took_s=took_s, scale=trials)


def _line(name: str, tally: Tally, planted: Tally, *, seed: int, took_s: float, scale: int) -> Line:
    caught = planted.duplicates > 0 and planted.lost_alerts > 0
    resumed = tally.resumed_s or [0.0]
    return Line(
        id="C8",
        what=f"kill -9 on {name}: duplicates, lost intents and lost alerts",
        value=tally.violations,
        unit="violations",
        reach=f"0 of {REACH}",
        ok=tally.violations == 0 and caught and max(resumed) <= 10 and scale >= REACH,
        runs=tally.trials,
        spread=(tally.violations, tally.violations),
        context={
            "trials": tally.trials,
            "seed": seed,
            "killed_at": dict(sorted(tally.at.items())),
            "duplicates": tally.duplicates,
            "lost_intents": tally.lost_intents,
            "lost_alerts": tally.lost_alerts,
            "unfinished": tally.unfinished,
            "actions_done": tally.actions,
            "nonces_used_up": tally.cancelled,
            "alerts_said_again": tally.repeated_alerts,
            "resume_s_p50": statistics.median(resumed),
            "resume_s_most": max(resumed),
            "planted_bug_caught": caught,
            "planted_bug": f"an empty journal at every start: {planted.duplicates} duplicates and"
            f" {planted.lost_alerts} lost alerts in {planted.trials} trials",
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
    options = parser.parse_args()
    for line in run(options.trials, options.seed, options.database):
        print(line.json(), flush=True)


if __name__ == "__main__":
    main()
