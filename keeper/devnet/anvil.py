"""Anvil: one process that cannot outlive us, and a typed client of what only Anvil can do.

`AnvilProcess` is synchronous and belongs to no event loop, so a test session can keep one while
each test has its own loop.  `Anvil` is the client of one loop.  `running` is both together.

Anvil is kinder than a node: after a reorg its log subscriptions stay silent, orphaned transactions
vanish instead of returning to the pool, and a replacement may raise its fee by any amount.
"""

import asyncio
import atexit
import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import aiohttp

from keeper.errors import ConfigError, RpcError
from keeper.model import Address, Hash
from keeper.units import Wei

CHAIN_ID: Final = 31337
GAS_LIMIT: Final = 36_000_000
"""Of a block, as on mainnet; Anvil forgets it when a state is loaded."""

_START_LIMIT_S: Final = 60.0
_STOP_TIMEOUT_S: Final = 20.0
_BATCH: Final = 500
_LISTENING: Final = re.compile(r"Listening on (\S+):(\d+)")
_TIE: Final = """
import ctypes, os, signal, sys
PR_SET_PDEATHSIG = 1
ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[2], sys.argv[2:])
"""


class AnvilProcess:
    """A running Anvil on a port the system chose; it dies with the process that started it.

    Start it from a thread that lives as long as it shall, best the main one: on Linux the kernel
    ends the child with its parent thread.
    """

    def __init__(
        self, binary: Path, *arguments: str, chain_id: int = CHAIN_ID, port: int = 0
    ) -> None:
        """Start and wait until it listens; port 0 lets the system choose.

        Raises `ConfigError` with what Anvil said when it does not start.
        """
        self._states = tempfile.TemporaryDirectory(
            prefix="keeper-anvil-", ignore_cleanup_errors=True
        )
        """Where it puts the states that it does not keep in memory; else they stay at home."""
        self._process = subprocess.Popen(  # noqa: S603 - the binary the toolchain found
            [
                *_tied_to_us(),
                str(binary),
                *("--port", str(port), "--host", "127.0.0.1", "--chain-id", str(chain_id)),
                *("--cache-path", self._states.name),
                *arguments,
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        atexit.register(self.kill)
        self.chain_id = chain_id
        self._said: list[str] = []
        self._port = 0
        self._listening = threading.Event()
        threading.Thread(target=self._drain, daemon=True, name="anvil-output").start()
        if not self._listening.wait(_START_LIMIT_S) or not self._port:
            self.kill()
            said = " ".join(self._said[-5:]).strip() or "nothing"
            raise ConfigError(f"Anvil did not start; it said: {said}")

    @property
    def pid(self) -> int:
        """Its process id, which is also its process group."""
        return self._process.pid

    @property
    def port(self) -> int:
        """The port it listens on, HTTP and WebSocket alike."""
        return self._port

    @property
    def http_url(self) -> str:
        """Where JSON-RPC is answered."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def ws_url(self) -> str:
        """Where subscriptions are."""
        return f"ws://127.0.0.1:{self._port}"

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    def stop(self) -> None:
        """Ask it to end, which makes it write ``--dump-state``, and wait; then make sure."""
        if self.alive:
            self._process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_STOP_TIMEOUT_S)
        self.kill()

    def kill(self) -> None:
        """End it and everything in its process group now."""
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._states.cleanup()
        atexit.unregister(self.kill)

    def pause(self) -> None:
        """Freeze it, so that it answers nothing and drops nothing, as a hung node does."""
        os.killpg(self._process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Undo `pause`."""
        os.killpg(self._process.pid, signal.SIGCONT)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()

    def _drain(self) -> None:
        """Read its output for ever, so that it never blocks on a full pipe; keep the start."""
        stream = self._process.stdout
        if stream is None:
            return
        with stream:
            for raw in stream:
                if self._listening.is_set():
                    continue
                line = raw.decode(errors="replace").strip()
                self._said.append(line)
                found = _LISTENING.search(line)
                if found:
                    self._port = int(found[2])
                    self._listening.set()
        self._listening.set()


def _tied_to_us() -> tuple[str, ...]:
    """Words before a command that make the kernel kill it when we die; only Linux has that.

    A step between instead of Popen's `preexec_fn`, which is not safe in a process with threads.
    """
    if not sys.platform.startswith("linux"):
        return ()
    return (sys.executable, "-I", "-S", "-c", _TIE, str(os.getpid()))


class Anvil:
    """JSON-RPC to one Anvil, with its controls by name.  Use it as an async context manager."""

    def __init__(self, http_url: str, ws_url: str, chain_id: int = CHAIN_ID) -> None:
        """Nothing is opened before ``async with``."""
        self.http_url = http_url
        self.ws_url = ws_url
        self.chain_id = chain_id
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=120))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    # --- requests ---------------------------------------------------------------------------

    async def rpc(self, method: str, *params: Any) -> Any:
        """Ask one thing.  Raises `RpcError` with the node's words."""
        return _result(method, await self._post(_request(0, method, params)))

    async def batch(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        """Ask many things in few requests; answers in the order asked.

        Raises `RpcError` for the first that failed; the others were still carried out.
        """
        answers: list[Any] = []
        for start in range(0, len(calls), _BATCH):
            some = calls[start : start + _BATCH]
            replies = await self._post([_request(i, m, p) for i, (m, p) in enumerate(some)])
            by_id = {reply["id"]: reply for reply in replies}
            answers += [_result(method, by_id[i]) for i, (method, _) in enumerate(some)]
        return answers

    async def _post(self, body: Any) -> Any:
        if self._session is None:
            raise RuntimeError("Anvil is used inside `async with`")
        try:
            async with self._session.post(self.http_url, json=body) as response:
                return await response.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise RpcError(f"Anvil at {self.http_url} does not answer: {error!r}.") from error

    # --- the chain --------------------------------------------------------------------------

    async def block_number(self) -> int:
        """Number of the latest block."""
        return int(await self.rpc("eth_blockNumber"), 16)

    async def timestamp(self) -> int:
        """Timestamp of the latest block, seconds."""
        block = await self.rpc("eth_getBlockByNumber", "latest", False)  # noqa: FBT003 - positional in the call's encoding
        return int(block["timestamp"], 16)

    async def balance(self, account: str) -> Wei:
        """Ether of `account` at the latest block."""
        return Wei(int(await self.rpc("eth_getBalance", account, "latest"), 16))

    async def call(self, to: str, data: bytes, block: str = "latest") -> bytes:
        """Run a static call and return its bytes.  Raises `RpcError` when it reverts."""
        answer = await self.rpc("eth_call", {"to": to, "data": "0x" + data.hex()}, block)
        return bytes.fromhex(answer[2:])

    async def send(
        self,
        sender: str,
        to: str | None,
        data: bytes = b"",
        *,
        value: int = 0,
        gas: int = 15_000_000,
    ) -> Hash:
        """Send from an unlocked or impersonated account; it waits in the pool unless automining."""
        transaction = {"from": sender, "data": "0x" + data.hex(), "value": hex(value)}
        transaction["gas"] = hex(gas)
        if to is not None:
            transaction["to"] = to
        return Hash(await self.rpc("eth_sendTransaction", transaction))

    async def receipt(self, transaction: Hash) -> dict[str, Any] | None:
        """The receipt, or None while it is not mined."""
        found: dict[str, Any] | None = await self.rpc("eth_getTransactionReceipt", transaction)
        return found

    # --- controls ---------------------------------------------------------------------------

    async def mine(self, blocks: int = 1, interval_s: int = 1) -> None:
        """Mine `blocks` now, `interval_s` apart by the chain's clock."""
        if blocks == 1:
            await self.rpc("evm_mine")
        else:
            await self.rpc("anvil_mine", hex(blocks), hex(interval_s))

    async def mine_pool(self) -> None:
        """Mine until no transaction is ready: as many blocks as the gas limit makes of them."""
        await self.mine()
        while int((await self.rpc("txpool_status"))["pending"], 16):
            await self.mine()

    async def set_time(self, timestamp: int) -> None:
        """Give the next block this timestamp; time runs on from there.  Does not mine."""
        await self.rpc("evm_setNextBlockTimestamp", timestamp)

    async def increase_time(self, seconds: int) -> None:
        """Move the chain's clock ahead.  Does not mine."""
        await self.rpc("evm_increaseTime", seconds)

    async def snapshot(self) -> str:
        """Remember this state; the answer is for `revert`, once."""
        return str(await self.rpc("evm_snapshot"))

    async def revert(self, snapshot: str) -> None:
        """Go back to `snapshot`.  Raises `RpcError` when it is not there any more."""
        if await self.rpc("evm_revert", snapshot) is not True:
            raise RpcError(f"Anvil has no snapshot {snapshot}.")

    async def impersonate(self, account: str) -> None:
        """Let `account` send without its key."""
        await self.rpc("anvil_impersonateAccount", account)

    async def stop_impersonating(self, account: str) -> None:
        """Undo `impersonate`."""
        await self.rpc("anvil_stopImpersonatingAccount", account)

    async def set_auto_impersonate(self, *, on: bool) -> None:
        """Let every account send without its key."""
        await self.rpc("anvil_autoImpersonateAccount", on)

    async def set_balance(self, account: str, wei: int) -> None:
        """Set the ether of `account`."""
        await self.rpc("anvil_setBalance", account, hex(wei))

    async def set_code(self, account: str, code: bytes) -> None:
        """Replace the code at `account`."""
        await self.rpc("anvil_setCode", account, "0x" + code.hex())

    async def set_storage_at(self, account: str, slot: int, value: int) -> None:
        """Write one storage word."""
        await self.rpc("anvil_setStorageAt", account, f"0x{slot:064x}", f"0x{value:064x}")

    async def reorg(self, depth: int, transactions: Sequence[tuple[Any, int]] = ()) -> None:
        """Replace the last `depth` blocks; their transactions vanish.

        `transactions`: (raw hex or request, index of the new block it goes into).
        """
        await self.rpc("anvil_reorg", depth, [list(pair) for pair in transactions])

    async def drop_all_transactions(self) -> None:
        """Empty the pool."""
        await self.rpc("anvil_dropAllTransactions")

    async def drop_transaction(self, transaction: Hash) -> None:
        """Forget a pending transaction."""
        await self.rpc("anvil_dropTransaction", transaction)

    async def set_next_base_fee(self, wei: int) -> None:
        """Base fee of the next block; later ones move from it by the protocol's rule."""
        await self.rpc("anvil_setNextBlockBaseFeePerGas", hex(wei))

    async def set_automine(self, *, on: bool) -> None:
        """Mine a block for each transaction, or leave them in the pool."""
        await self.rpc("evm_setAutomine", on)

    async def automine(self) -> bool:
        """Whether each transaction is mined as it comes; a moment after the send returned."""
        return await self.rpc("anvil_getAutomine") is True

    async def set_interval_mining(self, seconds: int) -> None:
        """Mine every `seconds`; 0 ends it and leaves automine off."""
        await self.rpc("evm_setIntervalMining", seconds)

    async def set_block_gas_limit(self, gas: int) -> None:
        """Gas limit of the blocks to come."""
        await self.rpc("evm_setBlockGasLimit", hex(gas))


@asynccontextmanager
async def running(binary: Path, *arguments: str, chain_id: int = CHAIN_ID) -> AsyncIterator[Anvil]:
    """Start an Anvil of our own and yield its client; it is gone afterwards, whatever happens."""
    process = AnvilProcess(binary, *arguments, chain_id=chain_id)
    try:
        async with Anvil(process.http_url, process.ws_url, chain_id) as anvil:
            yield anvil
    finally:
        process.kill()


async def until_mined(anvil: Anvil, transaction: Hash, timeout_s: float = 30.0) -> dict[str, Any]:
    """Wait for a receipt.  Raises `RpcError` when it failed or is not mined in time."""
    ends_at = time.monotonic() + timeout_s
    while (receipt := await anvil.receipt(transaction)) is None:
        if time.monotonic() > ends_at:
            raise RpcError(f"Transaction {transaction} was not mined within {timeout_s:g} s.")
        await asyncio.sleep(0.02)
    if receipt["status"] != "0x1":
        raise RpcError(f"Transaction {transaction} was mined and failed.")
    return receipt


def address_of(account: str) -> Address:
    """Lower-case an address as the model wants it."""
    return Address(account.lower())


def _request(number: int, method: str, params: Sequence[Any]) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": list(params)}


def _result(method: str, reply: dict[str, Any]) -> Any:
    error = reply.get("error")
    if error is not None:
        data = error.get("data")
        raise RpcError(
            f"{method} was refused: {error.get('message', 'no reason')}",
            code=error.get("code"),
            data=data if isinstance(data, str) else None,
        )
    return reply.get("result")
