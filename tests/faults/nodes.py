"""C1, C2, C3, C5, C6, C17: what nodes and contracts do to the chain layer."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final

import msgspec

from keeper.chain import lens as lens_module
from keeper.chain import logs as logs_module
from keeper.chain.branch import Branch
from keeper.chain.history import backfill
from keeper.chain.lens import Shares
from keeper.chain.logs import LogReader
from keeper.chain.place import Places
from keeper.chain.provider import NoAnswer, Provider
from keeper.chain.quorum import Agreed, Quorum
from keeper.chain.reader import LensReader
from keeper.chain.turns import Turns
from keeper.chain.wire import Envelope
from keeper.errors import BadAnswer, ObservationError
from keeper.model import Address, BlockRef, Call, CallResult, Failed, Log, Returned
from tests.chain_unit.bare_anvil import Anvil, bare_anvil
from tests.faults.campaign import Campaign, Trial
from tests.faults.proxy import BROKEN, SILENT, Fault, Proxy, Socket
from tests.faults.rig import (
    USABLE_S,
    WANTED,
    Client,
    Truth,
    client,
    nodes,
    planted,
    until,
)

BLOCKS: Final = 10
PACE_S: Final = 0.12


async def _story(
    truth: Truth,
    trial: Trial,
    seen: Client,
    proxies: Sequence[Proxy],
    blocks: int = BLOCKS,
    every_block: Any = None,
) -> None:
    """Mine under whatever `every_block` does, then calm down, and see whether all was taken."""
    since = seen.chain[-1]
    for _ in range(blocks):
        if every_block is not None:
            await every_block()
        await truth.mine(trial.chance)
        await asyncio.sleep(PACE_S * trial.chance.uniform(0.3, 1.7))
    for proxy in proxies:
        proxy.calm()
    head = await truth.mine(trial.chance)
    await until(lambda: head.hash in seen.taken_at or bool(seen.faults))
    await _note(truth, trial, seen, proxies, since)


async def _note(
    truth: Truth, trial: Trial, seen: Client, proxies: Sequence[Proxy], since: BlockRef
) -> None:
    trial.violations += await truth.violations(seen, since)
    done = sum((proxy.done for proxy in proxies), Counter[str]())
    trial.suffered |= dict(done)
    trial.figures["usable_s"] = truth.delays_s(seen)


# --- C1: silence of nodes ---------------------------------------------------------------------


async def c1(anvil: Anvil, trial: Trial) -> None:
    """Two of three nodes are as bad as nodes get; which two changes on the way."""
    truth = Truth(anvil)
    await truth.prepare()
    async with nodes(anvil, trial.chance, 3) as proxies, client(proxies, quorum=1) as seen:

        async def turn() -> None:
            if trial.chance.random() < 0.3:
                good = trial.chance.choice(proxies)
                for proxy in proxies:
                    proxy.weather = {} if proxy is good else _bad(trial.chance)

        for proxy in proxies[:2]:
            proxy.weather = {Fault.STALL: 1.0}
        await _story(truth, trial, seen, proxies, every_block=turn)
        for proxy in proxies[:2]:  # and at last the first two for good
            proxy.weather = {trial.chance.choice((Fault.STALL, Fault.DROP, Fault.STATUS_5XX)): 1.0}
        head = await truth.mine(trial.chance)
        if not await until(lambda: head.hash in seen.taken_at, USABLE_S):
            trial.late.append(f"one good node of three, and no data within {USABLE_S} s")
        trial.figures["usable_s"] = truth.delays_s(seen)
    late = [s for s in trial.figures["usable_s"] if s > USABLE_S]
    if late:
        trial.late.append(f"usable data took {max(late):.1f} s")
    if soon := seen.pauses.too_soon:
        trial.violations.append(f"{soon} requests were made before a Retry-After was over")


def _bad(chance: random.Random) -> dict[Fault, float]:
    fault = chance.choice((*SILENT, None))
    if fault is None:
        return dict.fromkeys(SILENT, 0.9 / len(SILENT))
    return {fault: chance.choice((0.6, 1.0))}


@contextmanager
def no_fail_over() -> Iterator[None]:
    def first_only(self: Turns) -> list[Provider]:
        return [self.providers[0]]

    with planted(Turns, "ordered", first_only):
        yield


# --- C2: nonsense -----------------------------------------------------------------------------


async def c2(anvil: Anvil, trial: Trial) -> None:
    """Every second answer of both nodes is broken in some way."""
    truth = Truth(anvil)
    await truth.prepare()
    async with nodes(anvil, trial.chance, 2) as proxies, client(proxies, quorum=1) as seen:
        for proxy in proxies:
            proxy.weather = dict.fromkeys(BROKEN, 0.04) | {Fault.WRONG_ID: 0.25}
        await _story(truth, trial, seen, proxies)


@contextmanager
def any_id_will_do() -> Iterator[None]:
    async def careless(
        self: Provider, method: str, params: Sequence[Any], *, urgent: bool
    ) -> Envelope:
        request = {"jsonrpc": "2.0", "id": next(self._ids), "method": method, "params": params}
        body = await self._post(msgspec.json.encode(request), [method], urgent=urgent)
        try:
            return msgspec.json.decode(body, type=Envelope)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise self.failed("answered with something that is not JSON-RPC") from error

    with planted(Provider, "_one", careless), planted(Places, "contradiction", lambda *_: ""):
        yield


# --- C3: stale and forked backends --------------------------------------------------------------


async def c3(anvil: Anvil, trial: Trial) -> None:
    """One of three nodes is behind, denies logs, reads other blocks, makes headers up, or follows a
    fork.
    """
    truth = Truth(anvil)
    await truth.prepare()
    async with (
        nodes(anvil, trial.chance, 3) as proxies,
        _fork(anvil, trial.chance) as fork,
    ):
        liar = trial.chance.choice(proxies[:2])
        ws = trial.chance.choice(([], [liar], [liar], [liar], [proxies[2]]))
        async with client(proxies, ws=ws, quorum=2) as seen:

            async def turn() -> None:
                await _mine_fork(fork, trial.chance)
                lie = trial.chance.choice(
                    ("lag", "lag", "fork", "fork", "fork", "elsewhere", *["made up"] * 4)
                )
                trial.suffered[lie] = trial.suffered.get(lie, 0) + 1
                _leave_alone(liar, proxies, trial)
                liar.calm()
                liar.upstream = fork.url if lie == "fork" else anvil.url
                if lie == "fork":
                    liar.lies.forked = True
                    await liar.close_sockets()
                if lie == "elsewhere":
                    liar.lies.elsewhere_blocks = trial.chance.randint(1, 4)
                if lie == "lag":
                    liar.lies.lag_blocks = trial.chance.randint(1, 6)
                    liar.lies.empty_logs = trial.chance.random() < 0.7
                if lie == "made up":
                    liar.lies.made_up = trial.chance.choice((0.2, 0.5, 1.0))
                    for _ in range(trial.chance.choice((0, 0, 2, 5, 12))):
                        await anvil.mine()  # so that there is something to make up in between

            await _story(truth, trial, seen, proxies, every_block=turn)
            liar.upstream = anvil.url


def _leave_alone(liar: Proxy, proxies: Sequence[Proxy], trial: Trial) -> None:
    """Let the others be down, or back: who is alone is followed, in doubt."""
    alone = trial.chance.random() < 0.3
    trial.suffered["alone"] = trial.suffered.get("alone", 0) + alone
    for proxy in proxies:
        if proxy is not liar:
            proxy.weather = {Fault.DROP: 1.0} if alone else {}


@asynccontextmanager
async def _fork(anvil: Anvil, chance: random.Random) -> AsyncIterator[Anvil]:
    """Another chain with the same past, a block or three longer."""
    head = await anvil.rpc.block_number()
    options = ("--fork-url", anvil.url, "--fork-block-number", str(head), "--no-rate-limit")
    async with bare_anvil(*options, "--no-storage-caching") as fork:
        for _ in range(chance.randint(1, 3)):
            await _mine_fork(fork, chance)
        yield fork


async def _mine_fork(fork: Anvil, chance: random.Random) -> None:
    await fork.control("evm_increaseTime", chance.randint(3, 9))
    await Truth(fork).ring(chance.randrange(2**64))
    await fork.mine()


@contextmanager
def believes_anyone() -> Iterator[None]:
    async def gullible(_self: Quorum, head: BlockRef, *_: object) -> Agreed:
        return Agreed(block=head)

    async def believed(_self: Quorum, *_: object) -> tuple[str, None]:
        return "", None

    with planted(Quorum, "judge", gullible), planted(Quorum, "untold", believed):
        yield


# --- C5: WebSockets -----------------------------------------------------------------------------


async def c5(anvil: Anvil, trial: Trial) -> None:
    """The subscription is silent, closed, refused, or says everything many times."""
    truth = Truth(anvil)
    await truth.prepare()
    async with (
        nodes(anvil, trial.chance, 2) as proxies,
        client(proxies, ws=proxies, quorum=1) as seen,
    ):

        async def turn() -> None:
            for proxy in proxies:
                if trial.chance.random() < 0.4:
                    proxy.socket = trial.chance.choice(list(Socket))
                if trial.chance.random() < 0.2:
                    proxy.done["closed"] += 1
                    await proxy.close_sockets()
            for _ in range(trial.chance.choice((0, 0, 0, 3, 40))):
                await anvil.mine()  # blocks that come so fast that few are announced

        await _story(truth, trial, seen, proxies, every_block=turn)
    late = [s for s in trial.figures["usable_s"] if s > 2 * 0.5 + 5.0]
    if late:
        trial.late.append(f"silence was noticed after {max(late):.1f} s")


@contextmanager
def gaps_are_skipped() -> Iterator[None]:
    async def step_to(
        self: Branch, head: BlockRef, *_: object
    ) -> tuple[tuple[BlockRef, ...], tuple[BlockRef, ...]]:
        del self
        return (), (head,)

    with planted(Branch, "step_to", step_to):
        yield


# --- C6: logs -----------------------------------------------------------------------------------


async def c6(anvil: Anvil, trial: Trial) -> None:
    """Logs are left out and said twice; ranges are refused; history is read through it."""
    truth = Truth(anvil)
    await truth.prepare()
    quorum = trial.chance.choice((1, 2))
    async with nodes(anvil, trial.chance, 2) as proxies, client(proxies, quorum=quorum) as seen:
        first = seen.chain[-1].number + 1
        liar = trial.chance.choice(proxies)
        if quorum == 2:  # one of the two leaves some out
            liar.lies.drop_logs = 0.4
        else:  # both deny all of them, as backends do that are not indexed yet
            for proxy in proxies:
                proxy.lies.drop_logs = 1.0
        for proxy in proxies:
            proxy.lies.duplicate_logs = 0.3
            proxy.lies.no_receipts = quorum == 2 and trial.chance.random() < 0.5
        await _story(truth, trial, seen, proxies)
        for proxy in proxies:
            proxy.lies.most_logs = trial.chance.randint(6, 12)
            proxy.lies.most_blocks = trial.chance.randint(1, 5)
            proxy.lies.duplicate_logs = 0.3
            if quorum == 1:
                proxy.weather = {Fault.DROP: 0.1, Fault.TOO_MANY: 0.05}
            elif proxy is liar:  # what it leaves out of history the other makes up for
                proxy.lies.drop_logs = 0.4
        last = await anvil.rpc.block_number()
        got: list[tuple[int, int]] = []
        covered: list[int] = []
        while not covered or covered[-1] < last:
            try:
                resumed = covered[-1] + 1 if covered else first
                async for start, end, found in backfill(
                    seen.rpc, WANTED, resumed, last, first_range_blocks=64, nodes=quorum
                ):
                    covered += range(start, end + 1)
                    got += [(log.block_number, log.log_index) for log in found]
            except NoAnswer:  # as the keeper does: go on later from where it ended
                proxies[0].done["history resumed"] += 1
        if covered != list(range(first, last + 1)):
            trial.violations.append("history has a hole or a part twice")
        if sorted(got) != await _all_logs(anvil, first, last):
            trial.violations.append("history is not complete, or has logs twice")
        trial.suffered = dict(sum((proxy.done for proxy in proxies), Counter[str]()))


async def _all_logs(anvil: Anvil, first: int, last: int) -> list[tuple[int, int]]:
    logs = await anvil.control(
        "eth_getLogs",
        {
            "fromBlock": hex(first),
            "toBlock": hex(last),
            "address": list(WANTED.addresses),
            "topics": [list(WANTED.topics0)],
        },
    )
    return sorted((int(log["blockNumber"], 16), int(log["logIndex"], 16)) for log in logs)


@contextmanager
def no_bloom_check() -> Iterator[None]:
    async def one_is_enough(self: LogReader, block: BlockRef) -> tuple[Log, ...]:
        return await self._answered(block)

    with (
        planted(logs_module, "suspicion", lambda *_: ""),
        planted(LogReader, "_from_nodes", one_is_enough),
    ):
        yield


# --- C17: hostile contracts ---------------------------------------------------------------------

HOSTILE: Final = {
    "10 MB": "629896805f5260205ff3".replace("5f5260205ff3", "5ff3"),
    "endless": "5b5f56",
    "invalid": "fe",
    "reverts with 1 MB": "620f42405ffd",
    "nothing": "00",
    "recurses": "5f5f5f5f305afa5f5260205ff3",
}
"""Runtime code by what it does."""


async def c17(anvil: Anvil, trial: Trial) -> None:
    """One packed read of good contracts among hostile ones: each costs itself only."""
    await Truth(anvil).prepare()
    good = [Address(f"0x{0x600D0000 + i:040x}") for i in range(30)]
    words = [trial.chance.randrange(2**256) for _ in good]
    for address, word in zip(good, words, strict=True):
        await anvil.set_code(address, f"7f{word:064x}5f5260205ff3")
    hostile: list[Address] = []
    for name, code in trial.chance.sample(sorted(HOSTILE.items()), 4):
        for _ in range(trial.chance.randint(1, 2)):
            address = Address("0x" + trial.chance.randbytes(20).hex())
            await anvil.set_code(address, code)
            hostile.append(address)
            trial.suffered[name] = trial.suffered.get(name, 0) + 1
    await anvil.mine()
    block = await anvil.rpc.block()
    mixed = [*good, *hostile]
    trial.chance.shuffle(mixed)
    reader = LensReader(anvil.rpc)
    try:
        answers = await reader.call([Call(to=one, data=b"") for one in mixed], block)
    except ObservationError as error:
        trial.violations.append(f"the whole read failed: {error}")
        return
    expected = dict(zip(good, words, strict=True))
    for address, answer in zip(mixed, answers, strict=True):
        if address in expected:
            if answer != Returned(expected[address].to_bytes(32, "big")):
                trial.violations.append("a good contract's answer was lost to a hostile one")
        elif isinstance(answer, Returned) and len(answer.data) > 64 * 1024:
            trial.violations.append("an endless answer was handed on")
        elif not isinstance(answer, Returned | Failed):
            trial.violations.append("an answer is neither")


@contextmanager
def one_fails_all() -> Iterator[None]:
    good = lens_module._result

    def strict(state: int, data: bytes, shares: Shares) -> CallResult:
        if state == 3:
            raise BadAnswer("a call used all of its gas")
        return good(state, data, shares)

    with planted(lens_module, "_result", strict):
        yield


NODES: Final = (
    Campaign(
        id="C1",
        what="latency, time-outs, 5xx, 429, resets and drip at two of three nodes",
        stage="anvil",
        run=c1,
        bug=no_fail_over,
        bug_is="only the first node is ever asked",
    ),
    Campaign(
        id="C2",
        what="broken JSON, wrong ids, wrong types, huge bodies, HTML with status 200",
        stage="anvil",
        run=c2,
        bug=any_id_will_do,
        bug_is="an answer to another request is taken, wherever it was read",
    ),
    Campaign(
        id="C3",
        what="a backend that is behind, denies logs, reads other blocks, makes headers up, or is on"
        " a fork",
        stage="anvil",
        run=c3,
        bug=believes_anyone,
        bug_is="one node's word is enough for a head",
    ),
    Campaign(
        id="C5",
        what="WebSocket silent, half-open, closed, refused, repeating; bursts of blocks",
        stage="anvil",
        run=c5,
        bug=gaps_are_skipped,
        bug_is="blocks between two heads are not fetched",
    ),
    Campaign(
        id="C6",
        what="logs dropped and duplicated, ranges refused",
        stage="anvil",
        run=c6,
        bug=no_bloom_check,
        bug_is="the first answer about logs is believed",
    ),
    Campaign(
        id="C17",
        what="contracts that return 10 MB, never end, recurse, or revert with much data",
        stage="anvil",
        run=c17,
        bug=one_fails_all,
        bug_is="a call that uses all of its gas fails the whole read",
    ),
)
