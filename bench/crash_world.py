"""One world of the kill -9 campaign: a chain, a database, and keepers that come and go.

The checker asks the node, by plain JSON-RPC, the relay and the provider of messages, never the
keeper's database.
"""

import contextlib
import json
import multiprocessing
import random
import sqlite3
import tempfile
import time
import urllib.request
from collections import Counter
from dataclasses import dataclass, field, fields, replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Final

from bench.crash_life import MOST_REVERTS, POINTS, PUBLIC_AFTER, SECOND, Fate, Place, Way, live
from bench.crash_relay import FAULTS, RelayStandIn
from keeper.devnet.anvil import AnvilProcess
from keeper.execution.transaction import decode_signed
from tests.execution.fakes import SIGNER, TARGET
from tests.execution.local import COUNTER

ACTIONS_A_LIFE: Final = 2
"""What the market wants more, each time that somebody begins to live."""
BLOCKS_S: Final = (0.015, 0.03, 0.1)
"""Between blocks."""
REORG_DEPTHS: Final = (1, 2)
"""Below the confirmations that a keeper here waits for."""
LONGEST_LIFE_S: Final = 1.2
"""After its recovery, when a life that did not come to its point is ended all the same."""
LONGEST_START_S: Final = 60.0
LONGEST_END_S: Final = 600.0
"""Of the last life; all three bounds are for keepers that hang, on a machine however busy."""
REVERTING: Final = (
    (
        "36601814601c57"  # calldata of 24 bytes is the health read: jump
        "3a15601057600080fd5b"  # revert if gas has a price: never where it is only simulated
    )
    + COUNTER[14:]
)
"""The market of `COUNTER`, in which whatever is really sent reverts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lot:
    """What one world is made of; the same lot, the same dice."""

    anvil: Path
    database: str
    """A URL, or empty for a SQLite file of its own."""
    seed: str
    kills: int
    way: Way
    forgetful: bool = False
    forgiving: bool = False
    mute: bool = False


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

    def block(self, tag: str) -> Any:
        """Return a block with the hashes of its transactions."""
        return self.ask("eth_getBlockByNumber", tag, False)  # noqa: FBT003 - the method's own

    def times(self, number: int) -> int:
        """How often an action ran."""
        return int(self.ask("eth_getStorageAt", TARGET, hex(number), "latest"), 16)

    def nonce(self, address: str = SIGNER.address) -> int:
        """How many of its transactions are mined."""
        return int(self.ask("eth_getTransactionCount", address, "latest"), 16)

    def pool(self, address: str) -> list[dict[str, Any]]:
        """What everybody can see of its transactions that are not mined."""
        there = self.ask("txpool_content")
        return [
            transaction
            for part in there.values()
            for sender, by_nonce in part.items()
            if sender.lower() == address
            for transaction in by_nonce.values()
        ]

    def reverted(self, address: str) -> int:
        """How many of its transactions are mined and reverted."""
        found = 0
        for number in range(int(self.ask("eth_blockNumber"), 16) + 1):
            for hash_ in self.block(hex(number))["transactions"]:
                receipt = self.ask("eth_getTransactionReceipt", hash_)
                ours = receipt["from"].lower() == address
                found += ours and int(receipt["status"], 16) == 0
        return found


@dataclass(slots=True, kw_only=True)
class Tally:
    """What was found."""

    trials: int = 0
    at: Counter[str] = field(default_factory=Counter)
    ways: Counter[str] = field(default_factory=Counter)
    duplicates: int = 0
    lost_intents: int = 0
    lost_alerts: int = 0
    shown: int = 0
    """Actions that everybody saw and only the relay was to see."""
    private: int = 0
    """Transactions that a relay was handed."""
    unbridled: int = 0
    """Reverts beyond what the breaker allows between two looks of a person."""
    reverts: int = 0
    repeated_alerts: int = 0
    unfinished: int = 0
    actions: int = 0
    cancelled: int = 0
    resumed_s: list[float] = field(default_factory=list)
    lots: list[str] = field(default_factory=list)
    """Seeds of worlds with a violation."""

    @property
    def violations(self) -> int:
        """All that must not be."""
        lost = self.duplicates + self.lost_intents + self.lost_alerts
        return lost + self.shown + self.unbridled + self.unfinished

    def __add__(self, other: "Tally") -> "Tally":
        both = {f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)}
        return Tally(**both)


class World:
    """Where keepers live and are killed."""

    def __init__(
        self, node: AnvilProcess, place: Place, dice: random.Random, relay: RelayStandIn
    ) -> None:
        self.chain = Chain(node.http_url)
        self.place = place
        self._actions = 0
        self._looks = 1
        """How often a person armed it."""
        self._dice = dice
        self._relay = relay
        self._built: set[str] = set()
        self._shown: set[str] = set()
        self._forked = multiprocessing.get_context("forkserver")

    def settle(self) -> None:
        """Put the market there and fund the keys."""
        code = REVERTING if self.place.way is Way.REVERTS else COUNTER
        self.chain.ask("anvil_setCode", TARGET, "0x" + code)
        for signer in (SIGNER, SECOND):
            self.chain.ask("anvil_setBalance", signer.address, hex(10**22))
        for _ in range(3):
            self.chain.mine()

    def kill_one(self, tally: Tally) -> None:
        """Let a keeper live until its end comes."""
        at_random = self._dice.random() < 0.35
        fate = Fate()
        if not at_random:
            fate = Fate(point=self._dice.choice(POINTS), pass_by=self._dice.choice((0, 0, 0, 1, 3)))
        if self.place.forgetful:  # where the planted bug hurts, on any machine
            at_random, fate = False, Fate(point="tx.recorded")
        if self.place.mute:
            at_random, fate = False, Fate(point="alert.sending")
        lasts_s = self._dice.uniform(0.02, 0.5) if at_random else LONGEST_LIFE_S
        life = self._begin(fate)
        began = time.monotonic()
        block_s = self._dice.choice(BLOCKS_S)
        still = self._dice.random() < 0.5 or self.place.forgetful
        if self.place.forgiving:  # long enough for the breaker to trip again and again
            fate, lasts_s, block_s, still = Fate(), LONGEST_LIFE_S, BLOCKS_S[0], False
        lives = len(_lines(self.place.resumed))
        blocks = 0
        if not at_random:
            self._await_recovery(life, lives)
            began = time.monotonic()
        while life.is_alive() and (left_s := lasts_s - (time.monotonic() - began)) > 0:
            life.join(min(block_s, left_s))
            if still:  # it begins to live while what the last one sent is still on its way
                still = self.place.forgetful or len(_lines(self.place.resumed)) == lives
                life.join(0 if still else 0.1)
                continue
            if life.is_alive():
                blocks += 1
                self._lead_to(fate.point, blocks)
                self._mine()
        came = not at_random and not life.is_alive()
        life.kill()
        life.join()
        tally.trials += 1
        tally.at[fate.point if came else "random"] += 1
        tally.ways[self.place.way] += 1

    def shake(self) -> None:
        """Things that happen to a chain while nobody looks."""
        if self.place.forgetful or self.place.forgiving or self.place.mute:
            return
        self._relay.fault = self._dice.choice(FAULTS)
        for _ in range(self._dice.choice((0, 0, 0, 1, 2))):
            self._mine()
        chance = self._dice.random()
        if chance < 0.15:
            self.chain.ask("anvil_dropAllTransactions")
        elif chance < 0.3:
            self.chain.ask("anvil_reorg", self._dice.choice(REORG_DEPTHS), [])
        if self.place.way is Way.REVERTS and self._dice.random() < 0.25:
            self._look()

    def end(self, tally: Tally) -> None:
        """Let a keeper live until nothing is left to do, then ask the chain."""
        self._relay.fault = ""
        if self.place.way is Way.REVERTS:  # what was wrong is mended, and a person says so
            self.chain.ask("anvil_setCode", TARGET, "0x" + COUNTER)
            self.chain.mine()
            self._look()
        lives = len(_lines(self.place.resumed))
        life = self._begin(Fate(last=True))
        self._await_recovery(life, lives)
        began = time.monotonic()
        longest_s = LONGEST_LIFE_S if self.place.forgetful else LONGEST_END_S
        while life.is_alive() and time.monotonic() - began < longest_s:
            life.join(BLOCKS_S[0])
            self._mine()
        tally.unfinished += life.exitcode != 0
        life.kill()
        life.join()
        self._judge(tally)

    def _await_recovery(self, life: BaseProcess, lives: int) -> None:
        """Wait until it has begun to live, or died of what recovery led it to."""
        began = time.monotonic()
        while life.is_alive() and time.monotonic() - began < LONGEST_START_S:
            if len(_lines(self.place.resumed)) > lives:
                return
            life.join(BLOCKS_S[0])

    def _lead_to(self, point: str, blocks: int) -> None:
        """Make that happen to the chain which leads to `point`, at every third block."""
        if blocks % 3:
            return
        if point == "tx.rebroadcast":
            self.chain.ask("anvil_dropAllTransactions")
        elif point == "plan.unmined":
            self.chain.ask("anvil_reorg", 1, [])

    def _mine(self) -> None:
        """Mine a block, with what the relay has for it."""
        if self.place.way is Way.RELAY:
            if self.place.public_after is None:
                self._shown |= {
                    seen["hash"]
                    for seen in self.chain.pool(SIGNER.address)
                    if seen["to"].lower() != SIGNER.address and seen["hash"] not in self._built
                }
            for raw in self._relay.built(self.chain.nonce()):
                self._built.add(decode_signed(raw).tx_hash)
                try:
                    self.chain.ask("eth_sendRawTransaction", "0x" + raw.hex())
                except RuntimeError:
                    continue  # another of its nonce is there: a builder takes either
        self.chain.mine()

    def _look(self) -> None:
        """Let a person look at what reverted and arm again."""
        judged_at = int(self.chain.block("latest")["timestamp"], 16) + 1
        self.place = replace(self.place, judged_at=judged_at)
        self._looks += 1

    def _judge(self, tally: Tally) -> None:
        said = [line.split() for line in _lines(self.place.alerts)]
        told = Counter(int(words[1]) for words in said if words[0] == "confirmed")
        ran = 0
        for number in range(1, self._actions + 1):
            times = self.chain.times(number)
            ran += times
            tally.duplicates += max(0, times - 1)
            tally.lost_intents += times == 0
            tally.lost_alerts += bool(times) and not told[number]
            tally.repeated_alerts += max(0, told[number] - 1)
        tally.shown += len(self._shown)
        tally.private += len(self._relay.given)
        reverts = 0
        if self.place.way is Way.REVERTS:
            reverts = self.chain.reverted(SIGNER.address)
            tally.lost_alerts += max(
                0, reverts - len({words[2] for words in said if words[0] == "reverted"})
            )
            # one that was on its way when a person looked was decided before, and is not counted
            tally.unbridled += max(0, reverts - self._looks * (MOST_REVERTS + 1))
        tally.reverts += reverts
        tally.actions += ran
        nonces = self.chain.nonce() + self.chain.nonce(SECOND.address)
        tally.cancelled += nonces - ran - reverts
        tally.resumed_s += [float(line) for line in _lines(self.place.resumed)]

    def _begin(self, fate: Fate) -> BaseProcess:
        if self.place.forgetful:
            for left in Path(self.place.database.removeprefix("sqlite:///")).parent.glob("*.db*"):
                left.unlink()
        kept = Path(self.place.database.removeprefix("sqlite:///"))
        if self.place.mute and kept.exists():
            with contextlib.closing(sqlite3.connect(kept)) as database, database:
                database.execute("DELETE FROM outbox")
        self._actions += 0 if fate.last else ACTIONS_A_LIFE
        here = replace(self.place, actions=self._actions)
        life = self._forked.Process(target=live, args=(here, fate, time.monotonic()))
        life.start()
        return life


def _lines(file: Path) -> list[str]:
    return file.read_text(encoding="ascii").splitlines() if file.exists() else []


def inhabit(lot: Lot) -> Tally:
    """Kill as often as the lot says, let one live to its end, and judge."""
    multiprocessing.get_context("forkserver").set_forkserver_preload(["bench.crash_life"])
    dice = random.Random(lot.seed)
    tally = Tally()
    with tempfile.TemporaryDirectory(prefix="keeper-crash-") as name, RelayStandIn() as relay:
        folder = Path(name)
        node = AnvilProcess(lot.anvil, "--no-mining")
        try:
            place = Place(
                node=node.http_url,
                database=lot.database or f"sqlite:///{folder / 'keeper.db'}",
                alerts=folder / "alerts",
                resumed=folder / "resumed",
                actions=0,
                forgetful=lot.forgetful,
                forgiving=lot.forgiving,
                mute=lot.mute,
                way=lot.way,
                relay=relay.url,
                public_after=dice.choice((None, PUBLIC_AFTER)),
            )
            world = World(node, place, dice, relay)
            world.settle()
            for _ in range(lot.kills):
                world.kill_one(tally)
                world.shake()
            world.end(tally)
        finally:
            node.kill()
    if tally.violations:
        tally.lots.append(f"{lot.way} {lot.seed}")
    return tally
