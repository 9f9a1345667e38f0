"""N1: kill -9 of the node in the middle of ``./run demo --stay``, and its return.

The demo is started as a user would start it.  Its Anvil is killed, stays away for a while, and
comes back on its port with the chain as it was, from a dump of it.  Nobody touches the keeper.
`value` is the seconds from the node's return to the keeper's next block; what the keeper said
meanwhile, on standard error and by its status page, goes to standard error here.
"""

import gzip
import json
import os
import queue
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.line import Line, say

AWAY_S = 40.0
"""Longer than the page calls a chain watched that is not read."""
WAIT_S = 90.0
NO_TRANSACTIONS = False
"""Of eth_getBlockByNumber."""
REACH_S = 10.0
EVENTS = re.compile(r"\b(rpc|ws|head|chain|pass|plan|inventory|executor)\.\w+")


@dataclass(slots=True)
class Demo:
    """A running demo, and what it prints."""

    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)
    fresh: "queue.Queue[str]" = field(default_factory=queue.Queue)

    def listen(self) -> None:
        """Read its output until it ends."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip())
            self.fresh.put(line.rstrip())

    def find(self, pattern: str) -> str:
        """Wait for a line and return its first group."""
        ends_at = time.monotonic() + WAIT_S
        while time.monotonic() < ends_at:
            for line in self.lines:
                if found := re.search(pattern, line):
                    return found[1]
            if self.process.poll() is not None:
                break
            time.sleep(0.1)
        raise RuntimeError(f"the demo did not say {pattern!r}: {self.lines[-5:]}")


def run() -> Iterator[Line]:
    """Yield N1."""
    with tempfile.TemporaryDirectory(prefix="keeper-killed-") as folder:
        demo = Demo(
            subprocess.Popen(
                [sys.executable, "-m", "keeper.devnet.demo", "--stay", "--positions", "40"],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
        threading.Thread(target=demo.listen, daemon=True).start()
        node: subprocess.Popen[bytes] | None = None
        try:
            node, line = _story(demo, Path(folder))
            yield line
        finally:
            demo.process.send_signal(signal.SIGINT)
            try:
                demo.process.wait(30)
            except subprocess.TimeoutExpired:
                demo.process.kill()
            if node is not None:
                node.kill()
                node.wait()


def _story(demo: Demo, folder: Path) -> tuple[subprocess.Popen[bytes], Line]:
    page = demo.find(r"status page\s+(http://\S+)").rstrip("/")
    url = demo.find(r"  chain\s+(http://\S+)")
    demo.find(r"(standard error)")
    began = len(demo.lines)
    first = _until(lambda: _chain(page)["block"], lambda block: block is not None)
    _until(lambda: _chain(page)["block"], lambda block: block > first + 1)
    pid, words = _anvil(demo.process.pid)
    _rpc(url, "evm_setIntervalMining", 0)
    state = folder / "state.json"
    state.write_bytes(gzip.decompress(bytes.fromhex(_rpc(url, "anvil_dumpState")[2:])))
    there = _rpc(url, "eth_getBlockByNumber", "latest", NO_TRANSACTIONS)
    _until(lambda: _chain(page)["hash"], lambda hash_: hash_ == there["hash"])
    say(f"N1: block {int(there['number'], 16)} is taken; killing Anvil, process {pid}")
    os.kill(pid, signal.SIGKILL)
    killed_at = time.monotonic()
    noticed = _until(lambda: _health(page)[0], lambda code: code == 503) == 503
    noticed_s = time.monotonic() - killed_at
    say(f"N1: after {noticed_s:.1f} s the page says 503: {_health(page)[1].strip()}")
    time.sleep(max(0.0, AWAY_S - noticed_s))
    node = subprocess.Popen(
        _again(words, url, state),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _until(lambda: _answers(url), lambda answers: answers)
    _rpc(url, "evm_setNextBlockTimestamp", int(there["timestamp"], 16) + 2)
    _rpc(url, "evm_setIntervalMining", 2)
    back_at = time.monotonic()
    say("N1: Anvil is back on its port, with its chain")
    number = int(there["number"], 16)
    _until(lambda: _chain(page)["block"], lambda block: block is not None and block > number)
    again_s = time.monotonic() - back_at
    well = _until(lambda: _health(page)[0], lambda code: code == 200) == 200
    ours = _chain(page)
    theirs = _rpc(url, "eth_getBlockByNumber", hex(ours["block"]), NO_TRANSACTIONS)
    same = theirs["hash"] == ours["hash"]
    said = [line for line in demo.lines[began:] if EVENTS.search(line)]
    say("N1: what the keeper said meanwhile:")
    for one in said:
        say(f"    {one}")
    events = [found[0] for one in said if (found := EVENTS.search(one))]
    restarted = demo.process.poll() is not None
    recovered = "rpc.recovered" in events
    return node, Line(
        id="N1",
        what="seconds from the node's return to the keeper's next block, after kill -9",
        value=again_s,
        unit="s",
        reach=f"<= {REACH_S:g}, without a restart, and said",
        ok=again_s <= REACH_S and noticed and well and same and recovered and not restarted,
        runs=1,
        spread=(again_s, again_s),
        context={
            "away_s": back_at - killed_at,
            "page_said_503_after_s": noticed_s,
            "page_says_200_again": well,
            "keeper_ended": restarted,
            "said": {event: events.count(event) for event in dict.fromkeys(events)},
        },
    )


def _until(ask: Any, good: Any) -> Any:
    """Ask until the answer is good, and return it; the last one when the time is over."""
    ends_at = time.monotonic() + WAIT_S
    while True:
        answer = ask()
        if good(answer):
            return answer
        if time.monotonic() > ends_at:
            raise RuntimeError(f"not within {WAIT_S:g} s: the last answer was {answer!r}")
        time.sleep(0.1)


def _chain(page: str) -> Any:
    with urllib.request.urlopen(f"{page}/api/status", timeout=10) as response:
        return json.load(response)["chains"][0]


def _health(page: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"{page}/healthz", timeout=10) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def _rpc(url: str, method: str, *params: Any) -> Any:
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.load(response)["result"]


def _answers(url: str) -> bool:
    try:
        return bool(_rpc(url, "eth_chainId"))
    except OSError:
        return False


def _anvil(parent: int) -> tuple[int, list[str]]:
    """The demo's Anvil, and the words it was started with."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")[:-1]
            status = (entry / "status").read_text()
        except OSError:
            continue
        if f"PPid:\t{parent}\n" in status and words and words[0].endswith(b"anvil"):
            return int(entry.name), [word.decode() for word in words]
    raise RuntimeError("the demo has no Anvil")


def _again(words: list[str], url: str, state: Path) -> list[str]:
    """The words that start it again: on its port, with its chain, at the chain's own time."""
    left = list(words)
    for option in ("--load-state", "--timestamp", "--port"):
        if option in left:
            at = left.index(option)
            del left[at : at + 2]
    return [*left, "--port", url.rpartition(":")[2], "--load-state", str(state)]
