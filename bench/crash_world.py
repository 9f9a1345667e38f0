"""One world of the kill -9 campaign: a chain, a database, and keepers that come and go.

The checker asks the node, by plain JSON-RPC, the relay and the provider of messages, never the
keeper's database.
"""

import multiprocessing
import random
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Final

from bench import crash_batches
from bench.crash_carried import Found, held_against, mined
from bench.crash_chain import Chain
from bench.crash_life import MOST_REVERTS, POINTS, PUBLIC_AFTER, SECOND, Fate, Place, Way, live
from bench.crash_market import CODE, call_states, call_take, decode_states
from bench.crash_planted import DONE_BY, Planted, spoil
from bench.crash_relay import FAULTS, RelayStandIn
from bench.crash_tally import Tally
from keeper.devnet.anvil import AnvilProcess
from keeper.execution.liquidator import SALT, deployment
from keeper.execution.transaction import decode_signed
from keeper.model import Address
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
SPENT_ON: Final = 12
"""Actions that a life does which forgets what was paid, and how long it may take for them."""
LONGEST_SPENDING_S: Final = 4.0
LONGEST_PLANTED_S: Final = 5.0
"""Of the last life of keepers that cannot end."""
LONGEST_START_S: Final = 60.0
LONGEST_END_S: Final = 600.0
"""Of the last life; all three bounds are for keepers that hang, on a machine however busy."""
TIGHT_GAS_WEI: Final = 16 * 10**14
"""What a day's gas may cost where several go in one transaction: the cap is met again and again."""
MORE_GAS_WEI: Final = 10**15
"""By which a person raises it."""
LOOSE_GAS_WEI: Final = 10**22
BASE_FEE_BLOCKS: Final = 24
"""Empty ones, after which the base fee is small beside what may be paid."""
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
    planted: Planted = ""


class World:
    """Where keepers live and are killed."""

    def __init__(
        self,
        node: AnvilProcess,
        place: Place,
        dice: random.Random,
        relay: RelayStandIn,
        planted: Planted = "",
    ) -> None:
        self.chain = Chain(node.http_url)
        self.place = place
        self._actions = 0
        self._looks = 1
        """How often a person armed it."""
        self._dice = dice
        self._planted = planted
        self._relay = relay
        self._somebody = ""
        """Who deployed the contract and is faster at times."""
        self._built: set[str] = set()
        self._shown: set[str] = set()
        self._forked = multiprocessing.get_context("forkserver")

    def settle(self) -> None:
        """Put the market there and fund the keys."""
        code = REVERTING if self.place.way is Way.REVERTS else COUNTER
        self.chain.ask("anvil_setCode", TARGET, "0x" + code)
        for signer in (SIGNER, SECOND):
            self.chain.ask("anvil_setBalance", signer.address, hex(10**22))
        if self.place.way is Way.BATCHES:
            self._deploy()
        for _ in range(BASE_FEE_BLOCKS if self.place.way is Way.BATCHES else 3):
            self.chain.mine()

    def _deploy(self) -> None:
        """Put the liquidator there, in front of the market that counts."""
        self._somebody = self.chain.ask("eth_accounts")[0]
        self.chain.ask("anvil_setCode", TARGET, "0x" + CODE.hex())
        call, _ = deployment(
            Address(self._somebody), crash_batches.FACTORY, (SIGNER.address,), (TARGET,)
        )
        hash_ = self._send({"data": "0x" + call.data[len(SALT) :].hex(), "gas": hex(10**7)})
        self.chain.mine()
        contract = self.chain.ask("eth_getTransactionReceipt", hash_)["contractAddress"]
        self.place = replace(self.place, liquidator=contract.lower())

    def _send(self, message: dict[str, Any]) -> str:
        """Send for somebody else, who pays more than anybody."""
        fees = {"maxFeePerGas": hex(10**12), "maxPriorityFeePerGas": hex(10**11)}
        given = {"from": self._somebody, **fees, **message}
        return str(self.chain.ask("eth_sendTransaction", given))

    def kill_one(self, tally: Tally) -> None:
        """Let a keeper live until its end comes."""
        at_random = self._dice.random() < 0.35
        fate = Fate()
        if not at_random:
            points = POINTS + (crash_batches.POINTS if self.place.way is Way.BATCHES else ())
            fate = Fate(point=self._dice.choice(points), pass_by=self._dice.choice((0, 0, 0, 1, 3)))
        if self._recorded:  # where the planted bug hurts, on any machine
            at_random, fate = False, Fate(point="tx.recorded")
        if self.place.mute:
            at_random, fate = False, Fate(point="alert.sending")
        lasts_s = self._dice.uniform(0.02, 0.5) if at_random else LONGEST_LIFE_S
        life = self._begin(fate)
        began = time.monotonic()
        block_s = self._dice.choice(BLOCKS_S)
        still = self._dice.random() < 0.5 or self._recorded
        if (
            self.place.forgiving or self._planted == "spendthrift"
        ):  # long enough for the breaker to trip again and again
            fate, block_s, still = Fate(), BLOCKS_S[0], False
            lasts_s = LONGEST_SPENDING_S if self._planted else LONGEST_LIFE_S
        told = len(_lines(self.place.alerts)) + SPENT_ON
        lives = len(_lines(self.place.resumed))
        blocks = 0
        if not at_random:
            self._await_recovery(life, lives)
            began = time.monotonic()
        while (
            life.is_alive()
            and (left_s := lasts_s - (time.monotonic() - began)) > 0
            and not self._spent(told)
        ):
            life.join(min(block_s, left_s))
            if still:  # it begins to live while what the last one sent is still on its way
                still = self._recorded or len(_lines(self.place.resumed)) == lives
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
        if self._planted == "given out again":  # what is on its way shows nowhere but in its rows
            self.chain.ask("anvil_dropAllTransactions")
        if self._planted:
            self.chain.mine()
        if self.place.forgetful or self.place.forgiving or self.place.mute or self._planted:
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
        if self.place.way is Way.BATCHES:
            self._rival()
            if self._dice.random() < 0.3:
                more = self.place.gas_cap_wei + MORE_GAS_WEI
                self.place = replace(self.place, gas_cap_wei=more)

    def _rival(self) -> None:
        """Let somebody else be faster at one account, in the next block."""
        account = self._dice.randint(max(1, self._actions - 12), self._actions)
        data = "0x" + call_take(account).hex()
        self._send({"to": TARGET, "data": data, "gas": hex(100_000)})

    def end(self, tally: Tally) -> None:
        """Let a keeper live until nothing is left to do, then ask the chain."""
        self._relay.fault = ""
        day_wei = self.place.gas_cap_wei
        if self.place.way is Way.BATCHES:
            tally.past_caps += self._carried().paid_wei > day_wei
            self.place = replace(self.place, gas_cap_wei=LOOSE_GAS_WEI)
        if self.place.way is Way.REVERTS:  # what was wrong is mended, and a person says so
            self.chain.ask("anvil_setCode", TARGET, "0x" + COUNTER)
            self.chain.mine()
            self._look()
        lives = len(_lines(self.place.resumed))
        life = self._begin(Fate(last=True))
        self._await_recovery(life, lives)
        began = time.monotonic()
        longest_s = LONGEST_LIFE_S if self.place.forgetful else LONGEST_END_S
        longest_s = LONGEST_PLANTED_S if self._planted else longest_s
        while life.is_alive() and (lived_s := time.monotonic() - began) < longest_s:
            life.join(min(BLOCKS_S[0] * (1 + lived_s), 1.0))  # a busy machine's keeper keeps up
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

    def _carried(self) -> Found:
        said = [line.split() for line in _lines(self.place.alerts)]
        ours = mined(self.chain.ask, SIGNER.address, self.place.liquidator)
        return held_against(ours, said)

    def _states(self) -> Sequence[tuple[int, bool]]:
        """How often each action ran, and whether somebody else did it."""
        if self.place.way is not Way.BATCHES:
            return [(self.chain.times(number), False) for number in range(1, self._actions + 1)]
        asked = {"to": TARGET, "data": "0x" + call_states(self._actions).hex()}
        return decode_states(bytes.fromhex(self.chain.ask("eth_call", asked, "latest")[2:]))

    def _judge(self, tally: Tally) -> None:
        said = [line.split() for line in _lines(self.place.alerts)]
        told = Counter(int(words[1]) for words in said if words[0] == "confirmed")
        ran = 0
        for number, (times, by_others) in enumerate(self._states(), start=1):
            ran += times
            tally.duplicates += max(0, times - 1)
            tally.lost_intents += times == 0 and not by_others
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
        sent = ran + reverts
        if self.place.way is Way.BATCHES:
            found = self._carried()
            sent = found.transactions
            tally.duplicates += found.again
            tally.lost_alerts += found.untold
            tally.misjudged += found.misjudged
            tally.past_caps += found.past_caps
            tally.several += found.several
            tally.carried += found.carried
            tally.failed += found.failed
        tally.cancelled += nonces - sent
        tally.resumed_s += [float(line) for line in _lines(self.place.resumed)]

    def _begin(self, fate: Fate) -> BaseProcess:
        if self.place.forgetful:
            for left in Path(self.place.database.removeprefix("sqlite:///")).parent.glob("*.db*"):
                left.unlink()
        spoilt = ("DELETE FROM outbox",) if self.place.mute else DONE_BY.get(self._planted, ())
        spoil(Path(self.place.database.removeprefix("sqlite:///")), spoilt)
        self._actions += 0 if fate.last else self._more()
        here = replace(self.place, actions=self._actions)
        life = self._forked.Process(target=live, args=(here, fate, time.monotonic()))
        life.start()
        return life

    def _spent(self, told: int) -> bool:
        """Whether a life with the planted bug of the caps did enough to show it."""
        return self._planted == "spendthrift" and len(_lines(self.place.alerts)) >= told

    def _more(self) -> int:
        if self._planted == "spendthrift":
            return 2 * max(crash_batches.FALL_A_LIFE)
        if self.place.way is Way.BATCHES:
            return self._dice.choice(crash_batches.FALL_A_LIFE)
        return ACTIONS_A_LIFE

    @property
    def _recorded(self) -> bool:
        """Whether a planted bug hurts where a keeper is killed when it has just sent."""
        return self.place.forgetful or self._planted in ("given out again", "left behind")


def _lines(file: Path) -> list[str]:
    return file.read_text(encoding="ascii").splitlines() if file.exists() else []


def _gas_cap_wei(lot: Lot) -> int:
    if lot.way is not Way.BATCHES or lot.planted in ("given out again", "left behind"):
        return LOOSE_GAS_WEI
    return TIGHT_GAS_WEI // (5 if lot.planted else 1)


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
                gas_cap_wei=_gas_cap_wei(lot),
            )
            world = World(node, place, dice, relay, lot.planted)
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
